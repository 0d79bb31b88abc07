"""How many calls of a batched method a worker asks for: two batches' worth, as batches turn out.

A method whose batches are bounded by cost, or by an objective, may never come near its `max_batch_size`. Calls that
wait in the worker cannot be ordered or shared fairly any more, so it asks for no more than it needs.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from runner.batching.entries import Reason

_LOOK_BACK: Final = 8
"""Full batches that are considered."""

_NEWS: Final = 0.25
"""A change of the room by this share is worth a message."""


class BatchCredit:
    """One method's. Pure; batches come in, and now and then a new room comes out."""

    def __init__(self, max_size: int) -> None:
        """Begin with room for two batches of `max_size`."""
        self._max_size = max_size
        self._sizes: deque[int] = deque(maxlen=_LOOK_BACK)
        self.room = 2 * max_size

    def ran(self, size: int, reason: str) -> int | None:
        """A batch has run; return the room from now on, None if it stays."""
        # Only a full batch tells how many fit into one.
        if reason != Reason.FULL.value:
            return None
        self._sizes.append(size)
        if len(self._sizes) < _LOOK_BACK:
            return None
        # One more than the largest, so that growth can be seen.
        wanted = 2 * min(max(self._sizes) + 1, self._max_size)
        if abs(wanted - self.room) < _NEWS * self.room and wanted != 2 * self._max_size:
            return None
        if wanted == self.room:
            return None
        self.room = wanted
        return wanted
