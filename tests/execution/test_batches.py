"""Batches for which nobody waits any more: those on the loop are cancelled, and no step of a stream is taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from runner import END, Batch, ModelClass
from runner.errors import Cancelled
from tests.execution.stage import Stage
from tests.running import Signal, on_loop, turns


class Waiting(ModelClass):
    """Waits for what does not come, in batches."""

    def __init__(self) -> None:
        self.entered, self.left = Signal(), Signal()
        self.gate = threading.Event()
        self.gate.set()
        self.go = asyncio.Event()
        self.steps = 0
        self.seen: list[object] = []

    @ModelClass.method(max_batch_size=4, idempotent=True)
    async def hold(self, text: Batch[str]) -> Batch[str]:
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.seen.append((list(text), self.context.cancelled))
            await asyncio.sleep(0)  # cleaning up may wait, and is not cancelled a second time
            self.left.set()
            raise
        return text

    @ModelClass.method(max_batch_size=4)
    async def pause(self, text: Batch[str]) -> AsyncIterator[Batch[str]]:
        try:
            yield text
            self.entered.set()
            await self.go.wait()
        finally:
            self.left.set()

    @ModelClass.method(max_batch_size=4)
    def count(self, text: Batch[str]) -> Iterator[Batch[int]]:
        try:
            while True:
                self.steps += 1
                yield [self.steps] * len(text)
        finally:
            self.left.set()

    @ModelClass.method
    def fail_to_close(self, text: Batch[str]) -> Iterator[Batch[str]]:
        try:
            yield text
            yield [END] * len(text)  # pyright: ignore[reportReturnType]: what a step may hold besides
        finally:
            raise RuntimeError("while it was closed")

    @ModelClass.batched
    def step(self, numbers: list[int]) -> list[int]:
        """Has the device wait for a few turns of the loop before each batch."""
        return numbers

    @ModelClass.method
    def occupy(self, text: Batch[str]) -> Batch[str]:
        self.entered.set()
        self.gate.wait()
        return text


@pytest.mark.parametrize("way", ["single", "together", "list"])
@on_loop
async def test_a_batch_of_coroutines_that_nobody_waits_for_is_cancelled(way):
    async with Stage(Waiting) as stage:
        given = [{"text": "a"}, {"text": "b"}]
        for nth in range(1, 4):  # two of them would hold up the method for ever
            match way:
                case "single":
                    calls = [stage.call("hold", **each) for each in given]
                case "together":
                    calls = stage.call_together("hold", *given)
                case _:
                    calls = [stage.call_list("hold", *given)]
            await stage.model.entered.wait(nth)
            for call in calls:
                assert not stage.model.seen
                stage.executor.cancel(call)
                await turns()
            ends = await asyncio.gather(*map(stage.end, calls), return_exceptions=True)
            assert [type(end) for end in (ends[0] if way == "list" else ends)] == [Cancelled] * 2
            assert stage.model.seen == [(["a", "b"], True)]
            stage.model.seen.clear()
        stage.model.go.set()
        assert await stage.end(stage.call("hold", text="c")) == "c"


@on_loop
async def test_a_step_on_the_loop_that_nobody_waits_for_is_cancelled():
    async with Stage(Waiting) as stage:
        for nth in range(1, 4):
            calls = [stage.call("pause", text=text) for text in "ab"]
            await stage.model.entered.wait(nth)
            stage.executor.cancel(calls[0])
            await turns()
            assert stage.model.left.count == nth - 1
            stage.executor.cancel(calls[1])
            await stage.model.left.wait(nth)
        stage.model.go.set()
        call = stage.call("pause", text="c")
        await stage.end(call)
        assert stage.outputs[call] == ["c"]


@on_loop
async def test_no_step_is_taken_for_a_stream_that_nobody_reads():
    async with Stage(Waiting) as stage:
        stream = stage.call("count", text="a")
        await stage.items(stream, 64)
        stage.model.gate.clear()
        other = stage.call("occupy", text="b")
        await stage.model.entered.wait()
        stage.executor.grant(stream, 64, 10_000)  # its next step waits for the device
        await turns(10)
        stage.executor.cancel(stream)
        await turns(10)
        stage.model.gate.set()
        await stage.model.left.wait()
        assert await stage.end(other) == "b"
        assert stage.model.steps == 64


@on_loop
async def test_a_stream_that_waits_for_its_reader_is_closed_with_the_worker():
    async with Stage(Waiting) as stage:
        stream = stage.call("count", text="a")
        await stage.items(stream, 64)
        await stage.executor.close()
        with pytest.raises(Cancelled):
            await stage.end(stream)
        await stage.model.left.wait()


@on_loop
async def test_what_a_generator_raises_while_it_is_closed_is_in_the_log(caplog):
    async with Stage(Waiting) as stage:
        stream = stage.call("fail_to_close", text="a")
        await stage.end(stream)
        assert stage.outputs[stream] == ["a"]
        await stage.until(lambda: len(stage.batches) == 4)  # opened, two steps, closed
        assert "fail_to_close raised RuntimeError" in caplog.text
