"""What a batched function returned, on the host and in memory of its own.

It is encoded while the next batch runs, and models use their buffers again, as in `np.multiply(x, 2, out=self.buffer)`:
what stayed there would go out with the next batch's numbers in it, to other callers.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import Any, Final, cast

from runner.types import NamedFields

_PLAIN: Final = frozenset({str, int, float, bool, bytes})
"""Types of values that nobody can write to. Where the first of a list is of one of these, so are all, or nearly so."""


def to_host(results: Any, *, arrays: bool = False) -> Any:
    """Return an array or a tensor with a row for each result, copied all at once; anything else as it is.

    Args:
        results: what a function returned.
        arrays: each result is an array: a tensor of them becomes one of numpy's, whose rows cost less, if it can.
    """
    if _is_tensor(results):
        results = _copied(results)
        if arrays and results.ndim > 1:
            with contextlib.suppress(TypeError, RuntimeError):  # bfloat16, and what is conjugated or sparse
                return results.numpy()
        return results
    return results.copy() if _is_array(results) else results


def to_host_each(results: Any, *, arrays: bool = False) -> Any:
    """Do as `to_host` does, and the same for the arrays, tensors and images in a list of results, at any depth."""
    if isinstance(results, list | tuple):
        rows = cast("list[Any] | tuple[Any, ...]", results)
        return rows if _is_plain(rows) else [_copied(row) for row in rows]
    return to_host(results, arrays=arrays)


def _copied(value: Any) -> Any:
    kind = cast("type[Any]", type(value))
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return value if _is_plain(value) else cast(object, kind([_copied(item) for item in value]))
    if kind is dict:
        return value if _is_plain(value.values()) else {name: _copied(item) for name, item in value.items()}
    if kind is NamedFields:
        return NamedFields(**{name: _copied(item) for name, item in value.items()})
    if _is_array(value):
        return value.copy()
    if _is_tensor(value):
        value = value.detach()
        return value.clone() if value.is_cpu else value.cpu()
    # An image of Pillow's that lies over an array says that it must not be written to.
    return value.copy() if getattr(value, "readonly", 0) and hasattr(value, "mode") else value


def _is_plain(values: Iterable[Any]) -> bool:
    return type(next(iter(values), "")) in _PLAIN


def _is_array(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_tensor(value: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
