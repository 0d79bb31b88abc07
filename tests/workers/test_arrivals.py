"""Calls and their cancels arrive in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.workers.arrivals import Arrivals


def test_a_cancel_that_comes_after_its_call_is_for_the_call() -> None:
    arrivals = Arrivals()
    assert not arrivals.arrived(1)
    assert not arrivals.arrived(2, 3)
    assert all(arrivals.cancelled(call) for call in (1, 2, 3, 4))
    assert arrivals.settled


def test_one_that_comes_before_it_is_told_when_the_call_comes() -> None:
    arrivals = Arrivals()
    assert not arrivals.cancelled(1)
    assert not arrivals.arrived(2)  # which has overtaken the first
    assert not arrivals.cancelled(4)
    assert set(arrivals.arrived(1)) == {1}
    assert not arrivals.settled
    assert set(arrivals.arrived(3, 3)) == {4}
    assert arrivals.settled


@given(st.permutations(range(1, 9)), st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), max_size=8))
def test_each_cancel_meets_its_call_once(order: list[int], cancels: list[tuple[int, int]]) -> None:
    arrivals = Arrivals()
    met: list[int] = []
    wanted = dict(cancels)  # call -> how many calls have arrived when its cancel comes
    for step in range(9):
        met += [call for call, when in wanted.items() if when == step and arrivals.cancelled(call)]
        if step < 8:
            met += arrivals.arrived(order[step])
    assert sorted(met) == sorted(wanted)
    assert arrivals.settled
