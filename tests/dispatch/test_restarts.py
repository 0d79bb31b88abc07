"""Restarts and the breaker, as tables and in any order of events."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runner.dispatch.restarts import OPEN_SECONDS, OPENS_AFTER, Breaker, Restarts


def test_a_worker_that_had_answered_is_started_at_once() -> None:
    under_test = Restarts()
    for _ in range(20):
        assert under_test.died(sound=True, dice=0.5) == 0.0
        assert under_test.breaker is Breaker.CLOSED


def test_others_are_waited_for_until_the_breaker_opens() -> None:
    under_test = Restarts()
    delays = [under_test.died(sound=False, dice=0.5) for _ in range(OPENS_AFTER)]
    assert delays == [0.5, 1.0, 2.0, 4.0, OPEN_SECONDS]
    assert under_test.breaker is Breaker.OPEN


@pytest.mark.parametrize(("dice", "delay"), [(0.0, 22.5), (1.0, 37.5)])
def test_an_open_breaker_stays_so_for_a_while(dice: float, delay: float) -> None:
    under_test = Restarts()
    for _ in range(OPENS_AFTER):
        under_test.died(sound=False, dice=dice)
    assert under_test.died(sound=False, dice=dice) == delay


def opened() -> Restarts:
    under_test = Restarts()
    for _ in range(OPENS_AFTER):
        under_test.died(sound=False, dice=0.5)
    under_test.ready()
    assert under_test.breaker is Breaker.HALF_OPEN
    return under_test


def test_an_answer_closes_it_and_begins_anew() -> None:
    under_test = opened()
    under_test.reset()
    assert under_test.breaker is Breaker.CLOSED
    assert under_test.died(sound=False, dice=0.5) == 0.5


def test_a_death_on_trial_opens_it_again() -> None:
    under_test = opened()
    assert under_test.died(sound=False, dice=0.5) == OPEN_SECONDS
    assert under_test.breaker is Breaker.OPEN


def test_being_ready_closes_nothing() -> None:
    under_test = Restarts()
    under_test.died(sound=False, dice=0.5)
    under_test.ready()
    assert under_test.breaker is Breaker.CLOSED
    assert under_test.died(sound=False, dice=0.5) == 1.0


class AnyOrder(RuleBasedStateMachine):
    """Lives of one place's workers, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.under_test = Restarts()
        self.in_a_row = 0

    @rule(sound=st.booleans(), dice=st.floats(0, 1))
    def die(self, sound: bool, dice: float) -> None:
        self.in_a_row = 0 if sound else self.in_a_row + 1
        delay = self.under_test.died(sound=sound, dice=dice)
        assert (delay == 0) == sound
        assert delay <= 1.25 * OPEN_SECONDS
        assert (self.under_test.breaker is Breaker.OPEN) == (self.in_a_row >= OPENS_AFTER)

    @rule()
    def ready(self) -> None:
        self.under_test.ready()
        assert self.under_test.breaker is not Breaker.OPEN

    @rule()
    def answer(self) -> None:
        self.in_a_row = 0
        self.under_test.reset()

    @invariant()
    def it_is_closed_until_too_many_died(self) -> None:
        assert (self.under_test.breaker is Breaker.CLOSED) == (self.in_a_row < OPENS_AFTER)


TestAnyOrder = AnyOrder.TestCase
