"""How long a call will wait, learned from those before it.

While calls of a lane wait, the lane runs as fast as it can: its rate is counted then, in windows. What one call takes
is averaged over all of them. Both are moving averages, and nothing is predicted from less than a few calls.
"""

from __future__ import annotations

from typing import Final

_WINDOW: Final = 0.05
"""seconds of work, at least, over which a rate is counted."""

_WEIGHT: Final = 0.3
"""Of the latest window in the rate."""

_SERVICE_WEIGHT: Final = 0.1
"""Of the latest call in the mean service time."""

_EVIDENCE: Final = 8
"""Calls that must have ended before anything is predicted."""


class Forecast:
    """One lane's. Pure: instants come in as arguments."""

    __slots__ = ("_count", "_ended", "_rate", "_service", "_since", "_times")

    def __init__(self) -> None:
        self._rate: float | None = None  # calls per second at work
        self._service = 0.0
        self._ended = 0
        self._times = 0  # of which the mean service time is: calls that went together took one
        self._since: float | None = None  # when the present window began; None while nothing waits
        self._count = 0

    def ended(self, now: float, service: float, *, backlog: bool, calls: int = 1) -> None:
        """A call has ended, or several that went together.

        Args:
            now: instant.
            service: seconds since it started.
            backlog: whether other calls of its lane wait.
            calls: how many.
        """
        self._ended += calls
        self._times += 1
        weight = max(_SERVICE_WEIGHT, 1 / self._times)
        self._service += weight * (service - self._service)
        if not backlog:
            self._since = None
            return
        if self._since is None:
            self._since, self._count = now, 0
            return
        self._count += calls
        elapsed = now - self._since
        if elapsed >= _WINDOW:
            rate = self._count / elapsed
            self._rate = rate if self._rate is None else self._rate + _WEIGHT * (rate - self._rate)
            self._since, self._count = now, 0

    def wait(self, ahead: int) -> float | None:
        """Return the seconds that a call will wait behind so many others, None if there is too little evidence."""
        if self._rate is None or self._ended < _EVIDENCE:
            return None
        return ahead / self._rate

    @property
    def until_room(self) -> float | None:
        """The seconds until one more call can wait, None if there is too little evidence."""
        wait = self.wait(1)
        return self.service if wait is None else wait  # too few calls may wait for a rate to be counted

    @property
    def service(self) -> float | None:
        """The seconds that a call takes once it runs, None if there is too little evidence."""
        return self._service if self._ended >= _EVIDENCE else None
