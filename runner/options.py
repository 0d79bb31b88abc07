"""What `@ModelClass.method(...)` and `@ModelClass.batched(...)` are told, checked where the author wrote it.

The configuration may say otherwise for a method (`methods:` in a config.yaml); `with_overrides` merges the two.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias, cast

__all__ = ["CONFIGURABLE", "NO_OPTIONS", "MethodOptions", "Pad", "PointOptions"]

BatchSize: TypeAlias = int | Literal["auto"]

Cost: TypeAlias = Callable[..., float] | str
"""What one entry costs: a function of its batched arguments, or the name of a method of the model that is one."""


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, needs a whole number")
    if not low <= value <= high:
        raise ValueError(f"{name}: got {value!r}, needs {low} to {high}")


def _check_number(name: str, value: object, low: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{name}: got {value!r}, needs a number")
    if value < low:
        raise ValueError(f"{name}: got {value!r}, needs {low} or more")


@dataclass(frozen=True, slots=True)
class Pad:
    """How arrays of different lengths become one.

    Args:
        value: what is put behind the shorter ones.
        mask: name of the method's argument that is told what is real: bool, of the padded array's shape, True where
            there was a number. Callers do not see it. None: the method does without.
    """

    value: float = 0
    mask: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            TypeError: a value is of another type.
        """
        if not isinstance(cast(object, self.value), int | float) or isinstance(self.value, bool):
            raise TypeError(f"pad: got {self.value!r}, needs a number")
        if self.mask is not None and not isinstance(cast(object, self.mask), str):
            raise TypeError(f"pad: got mask={self.mask!r}, needs the name of an argument")


@dataclass(frozen=True, slots=True, kw_only=True)
class _BatchOptions:
    """What forms batches.

    Args:
        max_batch_size: entries in one batch at most; "auto" finds out at warm-up up to where more of them pay.
        max_queue_delay_ms: how long an idle device may wait for company. 0 is right unless callers come in bursts.
        cost: what an entry costs, where a number of entries says too little: tokens, pixels.
        max_batch_cost: what the entries of a batch may cost together; an entry above it runs alone.
        priority: higher ones go first; waiting makes up for it, a level for each second.
    """

    max_batch_size: BatchSize = 32
    max_queue_delay_ms: float = 0
    cost: Cost | None = None
    max_batch_cost: float | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            TypeError: a value is of another type.
            ValueError: a value is out of range.
        """
        if self.max_batch_size != "auto":
            _check_whole("max_batch_size", self.max_batch_size, 1, 65535)
        _check_number("max_queue_delay_ms", self.max_queue_delay_ms, 0)
        _check_whole("priority", self.priority, -100, 100)
        if self.cost is not None and not callable(self.cost) and not isinstance(cast(object, self.cost), str):
            raise TypeError(f"cost: got {self.cost!r}, needs a function or the name of a method")
        if self.max_batch_cost is not None:
            _check_number("max_batch_cost", self.max_batch_cost, 0)
            if self.cost is None:
                raise ValueError("max_batch_cost needs cost=, which says what an entry costs")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOptions(_BatchOptions):
    """What `@ModelClass.batched(...)` was told; see `_BatchOptions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions(_BatchOptions):
    """What `@ModelClass.method(...)` was told. All but the first two matter to methods with `Batch` arguments only.

    Args:
        idempotent: running the method twice on the same input does no harm, so that a call whose worker died may be
            run again elsewhere, and a batch that raised is run again in halves.
        slo_ms: time within which a call should be answered: bounds the batch, and refuses what cannot make it.
        timeout_ms: the deadline of a call that brings none.
        max_timeout_ms: the longest that a call may ask for.
        max_run_seconds: how long one run may take, a batch, or one item of a stream. A run that takes longer is stuck:
            its worker is ended, and another takes its place. None: as long as it takes.
        pad: arrays of different lengths may share a batch; how the shorter ones are filled up.
        batch_sizes: the only sizes in which the function is called, smallest first. A batch between two of them is
            filled up with repetitions of its last entry, whose results are dropped. For GPUs, whose libraries plan or
            compile anew for each shape (TensorFlow Serving calls it `allowed_batch_sizes`).
        example: arguments by name, for `runner check` and for what is run before the model is ready; those that it
            leaves out are generated from their types, or have their defaults.
    """

    idempotent: bool = False
    slo_ms: float | None = None
    timeout_ms: float | None = None
    max_timeout_ms: float | None = None
    max_run_seconds: float | None = None
    pad: Pad | float | None = None
    batch_sizes: tuple[int, ...] = ()
    example: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        """See `_BatchOptions`."""
        _BatchOptions.__post_init__(self)
        for name in ("slo_ms", "timeout_ms", "max_timeout_ms", "max_run_seconds"):
            if (value := getattr(self, name)) is not None:
                _check_number(name, value, 0.001)
        if not isinstance(cast(object, self.idempotent), bool):
            raise TypeError(f"idempotent: got {self.idempotent!r}, needs True or False")
        if self.example is not None and not isinstance(cast(object, self.example), Mapping):
            raise TypeError(f"example: got {self.example!r}, needs arguments by name")
        _ = self.padding  # as is checked there
        if not isinstance(cast(object, self.batch_sizes), tuple | list):
            raise TypeError(f"batch_sizes: got {self.batch_sizes!r}, needs sizes, such as (8, 16, 32)")
        if self.batch_sizes:
            self._check_batch_sizes()

    def _check_batch_sizes(self) -> None:
        for size in self.batch_sizes:
            _check_whole("batch_sizes", size, 1, 65535)
        if any(one >= other for one, other in itertools.pairwise(self.batch_sizes)):
            raise ValueError(f"batch_sizes: got {self.batch_sizes!r}, needs the smallest first, each once")
        if self.max_batch_size == "auto" or self.max_batch_size > self.batch_sizes[-1]:
            raise ValueError(
                f"batch_sizes: ends with {self.batch_sizes[-1]}, needs max_batch_size or more, which is "
                f"{self.max_batch_size!r}"
            )

    @property
    def padding(self) -> Pad | None:
        """How arrays are padded; None if they are not."""
        return self.pad if self.pad is None or isinstance(self.pad, Pad) else Pad(self.pad)

    @property
    def needs_batch(self) -> str | None:
        """The first option that was said and means something to batches only, if there is one."""
        of_batches = ("max_batch_size", "max_queue_delay_ms", "cost", "max_batch_cost", "pad", "batch_sizes")
        return next((name for name in of_batches if getattr(self, name) != getattr(NO_OPTIONS, name)), None)

    def with_overrides(self, overrides: Mapping[str, object]) -> MethodOptions:
        """Return the options as the configuration changes them.

        Raises:
            TypeError, ValueError: a value is of another type, or out of range.
        """
        return replace(self, **cast(dict[str, Any], dict(overrides))) if overrides else self


NO_OPTIONS: Final = MethodOptions()

CONFIGURABLE: Final = (
    "max_batch_size",
    "max_queue_delay_ms",
    "cost",
    "max_batch_cost",
    "priority",
    "slo_ms",
    "timeout_ms",
    "max_timeout_ms",
    "max_run_seconds",
    "idempotent",
)
"""The options of a method that the configuration may override: those that are no code, and `cost` by a name."""


def read_options(kind: type[Any], decorator: str, given: Mapping[str, object]) -> Any:
    """Return the options that a decorator was given.

    Raises:
        TypeError: there is no such option, or a value is of another type.
        ValueError: a value is out of range.
    """
    known = [option.name for option in fields(kind)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"{decorator} has no option {unknown[0]!r}; it takes {', '.join(known)}")
    return kind(**given)
