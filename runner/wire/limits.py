"""What `Param` promises about an argument, checked before the method runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.errors import InvalidInput
from runner.signature.method import Limits
from runner.wire.mismatch import describe


def checker(limits: Limits) -> Callable[[Any], None] | None:
    """Return what raises InvalidInput for a value outside the limits, None if there are no limits.

    None, the value of an optional argument, is within any limits.
    """
    low, high, choices = limits.min_value, limits.max_value, limits.choices
    if low is None and high is None and choices is None:
        return None
    bounds = _bounds(low, high)
    words = ", ".join(map(repr, choices or ()))

    def check(value: Any) -> None:
        if value is None:
            return
        # Written so that NaN, which compares with nothing, is out of any range.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise InvalidInput(f"needs a value {bounds}, got {describe(value)}")
        if choices is not None and value not in choices:
            raise InvalidInput(f"needs one of {words}, got {describe(value)}")

    return check


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return f"of at most {high}"
    return f"of at least {low}" if high is None else f"from {low} to {high}"
