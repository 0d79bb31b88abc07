"""Credit: how many items of a stream may be under way in one direction. Pure counting; who waits, and how, is not here.

Each direction of a stream starts with `STREAM_WINDOW` credits. Sending an item costs one; whoever consumes items gives
credits back in halves of a window, so that a stream at full speed sends one credit message for 32 items.
"""

from __future__ import annotations

from typing import Final

STREAM_WINDOW: Final = 64
"""items under way in one direction of a stream; a reader that stops stops the generator after at most this many."""


class Window:
    """The sender's side. One thread may `spend` while another `grant`s: each counter has a single writer."""

    __slots__ = ("_granted", "_spent")

    def __init__(self, size: int = STREAM_WINDOW) -> None:
        self._granted = size
        self._spent = 0

    @property
    def open(self) -> bool:
        """True if at least one more item may be sent."""
        return self._spent < self._granted

    def spend(self) -> None:
        """Count one item sent."""
        self._spent += 1

    def grant(self, items: int) -> None:
        """Count credits that came back."""
        self._granted += items

    def __repr__(self) -> str:
        return f"<Window {self._granted - self._spent} left, {self._spent} sent>"


class Consumption:
    """The receiver's side: counts consumed items, and says when to give credits back."""

    __slots__ = ("_batch", "_pending")

    def __init__(self, size: int = STREAM_WINDOW) -> None:
        self._batch = max(size // 2, 1)
        self._pending = 0

    def consume(self) -> int:
        """Count one item; return how many credits to give back now, usually 0."""
        self._pending += 1
        if self._pending < self._batch:
            return 0
        items, self._pending = self._pending, 0
        return items
