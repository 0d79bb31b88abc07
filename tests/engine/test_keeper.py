"""Keeping replicas alive: what happens when a worker cannot load, dies, or comes back."""

from __future__ import annotations

import asyncio

import pytest

from runner.dispatch import restarts as module
from runner.engine import life
from runner.errors import LoadError, WorkerLost
from runner.workers.messages import Call, Load
from tests.engine.scripted import GENERATE, Scripted, request, scripted
from tests.running import on_loop, turns


@pytest.fixture(autouse=True)
def delays(monkeypatch) -> list[int]:
    """Restarts at once; returns the deaths in a row that each restart was asked to wait for."""
    asked: list[int] = []

    def restart_delay(deaths: int, dice: float) -> float:
        assert 0 <= dice <= 1
        asked.append(deaths)
        return 0.0

    monkeypatch.setattr(module, "restart_delay", restart_delay)
    monkeypatch.setattr(life, "LINK_GRACE", 0.001)
    monkeypatch.setattr(life, "EXIT_GRACE", 0.01)
    return asked


async def a_call(under_test: Scripted, worker_number: int) -> None:
    """One call goes through a worker, so that it has shown that it can."""
    worker = await under_test.worker(worker_number)
    task = asyncio.ensure_future(under_test.unary(request()))
    (call,) = await worker.hears(Call)
    worker.answer(call)
    await task


@on_loop
async def test_the_first_message_says_what_to_load():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        assert isinstance(worker.heard[0], Load)


@on_loop
async def test_a_model_that_cannot_be_loaded_is_not_tried_again(delays):
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        worker.cannot_load("Model failed to load", "its traceback")
        worker.die("exited with code 3")
        with pytest.raises(LoadError, match="Model failed to load") as told:
            await under_test.engine.started()
        assert told.value.details == "its traceback"
        assert worker.stopped
        assert len(under_test.workers) == 1
        assert delays == []


@pytest.mark.parametrize("how", ["die", "exit"])
@on_loop
async def test_a_worker_that_dies_while_it_loads_tells_how(how):
    """`exit`: something that the model has started still holds the link open."""
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        getattr(worker, how)("killed by SIGKILL")
        with pytest.raises(LoadError, match="the worker ended while it was loading the model: killed by SIGKILL"):
            await under_test.engine.started()


@on_loop
async def test_a_worker_that_hangs_up_while_it_loads():
    async with scripted(ready=False) as under_test:
        (await under_test.worker()).hang_up()
        with pytest.raises(LoadError, match="while it was loading the model: closed its link and did not exit"):
            await under_test.engine.started()


@on_loop
async def test_a_worker_that_cannot_be_started_is_told():
    async with scripted(ready=False, refuse=lambda number: OSError(12, "no memory")) as under_test:
        with pytest.raises(LoadError, match=r"a worker cannot be started: .*no memory"):
            await under_test.engine.started()


@on_loop
async def test_a_worker_that_cannot_be_started_again_is_tried_again(delays):
    refusals = {2: OSError(11, "no process"), 3: OSError(11, "no process")}
    async with scripted(refuse=refusals.get) as under_test:
        under_test.workers[0].die()
        (await under_test.worker(2)).ready()
        await a_call(under_test, 2)
        assert delays == [1, 2, 3]


@pytest.mark.parametrize("how", ["die", "exit", "hang_up"])
@on_loop
async def test_calls_on_a_dead_worker_are_lost_and_the_others_go_on(how, caplog):
    async with scripted(replicas=2) as under_test:
        tasks = [asyncio.ensure_future(under_test.unary(request(payload=b"%d" % n))) for n in range(4)]
        stream = under_test.engine.stream(request(GENERATE))
        await turns()
        dead, alive = under_test.workers
        assert len(dead.calls) == 3
        getattr(dead, how)()
        with pytest.raises(WorkerLost):
            await tasks[0]
        with pytest.raises(WorkerLost):
            await tasks[2]
        with pytest.raises(WorkerLost):
            await anext(stream)
        for call in alive.calls:
            alive.answer(call)
        assert await asyncio.gather(tasks[1], tasks[3]) == [b"answer"] * 2
        under_test.idle()
        assert dead.stopped


@on_loop
async def test_waiting_calls_are_run_by_the_next_worker():
    async with scripted() as under_test:
        tasks = [asyncio.ensure_future(under_test.unary(request(payload=b"%d" % n))) for n in range(3)]
        await turns()
        under_test.workers[0].die()
        for task in tasks[:2]:
            with pytest.raises(WorkerLost):
                await task
        assert not under_test.engine.ready
        successor = await under_test.worker(2)
        successor.ready()
        (call,) = successor.calls
        assert call.payload == b"2"
        successor.answer(call)
        assert await tasks[2] == b"answer"
        under_test.idle()


@on_loop
async def test_a_call_cancelled_on_a_dead_worker_is_forgotten():
    async with scripted() as under_test:
        task = asyncio.ensure_future(under_test.unary(request()))
        await under_test.workers[0].hears(Call)
        task.cancel()
        await turns()
        assert len(under_test.engine._traffic.calls) == 1
        under_test.workers[0].die()
        await under_test.worker(2)
        under_test.idle()


@on_loop
async def test_what_a_dead_worker_still_says_is_ignored():
    async with scripted() as under_test:
        task = asyncio.ensure_future(under_test.unary(request()))
        (call,) = await under_test.workers[0].hears(Call)
        under_test.workers[0].die()
        with pytest.raises(WorkerLost):
            await task
        under_test.workers[0].answer(call)
        under_test.workers[0].item(call, b"late")
        under_test.idle()


@on_loop
async def test_only_workers_that_never_answered_are_waited_for_longer_and_longer(delays):
    async with scripted() as under_test:
        for number in (1, 2):
            (await under_test.worker(number)).die()
            (await under_test.worker(number + 1)).ready()
        await a_call(under_test, 3)
        (await under_test.worker(3)).die()
        (await under_test.worker(4)).cannot_load("weights are gone")
        (await under_test.worker(5)).ready()
        assert delays == [1, 2, 1]  # after an answer it is started at once


@on_loop
async def test_leaving_stops_a_worker_that_is_still_loading():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
        waiting = asyncio.ensure_future(under_test.unary(request()))
        await turns()
    assert worker.stopped
    # It had said this already, and it only arrives now.
    worker.ready()
    worker.hang_up()
    assert not worker.calls
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], Exception)


@on_loop
async def test_leaving_takes_no_notice_of_a_load_that_fails_now():
    async with scripted(ready=False) as under_test:
        worker = await under_test.worker()
    worker.cannot_load("too late")
    worker.hang_up()
