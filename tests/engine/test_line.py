"""Those who wait for admission: in what order they are let in, for how long they wait, and what they leave behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.errors import DeadlineExceeded, Draining, Overloaded
from runner.limits import CallerLimits
from runner.workers.messages import Call
from tests.engine.scripted import STREAM, request, scripted
from tests.running import on_loop, turns

SOON = 0.02
"""seconds; a deadline that passes while a test waits for it."""


@on_loop
async def test_calls_that_would_be_refused_can_wait_in_line():
    async with scripted(max_queued_calls=3, max_coroutines=1) as under_test:
        engine, worker = under_test.engine, under_test.workers[0]
        streams = [engine.stream(request(STREAM, b"%d" % number)) for number in range(4)]
        in_line = [asyncio.ensure_future(engine.stream_in_turn(request(STREAM, b"%d" % n), 60)) for n in (4, 5, 6)]
        await turns()
        for number in range(7):
            await turns()
            assert [task.done() for task in in_line] == [position < number for position in range(3)]
            assert [call.payload for call in worker.calls] == [b"%d" % started for started in range(number + 1)]
            worker.answer(worker.calls[number], b"")
        for stream in [*streams, *[await task for task in in_line]]:
            stream.close()
        under_test.idle()


@on_loop
async def test_nobody_overtakes_those_who_wait_in_line():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        engine, worker = under_test.engine, under_test.workers[0]
        for _ in range(2):
            engine.stream(request(STREAM))
        first = asyncio.ensure_future(engine.stream_in_turn(request(STREAM, b"first"), 60))
        await turns()
        worker.answer(worker.calls[0], b"")
        # The room that came is the first one's, although this call arrives before it has run again.
        second = asyncio.ensure_future(engine.stream_in_turn(request(STREAM, b"second"), 60))
        await turns()
        assert (first.done(), second.done()) == (True, False)
        second.cancel()
        await turns()
        assert not engine._line


@on_loop
async def test_those_in_line_are_let_in_when_a_replica_becomes_ready():
    async with scripted(ready=False, max_queued_calls=2, max_coroutines=2) as under_test:
        engine, worker = under_test.engine, await under_test.worker()
        for _ in range(2):
            engine.stream(request(STREAM))
        in_line = [asyncio.ensure_future(engine.stream_in_turn(request(STREAM), 60)) for _ in range(2)]
        await turns()
        worker.ready()
        await turns()
        assert all(task.done() for task in in_line)  # two run, and these two wait


@on_loop
async def test_patience_ends_with_a_refusal_and_leaves_nothing_in_line():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        for _ in range(2):
            under_test.engine.stream(request(STREAM))
        for patience in (0.0, SOON):
            with pytest.raises(Overloaded):
                await under_test.engine.stream_in_turn(request(STREAM), patience)
        assert not under_test.engine._line


@on_loop
async def test_a_deadline_ends_the_wait_in_line():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        for _ in range(2):
            under_test.engine.stream(request(STREAM))
        with pytest.raises(DeadlineExceeded, match=r"while the call was waiting for admission, for \d\.\d\d s"):
            await under_test.engine.stream_in_turn(request(STREAM, deadline=time.monotonic() + SOON), patience=60)
        assert not under_test.engine._line


@on_loop
async def test_the_line_has_an_end():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        engine = under_test.engine
        for _ in range(2):
            engine.stream(request(STREAM))
        patient = asyncio.ensure_future(engine.stream_in_turn(request(STREAM), 60))
        await turns()
        with pytest.raises(Overloaded):
            await engine.stream_in_turn(request(STREAM), 60)
        patient.cancel()
        await turns()
        assert not engine._line


@on_loop
async def test_leaving_the_line_passes_the_turn_on():
    async with scripted(max_queued_calls=2, max_coroutines=1) as under_test:
        engine, worker = under_test.engine, under_test.workers[0]
        for _ in range(3):
            engine.stream(request(STREAM))
        first, second = (asyncio.ensure_future(engine.stream_in_turn(request(STREAM), 60)) for _ in range(2))
        await turns()
        worker.answer(worker.calls[0], b"")
        first.cancel()  # it may have been let in already: then the place is free again
        await turns()
        assert first.cancelled()
        assert second.done()


@on_loop
async def test_leaving_the_engine_ends_the_wait_in_line():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        for _ in range(2):
            under_test.engine.stream(request(STREAM))
        patient = asyncio.ensure_future(under_test.engine.stream_in_turn(request(STREAM), 60))
        await turns()
    with pytest.raises(Draining):
        await patient


@on_loop
async def test_a_caller_with_too_many_calls_holds_up_nobody_in_line():
    async with scripted() as under_test:
        engine = under_test.engine
        limits = CallerLimits(max_calls=1)
        first = await engine.stream_in_turn(request(STREAM, caller="a", limits=limits), 60)
        again = asyncio.ensure_future(engine.stream_in_turn(request(STREAM, caller="a", limits=limits), 60))
        await turns()
        assert not again.done()
        # In line behind it, since somebody waits there, and let in by whatever happens next.
        other = asyncio.ensure_future(engine.stream_in_turn(request(STREAM, caller="b", limits=limits), 60))
        task = asyncio.ensure_future(under_test.unary(request()))
        (_, call) = await under_test.workers[0].hears(Call, 2)
        under_test.workers[0].answer(call)
        await task
        (await other).close()
        assert not again.done()
        first.close()
        await turns()
        calls = [call for call in under_test.workers[0].calls if call.method == STREAM]
        for call in calls:
            under_test.workers[0].answer(call)
        (await again).close()


@on_loop
async def test_a_caller_in_line_is_let_in_when_its_rate_allows_it():
    async with scripted(max_coroutines=100) as under_test:
        limits = CallerLimits(max_calls_per_second=50.0)
        opened = [
            await under_test.engine.stream_in_turn(request(STREAM, caller="a", limits=limits), 60) for _ in range(53)
        ]
        for stream in opened:
            stream.close()
