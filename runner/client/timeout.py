"""How long a call may take, as its caller says it."""

from __future__ import annotations

from typing import Final, cast

__all__ = ["read_limit", "read_timeout"]

_NO_LIMIT: Final = 3e8
"""Ten years of seconds: from here on a timeout is none, and what gRPC counts in does not overflow."""


def read_timeout(timeout: object) -> float | None:
    """Return seconds, None for no limit. What is left of a time may be nothing, or less.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN.
    """
    if timeout is None:
        return None
    try:
        seconds = float(cast(float, timeout)) if not isinstance(timeout, str | bytes) else None
    except (TypeError, ValueError):
        seconds = None
    if seconds is None:
        raise TypeError(f"timeout: got {timeout!r}, needs seconds, or None")
    if seconds != seconds:
        raise ValueError("timeout: got nan, needs seconds, or None")
    return None if seconds >= _NO_LIMIT else seconds


def read_limit(timeout: object) -> float | None:
    """Return the timeout of all calls of a client, which has to leave them some time.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN, or not above 0.
    """
    seconds = read_timeout(timeout)
    if seconds is not None and seconds <= 0:
        raise ValueError(f"timeout: got {timeout}, needs seconds above 0, or None")
    return seconds
