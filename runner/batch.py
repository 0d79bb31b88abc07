"""What an author writes where many calls share one run: `Batch[T]`, and what a step of a batched stream may hold.

A parameter annotated `Batch[T]` gets the values of all calls that run together: a sequence, or one stacked array with
a leading batch axis where T is an array. Callers see a plain `T`.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from runner.errors import InvalidInput, ModelError

__all__ = ["END", "SKIP", "Batch", "Stacking", "StepMark", "gather", "scatter"]

T = TypeVar("T")

if TYPE_CHECKING:
    Batch: TypeAlias = Sequence[T]
else:

    class Batch:
        """The hint for values of many calls: `Batch[Image]`, `Batch[str]`, `Batch[np.ndarray]`."""

        __class_getitem__ = classmethod(types.GenericAlias)

        def __init__(self) -> None:
            raise TypeError("Batch[T] is a hint; what a method receives is a list or an array")


class StepMark(enum.Enum):
    """What a batched stream may yield for a member in place of an output."""

    END = "end"
    SKIP = "skip"

    def __repr__(self) -> str:
        return self.name


END: Final = StepMark.END
"""In a step's list: this member's stream is over."""
SKIP: Final = StepMark.SKIP
"""In a step's list: this member gets nothing from this step."""


class Stacking(enum.Enum):
    """How the values of one batched argument come together."""

    LIST = "list"
    NUMPY = "numpy"
    TORCH = "torch"


def gather(values: Sequence[Any], stacking: Stacking) -> Any:
    """Return the values of one argument as the function receives them: a list, or one array with a batch axis.

    Raises:
        InvalidInput: they are arrays of different shapes.
    """
    if stacking is Stacking.LIST:
        return list(values)
    library: Any = sys.modules["numpy" if stacking is Stacking.NUMPY else "torch"]  # the hint has loaded it
    try:
        return library.stack(values)
    except (ValueError, RuntimeError, TypeError) as exc:
        raise InvalidInput(f"these do not fit into one array: {exc}") from None


def scatter(results: Any, size: int, name: str) -> Sequence[Any]:
    """Return what a batched function returned, one result for each of its entries: a list, or an array of rows.

    Args:
        results: a list, a tuple, another sequence, or an array or tensor with a batch axis.
        size: entries in the batch.
        name: the function's, for the error.

    Raises:
        ModelError: it is nothing of the kind, or of another length.
    """
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and type(results) is numpy.ndarray and results.ndim > 1 and len(results) == size:
        return results
    # What has no order would give callers each other's results.
    if isinstance(results, str | bytes | Mapping | AbstractSet) or not hasattr(results, "__len__"):
        found = type(cast(object, results)).__name__
        raise ModelError(f"{name}() got a batch of {size} and returned {found}; it has to return a list of {size}")
    try:
        rows = list(cast(Iterable[Any], results))
    except TypeError:  # an array without axes
        rows = []
    if len(rows) != size:
        raise ModelError(f"{name}() got a batch of {size} and returned {len(rows)} results")
    return rows
