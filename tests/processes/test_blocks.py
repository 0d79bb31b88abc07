"""Blocks never overlap, are found wherever there is room, and come back whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.processes.blocks import Blocks

PAGES = 24


class Pages(RuleBasedStateMachine):
    """Beside a list that says of each page whose it is."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = Blocks(PAGES)
        self.owners: list[int | None] = [None] * PAGES
        self.reached = 0

    @rule(pages=st.integers(1, PAGES + 1))
    def take(self, pages: int) -> None:
        fits = [at for at in range(PAGES - pages + 1) if self.owners[at : at + pages] == [None] * pages]
        first = self.blocks.take(pages)
        assert first == (fits[0] if fits else -1)
        if fits:
            self.owners[first : first + pages] = [first] * pages
            self.reached = max(self.reached, first + pages)

    @precondition(lambda self: any(owner is not None for owner in self.owners))
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        first = data.draw(st.sampled_from(sorted({owner for owner in self.owners if owner is not None})))
        assert self.blocks.free(first)
        self.owners = [None if owner == first else owner for owner in self.owners]

    @rule(first=st.integers(-1, PAGES + 1))
    def free_what_is_none(self, first: int) -> None:
        if first not in self.owners:
            assert not self.blocks.free(first)

    @invariant()
    def counts(self) -> None:
        assert self.blocks.taken == PAGES - self.owners.count(None)
        assert self.blocks.reached == self.reached


TestPages = Pages.TestCase


@given(st.lists(st.integers(1, 8), max_size=40))
def test_all_is_free_again_once_all_is_given_back(sizes: list[int]) -> None:
    blocks = Blocks(PAGES)
    taken = [first for first in map(blocks.take, sizes) if first >= 0]
    assert all(map(blocks.free, reversed(taken)))
    assert blocks.take(PAGES) == 0
