"""What an author says about an argument beside its type: a default, a description, a range, a choice.

`Param` is a function that returns its own default in the eyes of a type checker, so that `top_k: int = Param(5)` is
as well typed as `top_k: int = 5`. What it really returns is a `Parameter`; `ModelClass.method` puts the plain default
back in its place, and `signature/hints.py` reads the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

__all__ = ["Param", "Parameter"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What `Param(...)` was told. Bounds are inclusive.

    Raises:
        TypeError: a bound is not a number, the description no text, or the choices no list.
        ValueError: the default is outside the range or not among the choices, or the range or the choices are empty.
    """

    default: object
    description: str = ""
    min_value: float | None = None
    max_value: float | None = None
    choices: tuple[object, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what no call could satisfy, where the author wrote it."""
        if not isinstance(cast(object, self.description), str):
            given = f"Param: the second argument is a description, not {self.description!r}"
            raise TypeError(f"{given}; bounds are min_value= and max_value=")
        for name, bound in (("min_value", self.min_value), ("max_value", self.max_value)):
            if bound is not None and (not _is_number(bound) or bound != bound):
                raise TypeError(f"Param: {name} has to be a number, not {bound!r}")
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError(f"Param: min_value {self.min_value!r} is above max_value {self.max_value!r}")
        if self.choices is not None and not self.choices:
            raise ValueError("Param: choices is empty; leave it out if any value will do")
        if self.default is None:  # None stands for "not given" and is outside every range by nature
            return
        if self.choices is not None and self.default not in self.choices:
            raise ValueError(f"Param: the default {self.default!r} is not among the choices {list(self.choices)!r}")
        if (self.min_value is not None or self.max_value is not None) and not self._in_range(self.default):
            low = "-∞" if self.min_value is None else self.min_value
            high = "∞" if self.max_value is None else self.max_value
            raise ValueError(f"Param: the default {self.default!r} is not a number from {low} to {high}")

    def _in_range(self, value: object) -> bool:
        if not _is_number(value):
            return False
        number = cast(float, value)
        # Written so that a NaN default, which compares false with everything, is refused.
        return (self.min_value is None or number >= self.min_value) and (
            self.max_value is None or number <= self.max_value
        )


def Param(  # noqa: N802 - it stands where a class name is expected, and reads like one
    default: T,
    description: str = "",
    min_value: float | None = None,
    max_value: float | None = None,
    choices: Sequence[T] | None = None,
) -> T:
    """Declare an argument's default together with what callers should know and what the server enforces.

    Args:
        default: the value of a call that leaves the argument out.
        description: one line for the published signature.
        min_value: the least value accepted, for numbers.
        max_value: the greatest value accepted, for numbers.
        choices: the only values accepted.

    Returns:
        For a type checker the default; in fact a `Parameter`, which only `ModelClass.method` understands.

    Raises:
        TypeError: a bound is not a number, the description no text, or the choices no list.
        ValueError: the default is outside the range or not among the choices, or the range or the choices are empty.
    """
    if isinstance(choices, str | bytes):  # each of its letters would be a choice
        raise TypeError(f"Param: choices has to be a list, not {choices!r}")
    parameter = Parameter(
        default=default,
        description=description,
        min_value=min_value,
        max_value=max_value,
        choices=None if choices is None else tuple(choices),
    )
    return cast(T, parameter)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
