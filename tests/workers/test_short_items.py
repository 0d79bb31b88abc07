"""Short items that go together."""

from __future__ import annotations

from runner.workers.messages import Item, Items
from runner.workers.short_items import MOST, ShortItems


def test_one_that_waits_alone_stays_what_it_is() -> None:
    items = ShortItems()
    assert items.take() is None
    assert not items.add(Item(7, b"alone"))
    assert len(items) == 1
    assert items.take() == Item(7, b"alone")
    assert items.take() is None


def test_those_of_several_calls_keep_their_order() -> None:
    items = ShortItems()
    for number in (3, 1, 3, 2):
        items.add(Item(number, b"of %d" % number))
    assert items.take() == Items((3, 1, 3, 2), (b"of 3", b"of 1", b"of 3", b"of 2"))
    assert not items


def test_it_says_when_there_are_enough() -> None:
    items = ShortItems()
    full = [items.add(Item(1, b"")) for _ in range(MOST)]
    assert full == [False] * (MOST - 1) + [True]
