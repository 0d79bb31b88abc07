"""Streams between a caller and a scripted worker: credit in both directions, and every way to end."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.engine import StreamCall
from runner.errors import Cancelled, DeadlineExceeded, InvalidInput, ModelError
from runner.flow import STREAM_WINDOW, STREAM_WINDOW_BYTES
from runner.workers.messages import Call, Cancel, Credit, EndInput, Item
from tests.engine.scripted import COLLECT, GENERATE, STREAM, Scripted, ScriptedWorker, request, scripted
from tests.running import on_loop, turns


async def opened(under_test: Scripted, method: int = STREAM) -> tuple[StreamCall, ScriptedWorker, Call]:
    stream = under_test.engine.stream(request(method))
    worker = under_test.workers[0]
    await worker.hears(Call)
    return stream, worker, worker.calls[-1]


async def send_all(stream: StreamCall, payloads: list[bytes]) -> list[bool]:
    return [await stream.send(payload) for payload in payloads]


async def sending_one_too_many(stream: StreamCall) -> asyncio.Task[bool]:
    """Fill the window, and begin to send one more input."""
    for number in range(STREAM_WINDOW):
        assert await stream.send(b"%d" % number)
    sending = asyncio.create_task(stream.send(b"one more"))
    await turns()
    assert not sending.done()
    return sending


async def everything(stream: StreamCall) -> list[bytes]:
    return [bytes(payload) async for payload in stream]


@on_loop
async def test_items_come_in_order_and_then_the_end():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        reading = asyncio.ensure_future(everything(stream))
        worker.item(call, b"1", b"2")
        await turns()
        worker.item(call, b"3")
        worker.answer(call, b"")
        assert await reading == [b"1", b"2", b"3"]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        stream.close()
        assert not worker.of(Cancel)
        under_test.idle()


@on_loop
async def test_items_before_an_error_are_delivered():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        worker.item(call, b"1")
        worker.fail(call, ModelError("ValueError: no"))
        assert await anext(stream) == b"1"
        for _ in range(2):
            with pytest.raises(ModelError):
                await anext(stream)
        under_test.idle()


@on_loop
async def test_a_reader_gives_credit_by_the_half_window():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        half = STREAM_WINDOW // 2
        worker.item(call, *[b"x"] * STREAM_WINDOW)
        for _ in range(half - 1):
            await anext(stream)
        assert not worker.of(Credit)
        await anext(stream)
        assert worker.of(Credit) == [Credit(call.id, half, half)]
        for _ in range(half):
            await anext(stream)
        assert worker.of(Credit) == [Credit(call.id, half, half)] * 2
        stream.close()
        worker.fail(call, Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_outputs_that_are_there_are_taken_together():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        half = STREAM_WINDOW // 2
        worker.item(call, b"1", b"2", b"3")
        assert await stream.take(2) == [b"1", b"2"]
        assert await stream.take() == [b"3"]
        taking = asyncio.ensure_future(stream.take())
        await turns()
        assert not taking.done()
        worker.item(call, *[b"x"] * (half - 3))
        assert len(await taking) == half - 3
        assert not worker.of(Credit)  # all but the first of them may still be on their way
        worker.item(call, *[b"y"] * (half + 1))
        assert await stream.take() == [b"y"] * half
        assert worker.of(Credit) == [Credit(call.id, half, half)]
        worker.fail(call, ModelError("ValueError: no"))
        assert await stream.take() == [b"y"]  # what came before the end is told before it
        with pytest.raises(ModelError):
            await stream.take()
        under_test.idle()


@on_loop
async def test_of_long_outputs_one_is_taken_and_the_others_wait():
    # Whoever takes them holds them twice, and gives no credit for any but the first until all are sent.
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        size = STREAM_WINDOW_BYTES // 4
        worker.item(call, *[bytes(size)] * 4)
        assert await stream.take() == [bytes(size)]
        assert not worker.of(Credit)
        assert await stream.take() == [bytes(size)]
        assert worker.of(Credit) == [Credit(call.id, 2, 2 * size)]
        stream.close()
        worker.fail(call, Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_of_a_stream_that_ended_well_nothing_is_taken():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        worker.answer(call, b"")
        assert await stream.take() == []
        assert await stream.take() == []
        under_test.idle()


@on_loop
async def test_a_stream_that_is_over_is_given_no_credit():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        worker.item(call, *[b"x"] * STREAM_WINDOW)
        worker.answer(call, b"")
        assert len(await everything(stream)) == STREAM_WINDOW
        assert not worker.of(Credit)


@on_loop
async def test_a_sender_that_outruns_the_method_waits():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test)
        sending = await sending_one_too_many(stream)
        assert len(worker.of(Item)) == STREAM_WINDOW
        worker.credit(call, 1)
        assert await sending
        assert worker.of(Item)[-1] == Item(call.id, b"one more")
        stream.close()


@on_loop
async def test_a_sender_whose_wait_is_cancelled_has_sent_nothing():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test)
        sending = await sending_one_too_many(stream)
        sending.cancel()
        await turns()
        worker.credit(call, 1)
        assert await stream.send(b"another")
        assert worker.of(Item)[-1].payload == b"another"
        stream.close()


@on_loop
async def test_a_sender_is_stopped_by_bytes_too():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test)
        large = bytes(STREAM_WINDOW_BYTES // 2)
        sending = asyncio.ensure_future(send_all(stream, [large] * 4))
        await turns()
        assert len(worker.of(Item)) == 2
        worker.credit(call, 1, len(large))
        await turns()
        assert len(worker.of(Item)) == 3
        worker.credit(call, 2, 2 * len(large))
        await sending
        stream.close()


@on_loop
async def test_a_reader_gives_credit_by_half_of_the_bytes():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        worker.item(call, bytes(STREAM_WINDOW_BYTES // 2 - 1), b"x", bytes(4 * STREAM_WINDOW_BYTES))
        await anext(stream)
        assert not worker.of(Credit)
        await anext(stream)
        assert worker.of(Credit) == [Credit(call.id, 2, STREAM_WINDOW_BYTES // 2)]
        await anext(stream)
        assert worker.of(Credit)[1:] == [Credit(call.id, 1, 4 * STREAM_WINDOW_BYTES)]
        stream.close()


@on_loop
async def test_inputs_that_come_before_a_replica_was_chosen_wait_with_their_sender():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        stream = under_test.engine.stream(request(STREAM, b"first"))
        sending = asyncio.ensure_future(send_all(stream, [b"1", b"2"]))
        await turns()
        assert not sending.done()
        worker.ready()
        (call,) = worker.calls
        assert await sending == [True, True]
        assert worker.heard[1:] == [call, Item(call.id, b"1"), Item(call.id, b"2")]
        stream.close()


@on_loop
async def test_an_input_that_ends_before_a_replica_was_chosen_has_ended_when_the_method_starts():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        stream = under_test.engine.stream(request(STREAM, b"first"))
        stream.end_input()
        worker.ready()
        (call,) = worker.calls
        assert worker.heard[1:] == [call, EndInput(call.id)]
        stream.close()


@on_loop
async def test_closing_a_call_in_the_queue_ends_the_wait_of_its_sender():
    async with scripted(ready=False) as under_test:
        await under_test.worker()
        stream = under_test.engine.stream(request(STREAM, b"first"))
        sending = asyncio.ensure_future(stream.send(b"1"))
        await turns()
        stream.close()
        assert not await sending


@on_loop
async def test_the_end_of_the_inputs_is_said_once_and_nothing_follows_it():
    async with scripted() as under_test:
        stream, worker, _ = await opened(under_test)
        stream.end_input()
        stream.end_input()
        assert not await stream.send(b"late")
        assert len(worker.of(EndInput)) == 1
        assert not worker.of(Item)
        stream.close()


@on_loop
async def test_a_method_that_ends_early_takes_no_more_inputs():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test)
        sending = await sending_one_too_many(stream)
        worker.answer(call, b"")
        assert not await sending
        assert not await stream.send(b"late")
        stream.end_input()
        assert not worker.of(EndInput)
        under_test.idle()


@on_loop
async def test_a_stream_of_inputs_has_one_result():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, COLLECT)
        waiting = asyncio.ensure_future(stream.result())
        await turns()
        worker.answer(call, b"all of it")
        assert await waiting == b"all of it"
        failing, worker, call = await opened(under_test, COLLECT)
        worker.fail(call, InvalidInput("no"))
        with pytest.raises(InvalidInput):
            await failing.result()
        under_test.idle()


@on_loop
async def test_closing_an_abandoned_stream_frees_its_room_when_the_worker_has_spoken():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test, GENERATE)
        others = [under_test.engine.stream(request(GENERATE)) for _ in range(2)]
        worker.item(call, b"unread")
        stream.close()
        stream.close()
        assert worker.of(Cancel) == [Cancel(call.id)]
        worker.item(call, b"late")
        assert len(worker.calls) == 2
        worker.fail(call, Cancelled("stopped"))
        assert len(worker.calls) == 3
        for other in others:
            other.close()
        for each in worker.calls[1:]:
            worker.fail(each, Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_closing_a_stream_in_the_queue_takes_it_out():
    async with scripted() as under_test:
        streams = [under_test.engine.stream(request(GENERATE)) for _ in range(3)]
        worker = under_test.workers[0]
        streams[2].close()
        assert under_test.engine.statistics().waiting_calls == 0
        assert not worker.of(Cancel)
        with pytest.raises(Cancelled):
            await anext(streams[2])


@on_loop
async def test_aborting_tells_the_reader_why():
    async with scripted() as under_test:
        stream, worker, call = await opened(under_test)
        reading = asyncio.ensure_future(anext(stream))
        await turns()
        stream.abort(InvalidInput("not a message"))
        with pytest.raises(InvalidInput, match="not a message"):
            await reading
        assert worker.of(Cancel) == [Cancel(call.id)]
        worker.answer(call, b"")
        with pytest.raises(InvalidInput):
            await anext(stream)


@on_loop
async def test_a_deadline_ends_the_reader_and_the_sender():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        stream = under_test.engine.stream(request(STREAM, deadline=time.monotonic() + 0.02))
        for _ in range(STREAM_WINDOW):
            await stream.send(b"x")
        sending = asyncio.ensure_future(stream.send(b"x"))
        with pytest.raises(DeadlineExceeded, match="while the call was running"):
            await anext(stream)
        assert not await sending
        assert len(worker.of(Cancel)) == 1
        worker.fail(worker.calls[0], Cancelled("stopped"))
        stream.close()
        under_test.idle()


# Lists.
