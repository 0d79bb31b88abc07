from __future__ import annotations

from runner.server.fitness import Condition, Fitness


def test_a_life() -> None:
    under_test = Fitness()
    assert (under_test.condition, under_test.started, under_test.ready) == (Condition.LOADING, False, False)
    under_test.set_ready(True)
    assert (under_test.condition, under_test.started, under_test.ready) == (Condition.READY, True, True)
    under_test.set_ready(False)
    assert (under_test.condition, under_test.started, under_test.ready) == (Condition.NO_REPLICA, True, False)
    under_test.drain()
    under_test.set_ready(True)  # a replica that comes back meanwhile
    assert (under_test.condition, under_test.started, under_test.ready) == (Condition.DRAINING, True, False)


def test_changes_are_told_and_nothing_else() -> None:
    under_test = Fitness()
    first = under_test.changed
    under_test.set_ready(True)
    assert first.is_set()
    second = under_test.changed
    under_test.set_ready(True)
    assert not second.is_set()
    under_test.drain()
    assert second.is_set()
