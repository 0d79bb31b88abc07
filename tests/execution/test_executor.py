"""What calls of every kind share: their numbers, and the end of everything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from runner import Image, ModelClass
from runner.context import CallContext
from runner.errors import CallError, Cancelled, MethodNotFound
from runner.execution.executor import Incoming
from tests.execution.stage import Stage
from tests.running import Signal, on_loop


class Model(ModelClass):
    def __init__(self) -> None:
        self.tidied = Signal()
        self.read: list[str] = []

    @ModelClass.method
    def stream(self, texts: Iterator[str]) -> Iterator[str]:
        try:
            yield from texts
        finally:
            self.tidied.set()

    @ModelClass.method
    async def async_stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            async for text in texts:
                yield text
        finally:
            await asyncio.sleep(0)
            self.tidied.set()

    @ModelClass.method
    def leave_a_reader(self, texts: Iterator[str]) -> str:
        """Ends while a thread of its own still reads."""

        def read() -> None:
            with pytest.raises(Cancelled):
                for text in texts:
                    self.read.append(text)
            self.tidied.set()

        threading.Thread(target=read, daemon=True).start()
        return "enough"

    @ModelClass.method
    async def leave_a_task(self, texts: AsyncIterator[str]) -> str:
        """Ends while a task of its own still reads."""

        async def read() -> None:
            with pytest.raises(Cancelled):
                async for text in texts:
                    self.read.append(text)
            self.tidied.set()

        self.left = asyncio.create_task(read())
        return "enough"

    @ModelClass.method
    def look(self, image: Image) -> str:
        return "seen"

    @ModelClass.method
    async def wait(self) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up may wait, and is not cancelled a second time
            self.tidied.set()
        return "never"


@on_loop
async def test_an_unknown_method_number_is_refused():
    async with Stage(Model) as stage:
        stage.names[7], stage.outputs[7] = "none", []
        stage.executor.start(Incoming(id=7, method=99, payload=b"", params=b"", context=CallContext()))
        with pytest.raises(MethodNotFound, match="no method number 99"):
            await stage.end(7)


@on_loop
async def test_closing_ends_every_call_with_its_cleaning_up():
    stage = Stage(Model)
    async with stage:
        for method in ("stream", "async_stream"):
            await stage.items(stage.call(method, texts="a"), 1)
        stage.call("wait")
        stage.call("look", image=Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        await stage.executor.close()
        await stage.model.tidied.wait(3)
    assert len(stage.order) == 4
    for end in stage.ends.values():
        assert isinstance(end, CallError)
        assert type(end) is Cancelled


@pytest.mark.parametrize("method", ["leave_a_reader", "leave_a_task"])
@on_loop
async def test_whoever_reads_on_when_the_method_has_ended_does_not_wait_for_ever(method):
    async with Stage(Model) as stage:
        call = stage.call(method, texts="a")
        assert await stage.end(call) == "enough"
        stage.send(call, "b")  # was on its way
        await stage.model.tidied.wait()
        assert stage.model.read in (["a"], [])


@on_loop
async def test_a_repr_counts_calls():
    async with Stage(Model) as stage:
        assert repr(stage.executor).startswith("<Executor 0 calls, 0 others' tasks")
        call = stage.call("wait")
        assert repr(stage.executor).startswith("<Executor 1 calls, 0 others' tasks")
        stage.executor.cancel(call)
