"""Bounds on what a call may make us do, as frozen values that are checked when they are built."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.errors import ConfigError

MIB = 1024 * 1024

CALL_BYTES_FACTOR = 4
"""How many full-sized URL inputs one call may bring: a message of a few kilobytes can name thousands of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimits:
    """What one caller may have here at once. 0: no such bound.

    Args:
        max_calls: calls of its that wait or run.
        max_queued_calls: calls of its that wait.
        max_calls_per_second: how often it may call, on average; a second's worth may come at once.
    """

    max_calls: int = 0
    max_queued_calls: int = 0
    max_calls_per_second: float = 0.0

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self.max_calls or self.max_queued_calls or self.max_calls_per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What fetching one input by URL may cost.

    Args:
        timeout: seconds from looking up the host to the last byte, redirects included.
        max_bytes: size of the body.
        max_redirects: redirects followed before giving up; 0 follows none.

    Raises:
        ConfigError: a value is out of its range.
    """

    timeout: float = 10.0
    max_bytes: int = 64 * MIB
    max_redirects: int = 5

    def __post_init__(self) -> None:
        """Refuse values under which nothing could be fetched, or anything could."""
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise ConfigError(f"fetch.timeout: got {self.timeout!r}, needs a positive number of seconds")
        if self.max_bytes < 1:
            raise ConfigError(f"fetch.max_bytes: got {self.max_bytes!r}, needs 1 or more")
        if self.max_redirects < 0:
            raise ConfigError(f"fetch.max_redirects: got {self.max_redirects!r}, needs 0 or more")

    @property
    def max_call_bytes(self) -> int:
        """What all URL inputs of one call may bring together."""
        return CALL_BYTES_FACTOR * self.max_bytes
