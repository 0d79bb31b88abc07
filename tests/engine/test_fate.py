"""What the callers of a worker that is gone are told, by how far their calls had come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.dispatch.dispatcher import CallId
from runner.engine.calls import ToldCall
from runner.engine.fate import Again, fate_of, without_worker
from runner.errors import ModelFailing, PoisonCall, WorkerLost
from runner.execution.journal import Mark
from tests.engine.scripted import LOOK_UP, PREDICT, request

REFUSAL = ModelFailing("not now", retry_after=1.0)


def a_call(method: int = PREDICT, *, deaths: int = 0) -> ToldCall:
    call = ToldCall(CallId(1), request(method), 0.0, lambda answer: None)
    call.wire_id, call.deaths = 7, deaths
    return call


def on_replica(mark: Mark, *, stuck: bool = False) -> Any:
    return SimpleNamespace(mark_of=lambda call: mark, stuck=frozenset({7} if stuck else ()))


def test_what_had_not_begun_runs_again_and_is_not_suspected():
    call = a_call()
    assert fate_of(call, on_replica(Mark.NONE), died=True, refusal=None) == Again(alone=False)
    assert call.deaths == 0


def test_a_worker_that_was_ended_on_purpose_is_no_death():
    call = a_call(LOOK_UP)
    assert fate_of(call, on_replica(Mark.RUNS), died=False, refusal=None) == Again(alone=False)
    assert call.deaths == 0


def test_an_idempotent_call_runs_again_then_alone_then_no_more():
    call = a_call(LOOK_UP)
    fates = [fate_of(call, on_replica(Mark.RUNS), died=True, refusal=None) for _ in range(3)]
    assert fates[:2] == [Again(alone=False), Again(alone=True)]
    assert isinstance(fates[2], PoisonCall)
    assert "3 workers died" in str(fates[2])


@pytest.mark.parametrize(("died", "told"), [(True, "whether the method finished"), (False, "its worker was replaced")])
def test_what_ran_and_may_not_run_twice_is_lost(died, told):
    lost = fate_of(a_call(), on_replica(Mark.RUNS), died=died, refusal=None)
    assert isinstance(lost, WorkerLost)
    assert told in str(lost)


def test_what_ran_for_too_long_is_lost_though_it_is_idempotent():
    lost = fate_of(a_call(LOOK_UP), on_replica(Mark.RUNS, stuck=True), died=False, refusal=None)
    assert isinstance(lost, WorkerLost)
    assert "longer than 1000 s" in str(lost)


def test_with_nothing_to_run_it_a_call_is_refused_or_lost():
    assert fate_of(a_call(), on_replica(Mark.NONE), died=True, refusal=REFUSAL) is REFUSAL
    assert without_worker(a_call(), REFUSAL) is REFUSAL
    assert isinstance(without_worker(a_call(deaths=1), REFUSAL), WorkerLost)
