"""What becomes of calls whose worker dies, hangs, or kills whatever runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from runner.dispatch import restarts
from runner.engine import keeper, life
from runner.errors import ModelFailing, PoisonCall, WorkerLost
from runner.execution.journal import Mark
from runner.testing.clock import run_in_virtual_time
from runner.workers.messages import Call, EndInput, Item, Load
from runner.workers.vitals import Vitals
from tests.engine.scripted import (
    COLLECT,
    GENERATE,
    LIST_UP,
    LOOK_UP,
    PREDICT,
    STREAM,
    Scripted,
    ScriptedWorker,
    request,
    scripted,
)
from tests.running import on_loop, turns


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Restart at once, and look every millisecond."""
    monkeypatch.setattr(restarts, "restart_delay", lambda deaths, dice: 0.0)
    monkeypatch.setattr(life, "EXIT_GRACE", 0.01)
    monkeypatch.setattr(life, "LINK_GRACE", 0.001)
    monkeypatch.setattr(life, "LOOK_EVERY", 0.001)


def a_call(under_test: Scripted, method: int = PREDICT, payload: bytes = b"x") -> asyncio.Task:
    return asyncio.ensure_future(under_test.unary(request(method, payload)))


def idle(worker: ScriptedWorker) -> None:
    """It takes calls and begins none."""
    worker.begins = False


async def next_worker(under_test: Scripted) -> ScriptedWorker:
    worker = await under_test.worker(len(under_test.workers) + 1)
    worker.ready()
    return worker


async def dies(under_test: Scripted, worker: ScriptedWorker) -> ScriptedWorker:
    """Kill a worker; return the one that takes its place."""
    number = len(under_test.workers) + 1
    worker.die()
    successor = await under_test.worker(number)
    successor.ready()
    await turns()
    return successor


# What had not begun.


@on_loop
async def test_a_call_that_had_not_begun_runs_elsewhere_however_often():
    async with scripted(prepare=idle) as under_test:
        worker = under_test.workers[0]
        task = a_call(under_test)
        await worker.hears(Call)
        for _ in range(4):
            worker = await dies(under_test, worker)
            (call,) = worker.calls
        worker.answer(call)
        assert await task == b"answer"
        under_test.idle()


@pytest.mark.parametrize("method", [GENERATE, STREAM, COLLECT])
@on_loop
async def test_a_stream_that_had_not_begun_is_given_its_inputs_again(method):
    async with scripted(prepare=idle) as under_test:
        stream = under_test.engine.stream(request(method))
        inputs = method is not GENERATE
        if inputs:
            assert await stream.send(b"1")
        first = under_test.workers[0]
        await first.hears(Call)
        if inputs:
            assert await stream.send(b"2")
            stream.end_input()
        second = await dies(under_test, first)
        third = await dies(under_test, second)
        (call,) = third.calls
        assert [item.payload for item in third.of(Item)] == ([b"1", b"2"] if inputs else [])
        assert all(message.id == call.id for message in [*third.of(Item), *third.of(EndInput)])
        assert len(third.of(EndInput)) == inputs
        third.answer(call)
        await stream.result()
        under_test.idle()


@on_loop
async def test_inputs_are_not_kept_once_the_method_has_begun():
    async with scripted() as under_test:
        stream = under_test.engine.stream(request(STREAM))
        (call,) = await under_test.workers[0].hears(Call)
        await stream.send(b"1")
        under_test.workers[0].credit(call, 1)
        await stream.send(b"2")
        await dies(under_test, under_test.workers[0])
        with pytest.raises(WorkerLost):
            await anext(stream)
        under_test.idle()


@on_loop
async def test_those_that_were_out_go_before_those_that_wait():
    async with scripted(prepare=idle) as under_test:
        tasks = [a_call(under_test, payload=b"%d" % number) for number in range(3)]
        await under_test.workers[0].hears(Call, 2)
        successor = await dies(under_test, under_test.workers[0])
        assert [call.payload for call in successor.calls] == [b"0", b"1"]
        for index in range(3):
            successor.answer(successor.calls[index])
            await turns()
        await asyncio.gather(*tasks)
        under_test.idle()


@on_loop
async def test_more_than_may_wait_come_back():
    """What was admitted is not refused."""
    async with scripted(prepare=idle, max_queued_calls=1, max_queued_bytes=1) as under_test:
        tasks = [a_call(under_test) for _ in range(3)]
        await under_test.workers[0].hears(Call, 2)
        under_test.workers[0].die()
        successor = await next_worker(under_test)
        for index in range(3):
            (await successor.hears(Call, index + 1)) and successor.answer(successor.calls[index])
        await asyncio.gather(*tasks)


# What had begun.


@pytest.mark.parametrize("method", [PREDICT, GENERATE, STREAM, COLLECT])
@on_loop
async def test_what_may_have_done_something_is_lost(method):
    async with scripted() as under_test:
        stream = under_test.engine.stream(request(method))
        await under_test.workers[0].hears(Call)
        await dies(under_test, under_test.workers[0])
        with pytest.raises(WorkerLost):
            await stream.result()
        under_test.idle()


@on_loop
async def test_a_repeatable_stream_begins_anew_while_nothing_of_it_has_left():
    async with scripted() as under_test:
        stream = under_test.engine.stream(request(LIST_UP))
        first = under_test.workers[0]
        (call,) = await first.hears(Call)
        first.item(call, b"1", b"2")
        second = await dies(under_test, first)
        (call,) = second.calls
        second.item(call, b"one")
        assert await anext(stream) == b"one"
        await dies(under_test, second)
        with pytest.raises(WorkerLost):
            await anext(stream)
        under_test.idle()


@on_loop
async def test_what_a_worker_said_before_it_died_still_counts():
    """The process is gone before the last of its link has been read."""
    async with scripted() as under_test:
        task = a_call(under_test)
        worker = under_test.workers[0]
        (call,) = await worker.hears(Call)
        worker.exit()
        await turns()
        worker.answer(call)
        worker.hang_up()
        assert await task == b"answer"


@on_loop
async def test_a_call_that_nobody_waits_for_is_not_run_again():
    async with scripted() as under_test:
        task = a_call(under_test, LOOK_UP)
        await under_test.workers[0].hears(Call)
        task.cancel()
        await turns()
        successor = await dies(under_test, under_test.workers[0])
        assert not successor.calls
        under_test.idle()


# What kills.


@on_loop
async def test_a_call_present_at_two_deaths_runs_alone_and_then_is_poison():
    async with scripted() as under_test:
        poison, other = a_call(under_test, LOOK_UP, b"poison"), a_call(under_test, LOOK_UP, b"innocent")
        worker = under_test.workers[0]
        await worker.hears(Call, 2)
        worker = await dies(under_test, worker)
        assert [call.payload for call in worker.calls] == [b"poison", b"innocent"]
        worker = await dies(under_test, worker)
        late = a_call(under_test, LOOK_UP, b"late")
        await turns()
        assert [call.payload for call in worker.calls] == [b"poison"]
        worker = await dies(under_test, worker)
        with pytest.raises(PoisonCall, match="3 workers died"):
            await poison
        assert [call.payload for call in worker.calls] == [b"innocent"]
        worker.answer(worker.calls[0])
        assert await other == b"answer"
        worker.answer((await worker.hears(Call, 2))[1])
        assert await late == b"answer"
        under_test.idle()


@on_loop
async def test_calls_that_kill_one_after_the_other_do_not_open_the_breaker_for_all_others():
    async with scripted() as under_test:
        poisons = [a_call(under_test, LOOK_UP, b"poison") for _ in range(4)]
        innocent = a_call(under_test, LOOK_UP, b"innocent")
        (worker,) = under_test.workers
        await worker.hears(Call, 2)
        while any(call.payload == b"poison" for call in worker.calls):
            worker = await dies(under_test, worker)
        assert len(under_test.workers) > restarts.OPENS_AFTER
        for poison in poisons:
            with pytest.raises(PoisonCall):
                await poison
        worker.answer(worker.calls[0])
        assert await innocent == b"answer"
        under_test.idle()


@on_loop
async def test_opening_the_inputs_of_a_call_can_kill_too():
    async with scripted(prepare=idle) as under_test:
        task = a_call(under_test)
        worker = under_test.workers[0]
        for _ in range(3):
            (call,) = await worker.hears(Call)
            worker.journal.mark(call.id, Mark.TOUCHED)
            worker = await dies(under_test, worker)
        with pytest.raises(PoisonCall):
            await task
        under_test.idle()


# The breaker.


async def opened(under_test: Scripted) -> None:
    """Have so many workers die that the breaker opens."""
    for number in range(1, restarts.OPENS_AFTER + 1):
        worker = await under_test.worker(number)
        worker.ready()
        worker.die()
        await worker.gone()
    await turns()


@on_loop
async def test_a_model_whose_workers_all_die_is_refused_at_once():
    async with scripted(prepare=idle) as under_test:
        waiting = a_call(under_test)
        await opened(under_test)
        assert not under_test.engine.ready
        with pytest.raises(ModelFailing, match="die before they answer a call") as told:
            await waiting
        assert 20 < told.value.retry_after < 40
        with pytest.raises(ModelFailing):
            await under_test.unary(request())
        with pytest.raises(ModelFailing):
            await under_test.engine.stream_in_turn(request(STREAM), 60)
        assert len(under_test.workers) == restarts.OPENS_AFTER
        under_test.idle()


@on_loop
async def test_the_next_worker_is_tried_with_a_call_at_a_time(monkeypatch):
    monkeypatch.setattr(restarts, "OPEN_SECONDS", 0.0)
    async with scripted() as under_test:
        await opened(under_test)
        worker = await under_test.worker(restarts.OPENS_AFTER + 1)
        with pytest.raises(ModelFailing):  # it only loads
            await under_test.unary(request())
        worker.ready()
        assert under_test.engine.ready
        tasks = [a_call(under_test) for _ in range(3)]
        await turns()
        assert len(worker.calls) == 1
        worker.answer(worker.calls[0])
        await turns()
        assert len(worker.calls) == 3
        worker.answer_each(worker.calls[1:])
        await asyncio.gather(*tasks)


@on_loop
async def test_another_version_closes_the_breaker():
    async with scripted() as under_test:
        await opened(under_test)
        swap = asyncio.ensure_future(under_test.engine.replace(grace=1.0))
        worker = await under_test.worker(restarts.OPENS_AFTER + 1)
        worker.ready()
        await swap
        tasks = [a_call(under_test) for _ in range(2)]
        await turns()
        assert len(worker.calls) == 2
        worker.answer_each(worker.calls)
        await asyncio.gather(*tasks)


# Hanging.


def watched(seen: Vitals = Vitals(stopped=True, cpu_seconds=1.0)) -> Callable[[ScriptedWorker], None]:  # noqa: B008
    def prepare(worker: ScriptedWorker) -> None:
        worker.watched, worker.seen = True, seen

    return prepare


@on_loop
async def test_a_worker_without_a_pulse_is_replaced_and_its_calls_are_saved(caplog):
    async with scripted(prepare=watched()) as under_test:
        tasks = [a_call(under_test, LOOK_UP), a_call(under_test)]
        successor = await under_test.worker(2)
        successor.watched = False
        successor.ready()
        assert under_test.workers[0].stopped
        (call,) = await successor.hears(Call)
        successor.answer(call)
        assert await tasks[0] == b"answer"
        with pytest.raises(WorkerLost):
            await tasks[1]
        assert "was stopped by a signal" in caplog.text


@on_loop
async def test_a_worker_that_is_stopped_while_it_loads_is_given_up():
    async with scripted(ready=False, prepare=watched()) as under_test:
        await under_test.worker()
        with pytest.raises(Exception, match="was stopped by a signal"):
            await under_test.engine.started()


@on_loop
async def test_a_run_that_takes_too_long_ends_its_worker_and_its_call_alone(monkeypatch):
    async with scripted() as under_test:
        worker = under_test.workers[0]
        stuck, other = a_call(under_test, LOOK_UP), a_call(under_test, LOOK_UP)
        calls = await worker.hears(Call, 2)
        worker.journal.run_begins(calls[0].id, 0.001)  # long ago
        worker.journal.run_begins(calls[1].id, 1e12)
        worker.watched = True
        (owned,) = under_test.engine._fleet._keepers
        owned._life._look_later()
        successor = await next_worker(under_test)
        with pytest.raises(WorkerLost, match="ran for longer than 1000 s, and its worker was ended"):
            await stuck
        (call,) = await successor.hears(Call)
        successor.answer(call)
        assert await other == b"answer"
        under_test.idle()


@on_loop
async def test_what_a_worker_begins_while_it_is_ended_is_not_run_elsewhere_as_well():
    async with scripted() as under_test:
        worker = under_test.workers[0]
        worker.begins = False
        stuck, late, waiting = a_call(under_test, LOOK_UP), a_call(under_test), a_call(under_test)
        calls = await worker.hears(Call, 2)
        worker.journal.run_begins(calls[0].id, 0.001)  # long ago
        end = worker.stop

        async def stop(*, stuck: bool = False) -> None:
            worker.begin(calls[1])
            worker.answer(calls[0])
            assert len(await worker.hears(Call, 2)) == 2  # there is room, and it gets no more
            await end(stuck=stuck)

        worker.stop = stop  # pyright: ignore[reportAttributeAccessIssue]
        worker.watched = True
        (owned,) = under_test.engine._fleet._keepers
        owned._life._look_later()
        successor = await next_worker(under_test)
        with pytest.raises(WorkerLost):
            await late
        assert await stuck == b"answer"
        (call,) = await successor.hears(Call)
        successor.answer(call)
        assert await waiting == b"answer"
        under_test.idle()


def test_calls_end_though_the_kernel_cannot_end_their_worker():
    async def test() -> None:
        async with scripted(virtual=True) as under_test:
            worker = under_test.workers[0]
            end, killed = worker.stop, asyncio.Event()

            async def stop(*, stuck: bool = False) -> None:
                await killed.wait()
                await end(stuck=stuck)

            worker.stop = stop  # pyright: ignore[reportAttributeAccessIssue]
            lost = a_call(under_test, LOOK_UP)
            (call,) = await worker.hears(Call)
            worker.journal.run_begins(call.id, 0.001)  # long ago
            worker.watched = True
            (owned,) = under_test.engine._fleet._keepers
            owned._life._look_later()
            with pytest.raises(WorkerLost):
                await lost
            assert not worker.stopped
            killed.set()
            await next_worker(under_test)

    run_in_virtual_time(test())


# Wear.


@on_loop
async def test_a_worker_that_has_answered_enough_is_replaced_by_a_fresh_one():
    async with scripted(max_calls=2) as under_test:
        old = under_test.workers[0]
        tasks = [a_call(under_test), a_call(under_test)]
        calls = await old.hears(Call, 2)
        old.answer(calls[0])
        await tasks[0]
        assert len(under_test.workers) == 1
        old.answer(calls[1])
        fresh = await under_test.worker(2)
        assert fresh.of(Load)
        task = a_call(under_test)
        (_, _, call) = await old.hears(Call, 3)
        old.answer(call)
        await task
        fresh.ready()
        await old.gone()
        task = a_call(under_test)
        (call,) = await fresh.hears(Call)
        fresh.answer(call)
        await task
        assert len(under_test.workers) == 2
        under_test.idle()


@on_loop
async def test_a_worker_that_has_grown_is_replaced(monkeypatch):
    monkeypatch.setattr(life, "_WEIGH_EVERY", 1)
    big = Vitals(stopped=False, cpu_seconds=None, resident_bytes=2000)
    async with scripted(prepare=watched(big), max_memory=1000) as under_test:
        fresh = await under_test.worker(2)
        fresh.seen = big._replace(resident_bytes=1000)
        fresh.ready()
        await under_test.workers[0].gone()
        assert under_test.engine.ready


@on_loop
async def test_if_the_fresh_one_cannot_be_had_the_old_one_stays_for_a_while(caplog):
    async with scripted(max_calls=1) as under_test:
        old = under_test.workers[0]
        for number in range(1, 4):
            task = a_call(under_test)
            old.answer((await old.hears(Call, number))[-1])
            await task
            if number == 1:
                fresh = await under_test.worker(2)
                fresh.cannot_load("no memory")
                await fresh.gone()
        assert "the fresh worker cannot be had: no memory" in caplog.text
        assert len(under_test.workers) == 2
        assert keeper.RENEWAL_PAUSE > 0
