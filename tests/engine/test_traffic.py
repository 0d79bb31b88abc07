"""Calls under way to scripted workers: admission, dispatch, cancellation and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from runner.errors import (
    Cancelled,
    DeadlineExceeded,
    Overloaded,
    WorkerLost,
)
from runner.limits import CallerLimits
from runner.statistics import BOUNDS, Histogram, MethodStatistics
from runner.testing.clock import run_in_virtual_time
from runner.workers.messages import Call, Cancel
from tests.engine.scripted import EMBED, GENERATE, PREDICT, STREAM, Scripted, request, scripted, start
from tests.running import on_loop, turns

SOON = 0.02
"""seconds; a deadline that passes while a test waits for it."""


@on_loop
async def test_more_calls_than_threads_wait_their_turn():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2", b"3", b"4")
        await turns()
        assert [call.payload for call in worker.calls] == [b"1", b"2"]
        assert under_test.engine.statistics().waiting_calls == 2
        worker.answer(worker.calls[1])
        await turns()
        assert [call.payload for call in worker.calls] == [b"1", b"2", b"3"]
        for index in (0, 2, 3):
            worker.answer(worker.calls[index])
            await turns()
        await asyncio.gather(*tasks)
        under_test.idle()


@on_loop
async def test_calls_are_spread_over_the_replicas():
    async with scripted(replicas=2) as under_test:
        tasks = start(under_test, b"1", b"2", b"3", b"4")
        await turns()
        assert [len(worker.calls) for worker in under_test.workers] == [2, 2]
        for worker in under_test.workers:
            worker.answer_each(worker.calls)
        await asyncio.gather(*tasks)


@on_loop
async def test_calls_that_came_while_loading_go_out_in_order():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        tasks = start(under_test, b"1", b"2")
        await turns()
        assert worker.calls == []
        assert not under_test.engine.ready
        worker.ready()
        await turns()
        assert [call.payload for call in worker.calls] == [b"1", b"2"]
        worker.answer_each(worker.calls)
        await asyncio.gather(*tasks)


# Admission.


@on_loop
async def test_beyond_the_bound_calls_are_refused_at_once():
    async with scripted(max_queued_calls=2) as under_test:
        tasks = start(under_test, *[b"x"] * 4)
        await turns()
        with pytest.raises(Overloaded, match="2 calls are waiting"):
            await under_test.unary(request())
        assert len(under_test.engine._traffic.calls) == 4
        under_test.engine.stream(request(GENERATE)).close()  # another lane has room
        worker = under_test.workers[0]
        worker.answer_each(worker.calls[:2])
        await turns()
        worker.answer_each(worker.calls[2:])
        await asyncio.gather(*tasks)
        under_test.idle()


@on_loop
async def test_more_bytes_than_the_bound_are_refused_at_once():
    async with scripted(max_queued_bytes=10) as under_test:
        tasks = start(under_test, b"x", b"x", b"a payload")
        await turns()
        with pytest.raises(Overloaded, match="9 bytes of calls are waiting"):
            await under_test.unary(request(payload=b"xx"))
        worker = under_test.workers[0]
        for index in range(3):
            worker.answer(worker.calls[index])
            await turns()
        await asyncio.gather(*tasks)
        under_test.idle()


@on_loop
async def test_a_message_lies_with_the_worker_that_is_likely_to_get_it():
    async with scripted(replicas=2, ready=False) as under_test:
        asked: list[tuple[int, int]] = []

        def draft_of(number: int) -> Callable[[int], None]:
            return lambda size: asked.append((number, size))

        assert under_test.engine.memory_for(10) is None  # nobody is ready
        workers = [await under_test.worker(number) for number in (1, 2)]
        for number, worker in enumerate(workers):
            worker.draft = draft_of(number)  # type: ignore[method-assign]
        under_test.engine.memory_for(10)
        assert asked == []
        for worker in workers:
            worker.ready()
        await under_test.engine.started()
        for size in range(4):
            under_test.engine.memory_for(size)
            tasks = start(under_test, b"x")
            await turns()
            assert [len(worker.calls) for worker in workers] == [(size + 2) // 2, (size + 1) // 2]
            del tasks
        assert asked == [(0, 0), (1, 1), (0, 2), (1, 3)]
        for worker in workers:
            worker.answer_each(worker.calls)


# Cancellation.


@on_loop
async def test_a_call_cancelled_in_the_queue_never_reaches_a_worker():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2", b"3")
        await turns()
        tasks[2].cancel()
        await turns()
        assert under_test.engine.statistics().waiting_calls == 0
        worker.answer_each(worker.calls)
        assert await asyncio.gather(*tasks[:2]) == [b"answer"] * 2
        assert [call.payload for call in worker.calls] == [b"1", b"2"]
        assert not worker.of(Cancel)
        under_test.idle()


@on_loop
async def test_a_cancelled_running_call_keeps_its_room_until_the_worker_has_spoken():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2", b"3")
        await turns()
        tasks[0].cancel()
        await turns()
        assert worker.of(Cancel) == [Cancel(worker.calls[0].id)]
        assert len(worker.calls) == 2
        worker.fail(worker.calls[0], Cancelled("stopped"))
        await turns()
        assert len(worker.calls) == 3
        worker.answer_each(worker.calls[1:])
        await asyncio.gather(*tasks[1:])
        under_test.idle()


@on_loop
async def test_an_answer_that_crosses_a_cancel_frees_the_room_once():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        (task,) = start(under_test, b"1")
        (call,) = await worker.hears(Call)
        task.cancel()
        worker.answer(call)
        worker.answer(call)  # nobody says this twice; it must not free another call's room
        await asyncio.gather(task, return_exceptions=True)
        under_test.idle()


# Deadlines.


@on_loop
async def test_a_deadline_that_has_passed_refuses_the_call():
    async with scripted() as under_test:
        with pytest.raises(DeadlineExceeded, match="had passed when the call arrived"):
            await under_test.unary(request(deadline=time.monotonic() - 1))
        assert not under_test.workers[0].calls
        under_test.idle()


@on_loop
async def test_a_deadline_ends_a_waiting_call():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2")
        await turns()
        with pytest.raises(DeadlineExceeded, match="while the call was waiting for its turn"):
            await under_test.unary(request(deadline=time.monotonic() + SOON))
        assert under_test.engine.statistics().waiting_calls == 0
        assert len(worker.calls) == 2
        worker.answer_each(worker.calls)
        await asyncio.gather(*tasks)
        under_test.idle()


@on_loop
async def test_a_deadline_ends_a_running_call_and_tells_the_worker():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        with pytest.raises(
            DeadlineExceeded, match=r"while the call was running, for \d\.\d\d s, after 0\.00 s of waiting"
        ):
            await under_test.unary(request(deadline=time.monotonic() + SOON))
        (call,) = worker.calls
        assert call.time_left is not None
        assert 0 < call.time_left <= SOON
        assert worker.of(Cancel) == [Cancel(call.id)]
        assert under_test.engine.statistics().cancel_latency_seconds.count == 0  # its room is not free yet
        worker.fail(call, Cancelled("stopped"))
        under_test.idle()
        latency = under_test.engine.statistics().cancel_latency_seconds
        assert latency.count == 1
        assert 0 < latency.longest == latency.total == latency.p50 == latency.p99


@on_loop
async def test_an_answer_in_time_disarms_the_deadline():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        (task,) = start(under_test, b"1", deadline=time.monotonic() + 600)
        (call,) = await worker.hears(Call)
        (timer,) = [call.timer for call in under_test.engine._traffic.calls.values()]
        worker.answer(call)
        await task
        assert timer is not None
        assert timer.cancelled()
        under_test.idle()


# The end.


@on_loop
async def test_it_is_quiet_after_the_last_word():
    async with scripted() as under_test:
        assert await under_test.engine.quiet(0)
        worker = under_test.workers[0]
        tasks = start(under_test, b"1")
        await turns()
        assert not await under_test.engine.quiet(0)
        (task,) = tasks
        task.cancel()
        quiet = asyncio.create_task(under_test.engine.quiet(60))
        await turns()
        assert not quiet.done()
        worker.fail(worker.calls[0], Cancelled("stopped"))
        assert await quiet
        await asyncio.gather(*tasks, return_exceptions=True)


# One caller's own bounds.


@on_loop
async def test_a_caller_s_bounds_are_told_with_a_hint():
    async with scripted() as under_test:
        limits = CallerLimits(max_calls_per_second=1.0)
        (task,) = start(under_test, b"1", caller="a", limits=limits)
        (call,) = await under_test.workers[0].hears(Call)
        under_test.workers[0].answer(call)
        await task
        with pytest.raises(Overloaded, match="this caller may call 1 times a second") as told:
            await under_test.unary(request(PREDICT, caller="a", limits=limits))
        assert told.value.of_caller
        assert 0 < told.value.retry_after <= 1


# Counting. What a caller was not told counts as failed, whatever the worker made of it.


def of_method(under_test: Scripted, method: str = "predict") -> MethodStatistics:
    (found,) = (each for each in under_test.engine.statistics().methods if each.name == method)
    return found


def counts(under_test: Scripted, method: str = "predict") -> tuple[int, int, int]:
    found = of_method(under_test, method)
    return found.ended, found.failed, found.refused


def buckets(histogram: Histogram) -> dict[float, int]:
    """How many there are by bound, without the empty buckets."""
    bounds = (*BOUNDS, float("inf"))
    return {bound: count for bound, count in zip(bounds, histogram.counts, strict=True) if count}


@on_loop
async def test_calls_lost_with_their_worker_have_failed():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2")
        for call in await worker.hears(Call, 2):
            worker.begin(call)
        tasks[1].cancel()
        await turns()
        worker.die()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [WorkerLost, asyncio.CancelledError]
        assert counts(under_test) == (2, 2, 0)


@on_loop
async def test_calls_whose_time_was_up_have_failed_though_they_were_answered_later():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        begun = start(under_test, b"1", b"2", deadline=time.monotonic() + SOON)
        waiting = start(under_test, b"3", deadline=time.monotonic() + SOON)
        calls = await worker.hears(Call, 2)
        await worker.hears(Cancel, 2)
        worker.answer(calls[0])
        worker.fail(calls[1], Cancelled("stopped"))
        ends = await asyncio.gather(*begun, *waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {DeadlineExceeded}
        assert counts(under_test) == (3, 3, 0)
        under_test.idle()


@on_loop
async def test_calls_whose_caller_left_have_failed():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, b"1", b"2", b"3")
        calls = await worker.hears(Call, 2)
        tasks[0].cancel()
        tasks[2].cancel()
        await turns()
        worker.answer_each(calls)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert counts(under_test) == (3, 2, 0)
        under_test.idle()


@on_loop
async def test_refused_calls_are_counted_apart():
    async with scripted(max_queued_calls=2) as under_test:
        worker = under_test.workers[0]
        tasks = start(under_test, *[b"x"] * 5)
        await turns()
        assert counts(under_test) == (0, 0, 1)
        with pytest.raises(Overloaded):
            await under_test.engine.unary_list(request(), [b"x"] * 3)
        with pytest.raises(DeadlineExceeded):
            under_test.engine.stream(request(GENERATE, deadline=time.monotonic() - 1))
        worker.answer_each(worker.calls[:2])
        await worker.hears(Call, 4)
        worker.answer_each(worker.calls[2:])
        await asyncio.gather(*tasks, return_exceptions=True)
        assert counts(under_test) == (4, 0, 4)
        assert counts(under_test, "generate") == (0, 0, 1)
        under_test.idle()


@on_loop
async def test_who_waits_for_admission_is_refused_once_and_not_before():
    async with scripted(max_queued_calls=1, max_coroutines=1) as under_test:
        engine = under_test.engine
        opened = [engine.stream(request(STREAM)) for _ in range(2)]
        let_in = asyncio.ensure_future(engine.stream_in_turn(request(STREAM), patience=1000.0))
        await turns()
        with pytest.raises(Overloaded):
            await engine.stream_in_turn(request(STREAM), patience=1000.0)  # one may wait
        assert counts(under_test, "stream") == (0, 0, 1)
        opened[1].close()
        (await let_in).close()
        opened[0].close()
        worker = under_test.workers[0]
        await worker.hears(Cancel)
        worker.answer_each(worker.calls)
        await turns()
        assert counts(under_test, "stream") == (3, 3, 1)
        under_test.idle()


def test_how_long_calls_took_and_waited():
    async def test() -> None:
        async with scripted(virtual=True) as under_test:
            worker = under_test.workers[0]
            tasks = start(under_test, b"1", b"2", b"3")  # there is room for two
            first, second = await worker.hears(Call, 2)
            await asyncio.sleep(0.2)
            worker.answer(first)
            third = (await worker.hears(Call, 3))[2]
            await asyncio.sleep(0.4)
            worker.answer_each([second, third])
            await asyncio.gather(*tasks)
            found = of_method(under_test)
            assert buckets(found.took) == {0.25: 1, 1.0: 2}
            assert buckets(found.waited) == {0.001: 2, 0.25: 1}
            assert found.took.total == pytest.approx(0.2 + 0.6 + 0.6)
            assert found.waited.total == pytest.approx(0.2)
            assert found.first_item.count == 0

    run_in_virtual_time(test())


def test_a_call_that_no_worker_had_waited_to_its_end():
    async def test() -> None:
        async with scripted(virtual=True) as under_test:
            worker = under_test.workers[0]
            running = start(under_test, b"1", b"2")
            (late,) = start(under_test, b"3", deadline=under_test.engine.clock() + 2)
            (left,) = start(under_test, b"4")
            await asyncio.sleep(0.04)
            left.cancel()
            with pytest.raises(DeadlineExceeded):
                await late
            worker.answer_each(await worker.hears(Call, 2))
            await asyncio.gather(*running)
            found = of_method(under_test)
            assert buckets(found.waited) == {0.001: 2, 0.05: 1, 2.5: 1}
            assert buckets(found.took) == {0.05: 1, 2.5: 3}

    run_in_virtual_time(test())


def test_a_list_took_as_long_for_each_input():
    async def test() -> None:
        async with scripted(virtual=True) as under_test:
            worker = under_test.workers[0]
            task = asyncio.ensure_future(under_test.engine.unary_list(request(EMBED), [b"1", b"2", b"3"]))
            (call,) = await worker.hears(Call)
            await asyncio.sleep(3)
            worker.answer(call)
            await task
            assert buckets(of_method(under_test, "embed").took) == {5.0: 3}

    run_in_virtual_time(test())


def test_when_the_first_item_of_a_stream_came():
    async def test() -> None:
        async with scripted(virtual=True) as under_test:
            worker = under_test.workers[0]
            stream = under_test.engine.stream(request(GENERATE))
            (call,) = await worker.hears(Call)
            await asyncio.sleep(0.03)
            worker.item(call, b"a")
            await asyncio.sleep(7)
            worker.item(call, b"b")
            worker.answer(call)
            assert [item async for item in stream] == [b"a", b"b"]
            found = of_method(under_test, "generate")
            assert buckets(found.first_item) == {0.05: 1}
            assert buckets(found.took) == {10.0: 1}

    run_in_virtual_time(test())
