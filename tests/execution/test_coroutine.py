"""Coroutines and async generators on the worker's loop: answers, cancellation at each stage, credit, and errors."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from runner import Image, ModelClass, Slots
from runner.errors import Cancelled, DeadlineExceeded, FetchFailed, InvalidInput, ModelError
from runner.flow import STREAM_WINDOW
from tests.execution.stage import Stage
from tests.running import on_loop, turns


class Async(ModelClass):
    """Coroutines that tell the test where they are."""

    def __init__(self) -> None:
        self.entered, self.go = asyncio.Event(), asyncio.Event()
        self.seen: list[object] = []
        self.closed = 0
        self.latest = 0
        self.most = 0

    @ModelClass.method
    async def shout(self, text: str) -> str:
        self.seen.append(text)
        return text.upper()

    @ModelClass.method
    async def hold(self) -> str:
        self.latest += 1
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.seen.append(self.context.cancelled)
            raise
        finally:
            self.latest -= 1
        return "held"

    @ModelClass.method
    async def refuse_to_stop(self) -> str:
        self.entered.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await self.go.wait()
        return "done all the same"

    @ModelClass.method
    async def look(self, image: Image) -> int:
        self.seen.append(image)
        return len(image.bytes or b"")

    @ModelClass.method
    async def count(self, stop: int) -> AsyncIterator[int]:
        try:
            for number in range(stop):
                self.seen.append(number)
                yield number
        finally:
            await asyncio.sleep(0)
            self.closed += 1

    @ModelClass.method
    async def pause(self) -> AsyncIterator[str]:
        yield "a"
        self.entered.set()
        try:
            await self.go.wait()
        finally:
            self.closed += 1
        yield "b"

    @ModelClass.method
    async def stubborn(self) -> AsyncIterator[str]:
        """Goes on whatever happens."""
        while True:
            yield "still here"
            self.entered.set()
            with contextlib.suppress(asyncio.CancelledError):
                await self.go.wait()

    @ModelClass.method
    async def echo(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            async for text in texts:
                yield text
        finally:
            self.closed += 1

    @ModelClass.method
    async def watch(self, images: AsyncIterator[Image]) -> AsyncIterator[int]:
        async for image in images:
            yield len(image.bytes or b"")

    @ModelClass.method
    async def join(self, texts: AsyncIterator[str]) -> str:
        return " ".join([text async for text in texts])

    @ModelClass.method
    async def who(self) -> dict:
        await asyncio.sleep(0)
        return {
            "request": self.context.request_id,
            "on the loop": threading.current_thread() is threading.main_thread(),
        }


@on_loop
async def test_a_coroutine_runs_on_the_loop_and_knows_its_call():
    async with Stage(Async) as stage:
        assert await stage.end(stage.call("shout", text="a")) == "A"
        both = [stage.call("who"), stage.call("who")]
        for call in both:
            assert await stage.end(call) == {"request": f"r{call}", "on the loop": True}


@on_loop
async def test_many_coroutines_run_at_once():
    async with Stage(Async) as stage:
        calls = [stage.call("hold") for _ in range(50)]
        await turns()
        assert stage.model.latest == 50
        stage.model.go.set()
        for call in calls:
            assert await stage.end(call) == "held"
        assert stage.order == calls


@on_loop
async def test_a_coroutine_cancelled_before_its_first_step_never_runs():
    async with Stage(Async) as stage:
        call = stage.call("shout", text="a")
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.seen == []


@on_loop
async def test_a_coroutine_is_cancelled_where_it_waits():
    async with Stage(Async) as stage:
        call, other = stage.call("hold"), stage.call("hold")
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.seen == [True]
        stage.model.go.set()
        assert await stage.end(other) == "held"


@on_loop
async def test_a_coroutine_that_finishes_all_the_same_ends_once_and_well():
    async with Stage(Async) as stage:
        call = stage.call("refuse_to_stop")
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        await turns()
        assert call not in stage.ends  # its room is taken until it returns
        stage.model.go.set()
        assert await stage.end(call) == "done all the same"


@on_loop
async def test_a_call_whose_time_is_up_never_runs():
    async with Stage(Async) as stage:
        with pytest.raises(DeadlineExceeded):
            await stage.end(stage.call("shout", text="a", time_left=-1.0))
        assert stage.model.seen == []


@on_loop
async def test_a_url_is_fetched_before_the_coroutine_runs():
    async with Stage(Async) as stage:
        call = stage.call("look", image=Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        assert stage.model.seen == []
        stage.fetcher.go.set()
        assert await stage.end(call) == len(b"fetched")


@on_loop
async def test_cancelling_a_fetch_ends_the_call_without_running_it():
    async with Stage(Async) as stage:
        call = stage.call("look", image=Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.fetcher.cancelled == 1
        assert stage.model.seen == []


@on_loop
async def test_a_failed_fetch_is_the_calls_error():
    async with Stage(Async) as stage:
        stage.fetcher.failure = FetchFailed("nobody there", path="image")
        stage.fetcher.go.set()
        with pytest.raises(FetchFailed, match="image: nobody there"):
            await stage.end(stage.call("look", image=Image(url="http://example.com/a")))


@on_loop
async def test_a_generator_is_never_further_ahead_of_its_reader_than_a_window():
    async with Stage(Async) as stage:
        call = stage.call("count", stop=STREAM_WINDOW + 10)
        await stage.items(call, STREAM_WINDOW)
        await turns()
        assert stage.model.seen == list(range(STREAM_WINDOW))
        stage.executor.grant(call, 3, 0)
        await turns()
        assert stage.model.seen == list(range(STREAM_WINDOW + 3))
        stage.executor.grant(call, STREAM_WINDOW, 0)
        assert await stage.end(call) is None
        assert stage.outputs[call] == list(range(STREAM_WINDOW + 10))


@on_loop
async def test_cancelling_a_generator_at_the_gate_closes_it():
    async with Stage(Async) as stage:
        call = stage.call("count", stop=10 * STREAM_WINDOW)
        await stage.items(call, STREAM_WINDOW)
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.closed == 1
        assert stage.model.seen == list(range(STREAM_WINDOW))


@on_loop
async def test_cancelling_a_generator_cancels_what_it_waits_for():
    async with Stage(Async) as stage:
        call = stage.call("pause")
        await stage.items(call, 1)
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.closed == 1


@on_loop
async def test_cancelling_a_generator_that_waits_for_input_closes_it():
    async with Stage(Async) as stage:
        call = stage.call("echo", texts="a")
        await stage.items(call, 1)
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.closed == 1


@on_loop
async def test_a_generator_that_swallows_its_cancellation_is_stopped_at_its_next_item():
    async with Stage(Async) as stage:
        call = stage.call("stubborn")
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)


@on_loop
async def test_inputs_and_outputs_alternate():
    async with Stage(Async) as stage:
        call = stage.call("echo", texts="a")
        for count, text in enumerate("bcd", start=1):
            assert len(await stage.items(call, count)) == count
            stage.send(call, text)
        assert await stage.items(call, 4) == ["a", "b", "c", "d"]
        stage.executor.end_input(call)
        assert await stage.end(call) is None
        assert stage.model.closed == 1


@on_loop
async def test_a_stream_of_inputs_has_one_answer():
    async with Stage(Async) as stage:
        call = stage.call("join", texts="a")
        stage.send(call, "b", "c")
        stage.executor.end_input(call)
        assert await stage.end(call) == "a b c"


@on_loop
async def test_credit_for_inputs_comes_back_as_the_method_takes_them():
    async with Stage(Async) as stage:
        call = stage.call("join", texts="0")
        stage.send(call, *map(str, range(STREAM_WINDOW)))
        await turns()
        assert stage.credits[call] == [STREAM_WINDOW // 2] * 2
        stage.executor.end_input(call)
        await stage.end(call)


@on_loop
async def test_a_url_in_a_later_input_is_fetched_in_its_turn():
    async with Stage(Async) as stage:
        call = stage.call("watch", images=Image(bytes=b"1"))
        await stage.items(call, 1)
        stage.send(call, Image(url="http://example.com/a"), Image(bytes=b"22"))
        await stage.fetcher.asked.wait()
        stage.fetcher.go.set()
        assert await stage.items(call, 3) == [1, len(b"fetched"), 2]
        stage.executor.end_input(call)
        await stage.end(call)


@on_loop
async def test_a_bad_later_input_is_the_callers_fault():
    async with Stage(Async) as stage:
        call = stage.call("echo", texts="a")
        stage.executor.item(call, b"\xff\xff")
        with pytest.raises(InvalidInput, match="not a valid message"):
            await stage.end(call)
        with pytest.raises(InvalidInput, match="not a valid message"):
            await stage.end(stage.call("shout", payload=b"\xff\xff"))


class Broken(ModelClass):
    """Every way to go wrong."""

    @ModelClass.method
    async def exits(self) -> str:
        sys.exit(3)

    @ModelClass.method
    async def interrupts(self) -> str:
        raise KeyboardInterrupt

    @ModelClass.method
    async def raises(self) -> str:
        raise ValueError("no such word")

    @ModelClass.method
    async def cancels(self) -> str:
        """What it waits for was cancelled by itself, and not by the caller."""
        waiting = asyncio.ensure_future(asyncio.sleep(60))
        waiting.cancel()
        await waiting
        return "never"

    @ModelClass.method
    async def returns_another_type(self) -> str:
        return 3  # pyright: ignore[reportReturnType]

    @ModelClass.method
    async def yields_another_type(self) -> AsyncIterator[str]:
        yield "a"
        yield 3  # pyright: ignore[reportReturnType]

    @ModelClass.method
    async def breaks_off(self) -> AsyncIterator[str]:
        yield "a"
        raise ValueError("broken off")

    @ModelClass.method
    async def exits_in_the_middle(self) -> AsyncIterator[str]:
        yield "a"
        sys.exit("gone")

    @ModelClass.method
    async def times_out(self) -> str:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
        return "never"


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("exits", "^SystemExit: 3$"),
        ("interrupts", "^KeyboardInterrupt$"),
        ("raises", "^ValueError: no such word$"),
        ("cancels", "^CancelledError$"),
        ("returns_another_type", "int"),
        ("yields_another_type", "int"),
        ("breaks_off", "^ValueError: broken off$"),
        ("exits_in_the_middle", "^SystemExit: gone$"),
        ("times_out", "^TimeoutError$"),
    ],
)
@on_loop
async def test_what_a_model_does_wrong_ends_its_call_and_nothing_else(method, text, caplog):
    async with Stage(Broken) as stage:
        with pytest.raises(ModelError, match=text):
            await stage.end(stage.call(method))
        assert method in caplog.text
        with pytest.raises(ModelError, match="no such word"):
            await stage.end(stage.call("raises"))


@on_loop
async def test_items_before_an_error_are_delivered():
    async with Stage(Broken) as stage:
        for method in ("breaks_off", "yields_another_type", "exits_in_the_middle"):
            call = stage.call(method)
            with pytest.raises(ModelError):
                await stage.end(call)
            assert stage.outputs[call] == ["a"]


class Insistent(ModelClass):
    """Takes no end of its caller for an answer, and asks again and again."""

    def __init__(self) -> None:
        self.entered, self.enough = asyncio.Event(), asyncio.Event()
        self.slots = Slots(1)
        self.asked = 0

    @ModelClass.batched
    def step(self, numbers: list[int]) -> list[int]:
        return numbers

    @ModelClass.method
    async def insist(self, words: AsyncIterator[str], on: str) -> str:
        async with self.slots.lease():
            await anext(words)
            self.entered.set()
            while self.asked < 10_000 and not self.enough.is_set():
                self.asked += 1
                with contextlib.suppress(BaseException):
                    match on:
                        case "a step":
                            await self.step(1)
                            await asyncio.Event().wait()
                        case "an input":
                            await anext(words)
                        case _:
                            await self.slots.lease().__aenter__()
        return "at last"


@pytest.mark.parametrize("on", ["a step", "an input", "a row"])
@on_loop
async def test_who_asks_on_for_what_does_not_come_holds_up_nobody(on):
    async with Stage(Insistent) as stage:
        call = stage.call("insist", words="a", on=on)
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        await turns(10)
        assert 1 < stage.model.asked < 100
        stage.model.enough.set()
        assert await stage.end(call) == "at last"
