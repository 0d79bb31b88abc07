"""Which calls have arrived at a worker: long ones do after shorter ones sent later, and a cancel may before its call.

Calls are numbered in the order in which they are sent. Pure.
"""

from __future__ import annotations

from collections.abc import Collection


class Arrivals:
    """See the module's text. One link's."""

    __slots__ = ("_cancelled", "_last", "_overtaken")

    def __init__(self) -> None:
        self._last = 0  # the highest number that has arrived
        self._overtaken: set[int] = set()  # lower ones that have not
        self._cancelled: set[int] = set()  # whose cancels have come, and they have not

    def arrived(self, first: int, calls: int = 1) -> Collection[int]:
        """So many calls have come, whose numbers follow each other; return those that were cancelled before."""
        if first > self._last:
            if first > self._last + 1:
                self._overtaken.update(range(self._last + 1, first))
            self._last = first + calls - 1
        else:
            self._overtaken.difference_update(range(first, first + calls))
        if not self._cancelled:
            return ()
        cancelled = self._cancelled.intersection(range(first, first + calls))
        self._cancelled -= cancelled
        return cancelled

    def cancelled(self, call: int) -> bool:
        """A cancel has come; return whether its call has. If not, `arrived` will say so."""
        if call <= self._last and call not in self._overtaken:
            return True
        self._cancelled.add(call)
        return False

    @property
    def settled(self) -> bool:
        """True if nothing is still to come that was overtaken or cancelled."""
        return not (self._overtaken or self._cancelled)

    def __repr__(self) -> str:
        return f"<Arrivals up to {self._last}, {len(self._overtaken)} overtaken, {len(self._cancelled)} cancelled>"
