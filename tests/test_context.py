"""What a method sees of its call."""

from __future__ import annotations

import contextvars
import time

import numpy as np
import pytest

from runner.context import BatchContext, CallContext, current, current_context
from runner.errors import Cancelled, DeadlineExceeded


def test_metadata_may_come_when_it_is_asked_for():
    asked: list[int] = []

    def read() -> dict[str, str]:
        asked.append(1)
        return {"tenant": "a"}

    context = CallContext(metadata=read)
    assert not asked
    assert context.metadata == context.metadata == {"tenant": "a"}
    assert asked == [1]
    assert CallContext().metadata == {}


def test_a_call_without_an_id_is_given_one():
    first, second = CallContext(), CallContext()
    assert first.request_id
    assert first.request_id != second.request_id


def test_cancelling_is_seen_and_raised():
    context = CallContext(request_id="r1")
    context.raise_if_cancelled()
    assert not context.cancelled
    context.cancel()
    context.cancel()
    assert context.cancelled
    with pytest.raises(Cancelled):
        context.raise_if_cancelled()
    assert repr(context) == "<CallContext r1 cancelled>"


def test_a_passed_deadline_is_raised_too():
    context = CallContext(deadline=time.monotonic() - 1)
    assert context.time_left < 0
    with pytest.raises(DeadlineExceeded):
        context.raise_if_cancelled()


def test_time_left_is_none_without_a_deadline():
    assert CallContext().time_left is None
    assert 0 < CallContext(deadline=time.monotonic() + 60).time_left <= 60


def test_usage_is_taken_once():
    context = CallContext()
    assert context.take_usage() is None
    context.report_usage(prompt_tokens=3)
    context.report_usage(prompt_tokens=np.int64(5), cached_tokens=2)
    assert context.usage == (5, 0, 2)
    assert context.take_usage() == (5, 0, 2)
    assert context.take_usage() is None


def test_usage_has_to_fit_the_wire():
    context = CallContext()
    for count in (-1, 2**32):
        with pytest.raises(ValueError, match="from 0 to 4294967295"):
            context.report_usage(completion_tokens=count)
    with pytest.raises(TypeError):
        context.report_usage(completion_tokens=1.5)
    assert context.usage is None


def test_outside_a_call_there_is_a_local_context_that_stays():
    def body():
        context = current_context()
        assert context.deadline is None
        assert current_context() is context

    contextvars.copy_context().run(body)


def test_inside_a_call_it_is_the_one_the_worker_set():
    def body():
        context = CallContext(request_id="r2", metadata={"tenant": "a"})
        current.set(context)
        assert current_context() is context

    contextvars.copy_context().run(body)


def test_a_call_has_a_place_for_its_own_things():
    one, other = CallContext(), CallContext()
    one.state["cache"] = 1
    assert (one.state, other.state) == ({"cache": 1}, {})


def test_generation_stops_when_nobody_waits():
    context = CallContext()
    stop = context.stopping_criteria()
    assert stop([[1, 2]], None) is False
    context.cancel()
    assert stop([[1, 2]], None) is True
    assert CallContext(deadline=time.monotonic() - 1).stopping_criteria()([[1]], None) is True
    torch = pytest.importorskip("torch")
    assert stop(torch.ones(2, 3), None).tolist() == [True, True]


def test_a_batch_counts_for_each_call():
    calls = [CallContext(request_id=f"r{number}") for number in range(3)]
    batch = BatchContext(calls)
    assert list(batch.entries) == calls
    batch.report_usage(prompt_tokens=[1, 2, 3], completion_tokens=[4, 5, 6])
    assert [call.usage for call in calls] == [(1, 4, 0), (2, 5, 0), (3, 6, 0)]
    with pytest.raises(TypeError, match=r"prompt_tokens: got 5; in a batch it needs one count for each"):
        batch.report_usage(prompt_tokens=5)
    with pytest.raises(ValueError, match="2 counts for a batch of 3"):
        batch.report_usage(prompt_tokens=[1, 2])
    calls[0].cancel()
    assert not batch.cancelled
    calls[1].cancel()
    calls[2].cancel()
    assert batch.cancelled


def test_a_batch_that_was_filled_up_drops_the_counts_of_what_was_repeated():
    calls = [CallContext() for _ in range(2)]
    batch = BatchContext(calls, filled=4)
    batch.report_usage(prompt_tokens=[1, 2, 2, 2], completion_tokens=np.array([3, 4]))
    assert [call.usage for call in calls] == [(1, 3, 0), (2, 4, 0)]
    with pytest.raises(ValueError, match="3 counts for a batch of 2"):
        batch.report_usage(prompt_tokens=[1, 2, 2])


def test_a_local_context_takes_counts_of_a_batch_too():
    def body():
        context = current_context()
        assert list(context.entries) == [context]
        context.report_usage(prompt_tokens=[1, 2], completion_tokens=[3, 4])
        assert [entry.usage for entry in context.entries] == [(1, 3, 0), (2, 4, 0)]
        with pytest.raises(TypeError, match="prompt_tokens: got 5; in a batch it needs one count for each"):
            context.report_usage(prompt_tokens=5, completion_tokens=[3, 4])
        context.report_usage(prompt_tokens=5)
        assert (context.usage, list(context.entries)) == ((5, 0, 0), [context])

    contextvars.copy_context().run(body)


def test_a_batch_asks_for_its_calls_when_a_method_does():
    asked: list[int] = []

    def calls() -> list[CallContext]:
        asked.append(1)
        return [CallContext(request_id=f"r{number}", deadline=1.0) for number in range(9)]

    batch = BatchContext(calls)
    assert not asked
    assert batch.request_id == "r0,r1,r2,r3,r4,r5,r6,r7"
    assert (batch.deadline, batch.cancelled, len(batch.entries)) == (1.0, False, 9)
    assert asked == [1]


def test_a_batch_lasts_as_long_as_somebody_waits():
    assert BatchContext([CallContext(deadline=5.0), CallContext(deadline=9.0)]).deadline == 9.0
    assert BatchContext([CallContext(deadline=5.0), CallContext()]).deadline is None
