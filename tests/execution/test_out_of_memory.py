"""Batches for which a device has too little memory: split where that does no harm, and smaller from then on."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runner import Batch, ModelClass
from runner.batching.memory import free_memory, out_of_memory
from runner.errors import ModelError
from tests.execution.stage import Stage
from tests.running import on_loop

torch = pytest.importorskip("torch")


class Small(ModelClass):
    """A device that has memory for two entries, or for a cost of ten. `gate` holds it up until the test opens it."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def _allocate(self, size: int, most: int = 2) -> None:
        self.gate.wait()
        self.runs.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    @ModelClass.method(max_batch_size=16, idempotent=True)
    def safe(self, number: Batch[int]) -> Batch[int]:
        self._allocate(len(number))
        return [each + 1 for each in number]

    @ModelClass.method(max_batch_size=16)
    def once(self, number: Batch[int]) -> Batch[int]:
        self._allocate(len(number))
        return list(number)

    @ModelClass.method(max_batch_size=16, idempotent=True)
    async def awaited(self, number: Batch[int]) -> Batch[int]:
        await asyncio.to_thread(self._allocate, len(number))
        return list(number)

    @ModelClass.method(max_batch_size=16, idempotent=True, cost=len)
    def weighed(self, text: Batch[str]) -> Batch[int]:
        self._allocate(sum(map(len, text)), 10)
        return [len(each) for each in text]

    @ModelClass.method(idempotent=True)
    def never(self, number: Batch[int]) -> Batch[int]:
        self._allocate(len(number), 0)
        return list(number)

    @ModelClass.batched(max_batch_size=16)
    def step(self, numbers: list[int]) -> list[int]:
        self._allocate(len(numbers))
        return numbers

    @ModelClass.method
    async def steps(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield await self.step(number)


async def held(stage: Stage, method: str, *values: Any) -> list[Any]:
    """Call a method with each value, so that the calls meet in a batch; return the ends."""
    name = stage.methods[stage.index[method]].arguments[0].name
    stage.model.gate.clear()
    calls = [stage.call(method, **{name: value}) for value in values]
    for _ in range(20):
        await asyncio.sleep(0)
    stage.model.gate.set()
    await stage.until(lambda: all(call in stage.ends for call in calls))
    return [stage.ends[call] for call in calls]


@pytest.mark.parametrize("method", ["safe", "awaited"])
@on_loop
async def test_a_repeatable_batch_is_split_until_it_fits_and_later_ones_are_smaller(method):
    async with Stage(Small) as stage:
        more = 1 if method == "safe" else 0
        assert await held(stage, method, *range(8)) == [number + more for number in range(8)]
        runs = stage.model.runs
        assert runs[0] in (8, 1)  # an idle device may have taken the first alone
        assert sum(size for size in runs if size <= 2) == 8
        splits = sum(ran.oom_splits for ran in stage.batches)
        assert splits == sum(size > 2 for size in runs) > 0
        del runs[:]
        await held(stage, method, *range(8))
        assert max(runs) <= 2
        assert sum(ran.oom_splits for ran in stage.batches) == splits


@on_loop
async def test_where_weights_differ_the_cost_is_bounded_from_then_on():
    async with Stage(Small) as stage:
        await held(stage, "weighed", "xxxx", "xxxx", "xx", "xxxx", "xxxxxx")
        del stage.model.runs[:]
        await held(stage, "weighed", "xxxx", "xxxx", "xx", "xxxx", "xxxxxx")
        assert max(stage.model.runs) <= 10


@on_loop
async def test_other_batches_fail_and_later_ones_are_smaller_all_the_same():
    async with Stage(Small) as stage:
        ends = await held(stage, "once", *range(4))
        failed = [end for end in ends if isinstance(end, ModelError)]
        assert len(failed) >= 3
        assert str(failed[0]) == "OutOfMemoryError: CUDA out of memory"
        assert sum(ran.oom_splits for ran in stage.batches) == 0
        ends = await held(stage, "once", *range(4))
        assert ends == [0, 1, 2, 3]


@on_loop
async def test_one_that_does_not_fit_alone_fails():
    async with Stage(Small) as stage:
        (end,) = await held(stage, "never", 1)
        assert isinstance(end, ModelError)


@on_loop
async def test_a_step_is_not_tried_again_and_the_next_ones_are_smaller():
    async with Stage(Small) as stage:
        stage.model.gate.clear()
        calls = [stage.call("steps", count=1) for _ in range(5)]
        for _ in range(30):
            await asyncio.sleep(0)
        stage.model.gate.set()
        await stage.until(lambda: all(call in stage.ends for call in calls))
        assert any(isinstance(stage.ends[call], ModelError) for call in calls)
        del stage.model.runs[:]
        calls = [stage.call("steps", count=3) for _ in range(5)]
        await stage.until(lambda: all(call in stage.ends for call in calls))
        assert all(stage.ends[call] is None for call in calls)
        assert max(stage.model.runs) <= 2


def test_it_is_known_by_torch_s_own_class_and_those_below_it():
    class Ours(torch.OutOfMemoryError):
        pass

    class OutOfMemoryError(Exception):
        pass

    assert out_of_memory(torch.OutOfMemoryError())
    assert out_of_memory(Ours())
    assert not out_of_memory(OutOfMemoryError())
    assert not out_of_memory(MemoryError())


def test_what_the_failed_run_held_is_let_go():
    class Tensor:
        pass

    held_by_frame: list[weakref.ref[Tensor]] = []

    def run() -> None:
        tensor = Tensor()
        held_by_frame.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError

    try:
        run()
    except torch.OutOfMemoryError as exc:
        assert held_by_frame[0]() is not None
        free_memory(exc)
        gc.collect()
        assert held_by_frame[0]() is None
