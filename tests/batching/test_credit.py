"""How many calls a worker asks for."""

from __future__ import annotations

from runner.batching.credit import BatchCredit


def test_it_follows_the_batches_that_were_full():
    under_test = BatchCredit(32)
    assert [under_test.ran(3, "idle") for _ in range(20)] == [None] * 20
    said = [under_test.ran(size, "full") for size in (4, 5, 4, 5, 4, 5, 4, 5, 5, 4)]
    assert said == [None] * 7 + [12, None, None]
    assert [room for _ in range(8) if (room := under_test.ran(32, "full")) is not None] == [64]
    assert under_test.room == 64


def test_batches_that_fill_up_change_nothing():
    under_test = BatchCredit(8)
    assert [under_test.ran(8, "full") for _ in range(20)] == [None] * 20
