"""Bounds of single callers: what they refuse, what they count, and what they forget."""

from __future__ import annotations

import pytest

from runner.dispatch import callers as callers_module
from runner.dispatch.callers import Callers
from runner.dispatch.dispatcher import CallId, Dispatcher, ReplicaId, Ticket
from runner.errors import InvalidInput, Overloaded
from runner.limits import CallerLimits
from runner.signature.published import Lane

NOW = 100.0


def dispatcher(room: int = 1) -> Dispatcher:
    under_test = Dispatcher(max_queued_calls=100, max_queued_bytes=1000)
    if room:
        under_test.join(ReplicaId(1), {Lane.THREADS: room})
    return under_test


def ticket(number: int, caller: str = "a", **limits: float) -> Ticket:
    return Ticket(CallId(number), Lane.THREADS, 1, caller, limits=CallerLimits(**limits))


def test_calls_that_wait_and_run_count_until_they_are_over() -> None:
    under_test = dispatcher()
    for number in (1, 2):
        under_test.offer(ticket(number, max_calls=2), NOW)
    with pytest.raises(Overloaded, match="2 calls of this caller are here, and 2 may be; try again later") as told:
        under_test.offer(ticket(3, max_calls=2), NOW)
    assert told.value.of_caller
    assert under_test.offer(ticket(4, "b", max_calls=2), NOW) is None  # another caller has its own
    under_test.release(CallId(1), NOW)
    under_test.offer(ticket(3, max_calls=2), NOW)
    under_test.withdraw(CallId(2))
    under_test.offer(ticket(5, max_calls=2), NOW)
    with pytest.raises(Overloaded):
        under_test.offer(ticket(6, max_calls=2), NOW)


def test_calls_that_run_do_not_count_as_waiting() -> None:
    under_test = dispatcher(room=2)
    for number in (1, 2, 3):
        under_test.offer(ticket(number, max_queued_calls=1), NOW)
    with pytest.raises(Overloaded, match="1 calls of this caller wait, and 1 may wait"):
        under_test.offer(ticket(4, max_queued_calls=1), NOW)
    under_test.release(CallId(1), NOW)
    assert [sent.call for sent in under_test.assign(NOW)] == [3]
    assert under_test.offer(ticket(4, max_queued_calls=1), NOW) is None


def test_calls_of_a_lost_replica_come_back_uncounted() -> None:
    under_test = dispatcher()
    limits = {"max_calls": 1, "max_calls_per_second": 1.0}
    under_test.offer(ticket(1, **limits), NOW)
    assert under_test.leave(ReplicaId(1)) == [1]
    under_test.restore(ticket(1, **limits), NOW)
    with pytest.raises(Overloaded, match="1 calls of this caller"):
        under_test.offer(ticket(2, **limits), NOW)
    under_test.withdraw(CallId(1))
    under_test.offer(ticket(2, **limits), NOW + 1)


def test_a_rate_allows_a_second_s_worth_at_once_and_says_when_to_come_back() -> None:
    under_test = dispatcher(room=100)
    for number in range(4):
        under_test.offer(ticket(number, max_calls_per_second=4.0), NOW)
    with pytest.raises(Overloaded, match="may call 4 times a second") as told:
        under_test.offer(ticket(4, max_calls_per_second=4.0), NOW)
    assert told.value.retry_after == 0.25
    with pytest.raises(Overloaded):
        under_test.offer(ticket(4, max_calls_per_second=4.0), NOW + 0.125)
    # Exactly when it was told to, it may; and a long pause is worth one second.
    under_test.offer(ticket(4, max_calls_per_second=4.0), NOW + 0.25)
    for number in range(5, 9):
        under_test.offer(ticket(number, max_calls_per_second=4.0), NOW + 100)
    with pytest.raises(Overloaded):
        under_test.offer(ticket(9, max_calls_per_second=4.0), NOW + 100)


def test_less_than_one_call_a_second() -> None:
    under_test = dispatcher()
    under_test.offer(ticket(1, max_calls_per_second=0.5), NOW)
    with pytest.raises(Overloaded) as told:
        under_test.offer(ticket(2, max_calls_per_second=0.5), NOW)
    assert told.value.retry_after == 2.0
    under_test.offer(ticket(2, max_calls_per_second=0.5), NOW + 2)


def test_a_refused_call_costs_nothing() -> None:
    under_test = dispatcher(room=0)
    under_test.offer(ticket(1, max_queued_calls=1, max_calls_per_second=2.0), NOW)
    for _ in range(10):
        with pytest.raises(Overloaded, match="wait, and 1 may wait"):
            under_test.offer(ticket(2, max_queued_calls=1, max_calls_per_second=2.0), NOW)
    under_test.withdraw(CallId(1))
    under_test.offer(ticket(2, max_queued_calls=1, max_calls_per_second=2.0), NOW)


def test_a_list_is_let_in_as_a_whole_or_not_at_all() -> None:
    under_test = dispatcher()
    tickets = [ticket(number, max_calls=3) for number in range(4)]
    with pytest.raises(
        InvalidInput, match="a list of 4 inputs, and a caller may have 3 calls here; send fewer at once"
    ):
        under_test.offer_list(tickets, NOW)
    assert under_test.offer_list(tickets[:2], NOW) == [1, None]
    with pytest.raises(Overloaded, match="2 calls of this caller are here, and 3 may be"):
        under_test.offer_list(tickets[2:], NOW)
    assert under_test.offer(tickets[2], NOW) is None


def test_a_list_above_the_rate_is_paid_off_afterwards() -> None:
    under_test = dispatcher(room=100)
    under_test.offer_list([ticket(number, max_calls_per_second=2.0) for number in range(6)], NOW)
    with pytest.raises(Overloaded) as told:
        under_test.offer(ticket(6, max_calls_per_second=2.0), NOW)
    assert told.value.retry_after == 2.5
    under_test.offer(ticket(6, max_calls_per_second=2.0), NOW + 2.5)


def test_callers_without_limits_are_not_looked_at() -> None:
    under_test = Callers()
    free = Ticket(CallId(1), Lane.THREADS, 1, "a")
    under_test.check(free, 1000, NOW, waits=1000, hint=None)
    under_test.take(free, NOW, waits=True)
    under_test.start(CallId(1))
    under_test.end(CallId(1))
    assert len(under_test) == 0


def test_idle_callers_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "MAX_IDLE", 3)
    under_test = Callers()
    for number in range(20):
        under_test.take(ticket(number, f"caller {number}", max_calls=1), NOW, waits=False)
        if number not in (0, 5):
            under_test.end(CallId(number))
    assert len(under_test) <= 2 + 3 + 1
    for busy in ("caller 0", "caller 5"):
        with pytest.raises(Overloaded):
            under_test.check(ticket(99, busy, max_calls=1), 1, NOW, waits=0, hint=None)
    under_test.check(ticket(99, "caller 1", max_calls=1), 1, NOW, waits=0, hint=None)


def test_how_long_calls_take_is_the_hint() -> None:
    under_test = dispatcher()
    for number in range(8):
        under_test.offer(ticket(number), NOW + number)
        under_test.release(CallId(number), NOW + number + 0.5)
    under_test.offer(ticket(8, max_calls=1), NOW + 20)
    with pytest.raises(Overloaded) as told:
        under_test.offer(ticket(9, max_calls=1), NOW + 20)
    assert told.value.retry_after == pytest.approx(0.5)
