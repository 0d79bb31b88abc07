"""When the shell around the policy decides: not before callers had time to come, and not after all are there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from runner.batching.coalescer import QUIET_TURNS, Coalescer
from runner.batching.device import Outcome, Prepared, Run
from runner.batching.entries import Entry, Limits
from runner.batching.jobs import Fate, Job
from runner.errors import CallError
from tests.running import on_loop, turns


class HeldDevice:
    """Keeps what is submitted until the test says that it has run."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def submit(self, run: Run) -> None:
        self.runs.append(run)

    def is_current_thread(self) -> bool:
        return False

    def finish(self) -> int:
        """End the oldest run; return its size."""
        run = self.runs.pop(0)
        results = run.run(run.prepare())
        run.done(Outcome(results, None, 0.0, 0.01))
        return len(results)


class Echo:
    exhausted: int | None = None
    splits = 0

    def preparation(self, jobs: Sequence[Any]) -> Prepared:
        return Prepared.LAST

    def prepare(self, jobs: Sequence[Any]) -> Any:
        return None

    def run(self, prepared: Any, jobs: Sequence[Any]) -> Any:
        return [job.entry.member for job in jobs]


class Step(Job):
    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def deliver(self, result: Any, fate: Fate) -> None:
        self.answer.set_result(result)

    def refuse(self, error: CallError) -> None:
        self.answer.set_exception(error)


def started() -> tuple[Coalescer, HeldDevice, int]:
    device = HeldDevice()
    coalescer = Coalescer(device, lambda ran: None)
    return coalescer, device, coalescer.add("step", Limits(max_size=64, holds=True), Echo())


def step(coalescer: Coalescer, point: int, member: int) -> asyncio.Future[Any]:
    job = Step(Entry(id=coalescer.next_entry(), point=point, key=None, member=member))
    coalescer.offer(job)
    return job.answer


@on_loop
async def test_callers_that_come_a_few_turns_apart_share_a_batch():
    coalescer, device, point = started()
    for member in range(1, 5):
        step(coalescer, point, member)
        await turns(QUIET_TURNS - 1)
        assert not device.runs
    await turns(QUIET_TURNS + 2)
    assert device.finish() == 4


@on_loop
async def test_a_batch_leaves_as_soon_as_all_members_of_the_last_are_back():
    coalescer, device, point = started()
    told: list[tuple[int, int]] = []

    async def stream(member: int) -> None:
        answer = step(coalescer, point, member)
        while True:
            await answer
            answer = step(coalescer, point, member)
            await asyncio.sleep(0)  # the others ask, too
            told.append((member, len(device.runs)))

    tasks = [asyncio.create_task(stream(member)) for member in range(1, 9)]
    await turns(2 * QUIET_TURNS)
    for _ in range(3):
        told.clear()
        assert device.finish() == 8
        await turns(2 * QUIET_TURNS)
        # Everybody tells while the next batch runs already.
        assert told == [(member, 1) for member in range(1, 9)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    coalescer.close()
