"""The engine as a server uses it, from its start to its end, in front of scripted workers."""

from __future__ import annotations

import asyncio

import pytest

from runner.errors import Cancelled, Draining, InvalidInput, ModelError
from runner.workers.messages import Call, Cancel
from tests.engine.scripted import PREDICT, STREAM, request, scripted, start
from tests.running import on_loop, turns


@on_loop
async def test_a_call_goes_to_the_worker_and_its_answer_comes_back():
    async with scripted() as under_test:
        (task,) = start(under_test, b"question", params=b"p", request_id="r", metadata=b"[]")
        (call,) = await under_test.workers[0].hears(Call)
        assert call == Call(1, PREDICT, b"question", b"p", None, "r", b"[]")
        under_test.workers[0].answer(call, b"answer")
        assert await task == b"answer"
        under_test.idle()


@on_loop
async def test_an_error_is_raised_as_it_was_told():
    async with scripted() as under_test:
        (task,) = start(under_test, b"x")
        (call,) = await under_test.workers[0].hears(Call)
        under_test.workers[0].fail(call, InvalidInput("no", path="text"))
        with pytest.raises(InvalidInput, match="text: no"):
            await task
        under_test.idle()


@on_loop
async def test_an_error_of_one_call_is_not_anothers():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2")
        await worker.hears(Call, 2)
        worker.fail(worker.calls[0], ModelError("ValueError: no"))
        worker.answer(worker.calls[1], b"yes")
        with pytest.raises(ModelError):
            await tasks[0]
        assert await tasks[1] == b"yes"


@on_loop
async def test_a_list_is_answered_in_order_with_errors_in_their_places():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        inputs = [b"%d" % number for number in range(4)]
        task = asyncio.ensure_future(under_test.engine.unary_list(request(), inputs))
        await turns()
        worker.fail(worker.calls[1], ModelError("ValueError: no"))
        worker.answer(worker.calls[0], b"zero")
        await turns()
        worker.answer(worker.calls[3], b"three")
        worker.answer(worker.calls[2], b"two")
        parts, outcomes = await task
        assert [part.request.payload for part in parts] == inputs
        zero, one, two, three = [outcome.end for outcome in outcomes]
        assert (zero, two, three) == (b"zero", b"two", b"three")
        assert isinstance(one, ModelError)
        under_test.idle()


@on_loop
async def test_cancelling_a_list_cancels_each_call():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        task = asyncio.ensure_future(under_test.engine.unary_list(request(), [b"x"] * 4))
        await turns()
        task.cancel()
        await turns()
        assert len(worker.of(Cancel)) == 2
        assert under_test.engine.statistics().waiting_calls == 0
        for call in list(worker.calls):
            worker.fail(call, Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_a_closing_engine_takes_no_calls():
    async with scripted() as under_test:
        pass
    with pytest.raises(Draining):
        await under_test.unary(request())


@on_loop
async def test_leaving_the_engine_ends_every_call():
    async with scripted(max_coroutines=1) as under_test:
        tasks = start(under_test, b"1", b"2", b"3")
        in_line_after = under_test.engine.stream(request(STREAM))
        await turns()
    for task in tasks:
        with pytest.raises(Cancelled, match="shutting down"):
            await task
    with pytest.raises(Cancelled):
        await anext(in_line_after)


@on_loop
async def test_a_repr_counts_calls_and_replicas():
    async with scripted() as under_test:
        assert repr(under_test.engine) == "<Engine 0 calls, [<Replica 1 on place 0: ready, 0 calls>]>"
