"""The public scripted worker, as its own documentation shows it, and on virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from runner import ModelClass
from runner.engine import Engine, Request
from runner.errors import DeadlineExceeded, ModelFailing, WorkerLost
from runner.testing.clock import ManualClock, run_in_virtual_time
from runner.testing.scripted_worker import ScriptedWorkers, methods_of
from runner.workers.messages import Call
from tests.running import on_loop, turns


class Model(ModelClass):
    """One method, which nobody runs."""

    @ModelClass.method
    def predict(self, text: str) -> str: ...


def engine(workers: ScriptedWorkers, clock: ManualClock) -> Engine:
    return Engine([workers.place()], max_queued_calls=10, max_queued_bytes=1 << 20, clock=clock)


@on_loop
async def test_it_hears_and_says_what_a_worker_does():
    workers = ScriptedWorkers(methods_of(Model))
    async with Engine([workers.place()], max_queued_calls=10, max_queued_bytes=1 << 20) as under_test:
        worker = await workers.started(1)
        worker.ready()
        answer = asyncio.ensure_future(under_test.unary(Request(workers.methods[0], b"input")))
        (call,) = await worker.hears(Call)
        assert call.payload == b"input"
        worker.answer(call, b"output")
        assert (await answer).payload == b"output"
    assert worker.stopped
    assert worker.dead


def test_a_deadline_passes_in_virtual_time() -> None:
    clock = ManualClock()

    async def test() -> None:
        workers = ScriptedWorkers(methods_of(Model))
        async with engine(workers, clock) as under_test:
            (await workers.started(1)).ready()
            with pytest.raises(DeadlineExceeded, match=r"running, for 3600\.00 s"):
                await under_test.unary(Request(workers.methods[0], b"", deadline=clock() + 3600))

    run_in_virtual_time(test(), clock)


def test_workers_that_all_die_are_waited_for_ever_longer_and_then_given_up_for_a_while() -> None:
    clock = ManualClock()

    async def test() -> None:
        workers = ScriptedWorkers(methods_of(Model))
        async with engine(workers, clock) as under_test:
            (await workers.started(1)).ready()
            began: list[float] = []
            for number in range(1, 7):
                worker = await workers.started(number)
                began.append(clock())
                worker.ready()
                await turns()
                worker.die()
            waits = [after - before for before, after in itertools.pairwise(began)]
            for wait, usual in zip(waits, (0.5, 1, 2, 4, 30), strict=True):
                assert 0.75 * usual <= wait <= 1.25 * usual + 0.1
            await turns(20)
            with pytest.raises(ModelFailing):
                await under_test.unary(Request(workers.methods[0], b""))

    run_in_virtual_time(test(), clock)


def test_a_silent_worker_is_given_up_after_half_a_minute() -> None:
    clock = ManualClock()

    async def test() -> None:
        workers = ScriptedWorkers(methods_of(Model), prepare=lambda worker: setattr(worker, "watched", True))
        async with engine(workers, clock) as under_test:
            first = await workers.started(1)
            first.ready()
            began = clock()
            with pytest.raises(WorkerLost):
                await under_test.unary(Request(workers.methods[0], b""))
            assert 30 <= clock() - began <= 32
            assert first.stopped

    run_in_virtual_time(test(), clock)
