"""Credit: how much of a stream may be under way in one direction. Pure counting; who waits, and how, is not here.

Each direction of a stream starts with credit for `STREAM_WINDOW` items and for `STREAM_WINDOW_BYTES` of their payloads.
Sending an item costs one and its bytes, and needs some of both to be left: the last one may be larger than what is
left, since nobody knows an item's size before it is made. Whoever consumes items gives credit back when it comes to
half of a window, so that a stream of small items at full speed sends one credit message for 32 of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Sized
from typing import Final, TypeVar

STREAM_WINDOW: Final = 64
"""items under way in one direction of a stream; a reader that stops stops the generator after at most this many."""

STREAM_WINDOW_BYTES: Final = 1024 * 1024
"""bytes under way in one direction of a stream, but for the last item. It is 64 items of 16 KiB. Larger ones gain
nothing from more of them on their way: while the transport writes one, the next is being made."""

TOGETHER_BYTES: Final = 16 * 1024
"""bytes of items that a reader takes at once, if they are several. They fill a frame, and more would gain nothing: what
is taken is there twice, as it came and as it leaves, and its sender waits with all of it for a slow client."""

T = TypeVar("T", bound=Sized)


class Window:
    """The sender's side. One thread may `spend` while another `grant`s: each counter has a single writer."""

    __slots__ = ("_granted", "_granted_bytes", "_spent", "_spent_bytes")

    def __init__(self, items: int = STREAM_WINDOW, size: int = STREAM_WINDOW_BYTES) -> None:
        self._granted, self._granted_bytes = items, size
        self._spent = self._spent_bytes = 0

    @property
    def open(self) -> bool:
        """True if at least one more item may be sent."""
        return self._spent < self._granted and self._spent_bytes < self._granted_bytes

    def spend(self, size: int) -> None:
        """Count one item of `size` bytes sent."""
        self._spent += 1
        self._spent_bytes += size

    def grant(self, items: int, size: int) -> None:
        """Count credit that came back: so many items, which had so many bytes."""
        self._granted += items
        self._granted_bytes += size

    def __repr__(self) -> str:
        left, left_bytes = self._granted - self._spent, self._granted_bytes - self._spent_bytes
        return f"<Window {left} items and {left_bytes} bytes left, {self._spent} sent>"


class Consumption:
    """The receiver's side: counts consumed items, and says when to give credit back."""

    __slots__ = ("_batch", "_batch_bytes", "_bytes", "_items", "_kept", "_kept_bytes")

    def __init__(self, items: int = STREAM_WINDOW, size: int = STREAM_WINDOW_BYTES) -> None:
        self._batch, self._batch_bytes = max(items // 2, 1), max(size // 2, 1)
        self._items = self._bytes = 0
        self._kept = self._kept_bytes = 0  # of what was taken together, what whoever took it may not be done with

    def consume(self, size: int, items: int = 1) -> tuple[int, int] | None:
        """Count items of `size` bytes together; return the items and bytes to give back now, usually None."""
        self._items += items
        self._bytes += size
        if self._items < self._batch and self._bytes < self._batch_bytes:
            return None
        credit = self._items, self._bytes
        self._items = self._bytes = 0
        return credit

    def take(self, items: Sequence[Sized]) -> tuple[int, int] | None:
        """Count items that are taken together: the first of them now, and the others when more is asked for.

        So their sender goes on when a reader takes something, and is never ahead of a slow one by what was taken too.
        """
        self._kept = len(items) - 1
        self._kept_bytes = sum(map(len, items[1:])) if self._kept else 0
        return self.consume(len(items[0]))

    def ask(self) -> tuple[int, int] | None:
        """More is asked for: count what is left of the items that were taken together."""
        if not self._kept:
            return None
        kept, self._kept = self._kept, 0
        return self.consume(self._kept_bytes, kept)


def take_together(arrived: deque[T], most: int) -> list[T]:
    """Take the first item that has arrived, and those behind it that are short enough to go with it.

    Args:
        arrived: payloads, one at least.
        most: items.
    """
    taken = [arrived.popleft()]
    room = TOGETHER_BYTES - len(taken[0])
    while arrived and len(taken) < most and (room := room - len(arrived[0])) >= 0:
        taken.append(arrived.popleft())
    return taken
