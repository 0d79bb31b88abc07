"""A call by itself: what is sent of it, and how its caller is told."""

from __future__ import annotations

import pytest

from runner.dispatch.dispatcher import CallId
from runner.engine.calls import Outcome, ToldCall
from runner.errors import InvalidInput, ModelError
from runner.execution.times import Times
from runner.workers.messages import Call
from tests.engine.scripted import LOOK_UP, PREDICT, request

NO, TIMES = ModelError("no"), Times()


def told() -> tuple[ToldCall, list[Outcome]]:
    """Return a call that came at 1.0 and was sent at 3.0, and what its caller is told."""
    outcomes: list[Outcome] = []
    call = ToldCall(CallId(1), request(), 1.0, outcomes.append)
    call.sent = 3.0
    return call, outcomes


def test_the_first_message_says_how_much_time_is_left() -> None:
    call = ToldCall(CallId(1), request(payload=b"x", params=b"p", request_id="r", deadline=10.0), 1.0, lambda _: None)
    call.wire_id = 7
    assert call.first_message(3, 4.0) == Call(7, 3, b"x", b"p", 6.0, "r", b"", 1)
    assert call.waited == 3.0


@pytest.mark.parametrize(("method", "readonly"), [(PREDICT, False), (LOOK_UP, True)])
def test_what_may_run_again_keeps_its_input_from_being_written_to(method: int, readonly: bool) -> None:
    call = ToldCall(CallId(1), request(method, memoryview(bytearray(b"x"))), 1.0, lambda _: None)
    payload = call.first_message(3, 4.0).payload
    assert isinstance(payload, memoryview)
    assert payload.readonly is readonly


def test_a_caller_is_told_once() -> None:
    call, outcomes = told()
    assert not call.over
    call.finish(b"answer", TIMES)
    call.fail(NO)
    assert call.over
    assert outcomes == [Outcome(b"answer", 2.0, TIMES)]
    assert outcomes[0].payload == b"answer"


def test_a_caller_that_is_forgotten_is_told_nothing() -> None:
    call, outcomes = told()
    call.forget()
    assert call.over
    call.finish(b"answer", TIMES)
    assert outcomes == []


def test_of_several_inputs_the_first_error_is_that_of_the_call() -> None:
    call, outcomes = told()
    ends = (b"well", NO, InvalidInput("also"))
    call.mixed(ends, TIMES)
    assert outcomes == [Outcome(NO, 2.0, TIMES, ends)]
    with pytest.raises(ModelError):
        _ = outcomes[0].payload
