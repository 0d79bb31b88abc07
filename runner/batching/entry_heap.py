"""Entries in the order of some number of theirs, the smallest first: an instant or a rank."""

from __future__ import annotations

import heapq
from collections.abc import Container
from typing import Final

_FEW: Final = 64
_MOST_PARTS: Final = 4
"""So many are kept that have left, or so many times those that are there, before they are looked for."""


class EntryHeap(list[tuple[float, int]]):
    """A list of numbers and entries for `heapq`. Entries that leave from its middle stay until they come to the top.

    Args:
        present: the ids of the entries that are still there. The owner of the heap changes it.
    """

    __slots__ = ("_present",)

    def __init__(self, present: Container[int]) -> None:
        super().__init__()
        self._present = present

    def first(self) -> tuple[float, int] | None:
        """Return the smallest number and its entry; None if none is there."""
        present = self._present
        while self and self[0][1] not in present:
            heapq.heappop(self)
        return self[0] if self else None

    def smallest(self) -> float | None:
        """Return the smallest number; None if no entry is there."""
        first = self.first()
        return None if first is None else first[0]

    def tidy(self, size: int) -> None:
        """Forget those that have left, if they are many beside the `size` entries that are there."""
        if not size:
            self.clear()
        elif len(self) > _FEW and len(self) > _MOST_PARTS * size:
            self[:] = [item for item in self if item[1] in self._present]
            heapq.heapify(self)

    def __repr__(self) -> str:
        return f"<EntryHeap of {len(self)}>"
