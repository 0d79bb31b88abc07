"""Entries by a number of theirs, of which some leave from the middle."""

from __future__ import annotations

from heapq import heappop, heappush

from hypothesis import given
from hypothesis import strategies as st

from runner.batching.entry_heap import EntryHeap


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), max_size=200))
def test_the_smallest_that_is_there_comes_first(entries: list[tuple[int, bool]]) -> None:
    present: dict[int, float] = {}
    heap = EntryHeap(present)
    for entry, (number, stays) in enumerate(entries):
        heappush(heap, (number, entry))
        if stays:
            present[entry] = number
    heap.tidy(len(present))
    order: list[tuple[float, int]] = []
    while (first := heap.first()) is not None:
        assert heap.smallest() == first[0]
        assert heappop(heap) == first
        order.append(first)
    assert order == sorted((number, entry) for entry, number in present.items())
    assert heap.smallest() is None


def test_those_that_have_left_are_kept_within_bounds() -> None:
    present: set[int] = set()
    heap = EntryHeap(present)
    for entry in range(1000):
        heappush(heap, (-entry, entry))  # each goes before those that were there
        present.add(entry)
        if entry >= 10:
            present.discard(entry - 5)
        heap.tidy(len(present))
        assert len(heap) <= max(64, 4 * len(present))
    heap.tidy(0)
    assert not heap
