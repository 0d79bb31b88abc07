"""The order of those that wait."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.dispatch.fair_queue import CallId, FairQueue, Shares, Ticket
from runner.signature.published import Lane


def ticket(number: int, caller: str = "", *, priority: int = 0, deadline: float | None = None) -> Ticket:
    return Ticket(CallId(number), Lane.THREADS, 1, caller, priority, deadline)


def queue(*tickets: Ticket, shares: Shares | None = None, now: float = 0.0) -> FairQueue:
    made = FairQueue(Shares() if shares is None else shares, aging=1.0)
    for each in tickets:
        made.push(each, now)
    return made


def order(under_test: FairQueue, now: float = 0.0) -> list[int]:
    return [under_test.pop(now).id for _ in range(len(under_test))]


def test_one_caller_is_served_in_order() -> None:
    assert order(queue(*(ticket(number) for number in (3, 1, 2)))) == [3, 1, 2]


def test_callers_take_turns() -> None:
    flood = [ticket(number, "flood") for number in range(6)]
    assert order(queue(*flood, ticket(10, "other"), ticket(11, "other"))) == [0, 10, 1, 11, 2, 3, 4, 5]


def test_what_was_had_elsewhere_counts() -> None:
    shares = Shares()
    for caller in ("other", "flood", "flood"):
        shares.charge(caller)
    under_test = queue(*(ticket(n, "flood") for n in range(3)), *(ticket(n, "other") for n in (10, 11)), shares=shares)
    assert order(under_test)[:2] == [10, 0]


def test_a_pause_earns_nothing() -> None:
    shares = Shares()
    under_test = queue(*(ticket(number, "busy") for number in range(100)), shares=shares)
    for _ in range(50):
        under_test.pop(0.0)
    for number in range(200, 220):
        under_test.push(ticket(number, "back"), 0.0)
    assert Counter(number >= 200 for number in order(under_test)[:20]) == {True: 10, False: 10}


def test_priority_goes_first_until_the_others_have_aged() -> None:
    under_test = queue(ticket(1), now=0.0)
    under_test.push(ticket(2, priority=2), 0.0)
    assert under_test.pop(1.9).id == 2
    under_test.push(ticket(3, priority=2), 1.9)
    assert under_test.pop(3.5).id == 1  # three levels up by now, and the other still on its first second


def test_urgent_calls_go_before_patient_ones_of_the_same_level() -> None:
    under_test = queue(ticket(1), ticket(2, deadline=100.0), ticket(3, deadline=5.0), ticket(4, deadline=0.5))
    assert order(under_test) == [4, 3, 1, 2]


@pytest.mark.parametrize("timeout", [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0])
def test_time_outs_that_callers_mean_to_be_equal_are(timeout: float) -> None:
    """grpcio was seen to send 10.1 s for 10; others arrive a little late."""
    under_test = queue(ticket(1, deadline=timeout * 1.01), ticket(2, deadline=timeout * 0.99))
    assert order(under_test) == [1, 2]


def test_withdrawn_calls_are_not_there() -> None:
    under_test = queue(*(ticket(number, f"caller {number % 2}") for number in range(6)))
    assert under_test.withdraw(CallId(0)) is not None
    assert under_test.withdraw(CallId(0)) is None
    assert (len(under_test), under_test.of_caller("caller 0"), under_test.callers) == (5, 2, 2)
    assert 0 not in order(under_test)
    assert under_test.oldest is None


@given(st.lists(st.sampled_from("aabbbc"), max_size=60), st.data())
def test_nothing_is_lost_and_shares_never_drift_apart(callers: list[str], data: st.DataObject) -> None:
    under_test = queue(*(ticket(number, caller) for number, caller in enumerate(callers)))
    waiting = dict(enumerate(callers))
    served: Counter[str] = Counter()
    for number in data.draw(st.permutations(range(len(callers))))[: len(callers) // 3]:
        assert under_test.withdraw(CallId(number)) is not None
        del waiting[number]
    while waiting:
        backlogged = set(waiting.values())
        popped = under_test.pop(0.0)
        assert waiting.pop(popped.id) == popped.caller
        served[popped.caller] += 1
        # Nobody who waits is more than one call behind another who has been waiting as long.
        assert all(served[popped.caller] <= served[other] + 1 for other in backlogged)
    assert not under_test
