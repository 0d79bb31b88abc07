"""How often something may happen: so many times at once, and so many a second after that.

Pure: the caller has the clock.
"""

from __future__ import annotations


class Allowance:
    """A bucket of tokens that fills with time, and with work that was done."""

    __slots__ = ("_burst", "_left", "_per_second", "_since")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._since = now

    def earn(self, tokens: float) -> None:
        """Allow for so many more, never beyond the burst."""
        self._left = min(self._burst, self._left + tokens)

    def spend(self, now: float) -> bool:
        """Count one; return False if that was too many."""
        if self._left < 1.0:
            # Time is looked at only when it matters: a peer that keeps within the burst costs a subtraction.
            self.earn((now - self._since) * self._per_second)
            self._since = now
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True
