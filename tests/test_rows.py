"""Rows of a tensor are gathered and scattered by number, and begin anew with each lease."""

from __future__ import annotations

import pytest

from runner import Rows, Slots

torch = pytest.importorskip("torch")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_go_out_and_come_back_in_any_order(device, axis):
    shape = (4, 3) if axis == 0 else (3, 4)
    rows = Rows(torch.arange(12.0, device=device).reshape(shape), axis=axis)
    before = rows.tensor.clone()
    some = rows.gather([2, 0])
    assert some.shape == ((2, 3) if axis == 0 else (3, 2))
    assert torch.equal(some, before.index_select(axis, torch.tensor([2, 0], device=device)))
    rows.scatter([2, 0], some + 100)
    changed = (rows.tensor != before).any(1 - axis)
    assert changed.tolist() == [True, False, True, False]
    assert torch.equal(rows.gather([2, 0]), some + 100)
    assert repr(rows) == f"<Rows {shape} along axis {axis}>"


def test_a_row_begins_with_zeros_each_time_it_is_lent():
    slots, rows = Slots(2), Rows(torch.ones(2, 3))
    with slots.lease() as row:
        assert rows.gather([row]).tolist() == [[0.0] * 3]
        rows.scatter([row], torch.full((1, 3), 5.0))
        assert rows.gather([row]).tolist() == [[5.0] * 3]  # the same lease: it goes on
    with slots.lease() as again:
        assert (again, again.lease) == (row, row.lease + 1)
        assert rows.gather([again]).tolist() == [[0.0] * 3]
    assert rows.tensor[1].tolist() == [1.0] * 3  # never lent


def test_what_the_last_holder_wrote_late_does_not_reach_the_next():
    """Its step was still running when it was cancelled and its row was lent again."""
    slots, rows = Slots(1), Rows(torch.zeros(1, 1))
    with slots.lease() as gone:
        state = rows.gather([gone])
    with slots.lease() as row:
        rows.scatter([gone], state + 7)
        assert rows.gather([row]).item() == 0.0


def test_a_plain_number_is_not_cleared():
    rows = Rows(torch.ones(2, 1))
    assert rows.gather([1, 1]).tolist() == [[1.0], [1.0]]
