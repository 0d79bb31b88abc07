"""What runs for a method with `max_run_seconds` stands in the journal while it runs, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from runner import Batch, ModelClass
from runner.execution.journal import Mark
from tests.execution.stage import Stage
from tests.running import on_loop


class Limited(ModelClass):
    """Each method returns how many runs stand in the journal."""

    runs: Callable[[], int]

    @ModelClass.method(max_run_seconds=100)
    def plain(self) -> int:
        return self.runs()

    @ModelClass.method(max_run_seconds=100)
    async def awaited(self) -> int:
        return self.runs()

    @ModelClass.method(max_run_seconds=100)
    def items(self) -> Iterator[int]:
        yield self.runs()

    @ModelClass.method(max_run_seconds=100)
    async def awaited_items(self) -> AsyncIterator[int]:
        yield self.runs()

    @ModelClass.method(max_run_seconds=100)
    def batch(self, number: Batch[int]) -> Batch[int]:
        return [self.runs()] * len(number)

    @ModelClass.method(max_run_seconds=100)
    async def awaited_batch(self, number: Batch[int]) -> Batch[int]:
        return [self.runs()] * len(number)

    @ModelClass.method(max_run_seconds=100)
    def batch_items(self, number: Batch[int]) -> Iterator[Batch[int]]:
        yield [self.runs()] * len(number)

    @ModelClass.method
    def unlimited(self) -> int:
        return self.runs()


METHODS = ("plain", "awaited", "items", "awaited_items", "batch", "awaited_batch", "batch_items")


@pytest.mark.parametrize("method", METHODS)
@on_loop
async def test_a_limited_run_is_seen(method):
    async with Stage(Limited) as stage:
        stage.model.runs = lambda: len(stage.executor.journal.pulse().runs)
        call = stage.call(method, **({"number": 1} if "batch" in method else {}))
        result = await stage.end(call)
        assert (stage.outputs[call] or [result]) == [1]
        assert stage.executor.journal.pulse().runs == {}
        assert stage.executor.journal.mark_of(call) is Mark.RUNS


@on_loop
async def test_others_are_only_marked():
    async with Stage(Limited) as stage:
        stage.model.runs = lambda: len(stage.executor.journal.pulse().runs)
        call = stage.call("unlimited")
        assert await stage.end(call) == 0
        assert stage.executor.journal.mark_of(call) is Mark.RUNS
