"""What a method sees of its call."""

from __future__ import annotations

import contextvars
import time

import numpy as np
import pytest

from runner.context import CallContext, current, current_context
from runner.errors import Cancelled, DeadlineExceeded


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
