"""A worker behind a link: real messages in, real messages out, in the order in which they must come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from runner import Batch, ModelClass
from runner.errors import Cancelled, DeadlineExceeded, LoadError, SignatureError
from runner.execution.loading import load_class, load_model
from runner.flow import STREAM_WINDOW
from runner.model import instantiate
from runner.signature.published import Lane
from runner.wire import run
from runner.wire.payload import Payload
from runner.workers.inline import InlineWorker
from runner.workers.messages import (
    Call,
    Calls,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Load,
    LoadFailed,
    Message,
    Ready,
    Result,
    Results,
)
from runner.workers.pairs import pack_pairs
from runner.workers.worker import Worker
from tests.running import TOO_LONG, Latch, Signal, on_loop, turns
from tests.workers.served import MODELS

LOAD = Load(
    model_dir="",
    device="cpu",
    num_threads=2,
    max_streams=2,
    allow_private_urls=False,
    fetch_timeout=1.0,
    fetch_max_bytes=1000,
    fetch_max_redirects=0,
)


class Model(ModelClass):
    def __init__(self) -> None:
        self.entered, self.latch = Signal(), Latch()

    @ModelClass.method
    def shout(self, text: str) -> str:
        self.entered.set()
        return text.upper()

    @ModelClass.method
    def hold(self) -> str:
        self.entered.set()
        self.latch.pass_through()
        return "held"

    @ModelClass.method
    async def about(self) -> dict:
        left = self.context.time_left
        return {
            "request": self.context.request_id,
            "metadata": dict(self.context.metadata),
            "minutes left": None if left is None else round(left / 60),
        }

    @ModelClass.method
    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    @ModelClass.method
    def echo(self, texts: Iterator[str]) -> Iterator[str]:
        yield from texts


class Server:
    """The server's end of a worker's link."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = False
        self._changed = asyncio.Event()

    # As a link that the worker sends into.

    def send(self, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()

    def join(self, pieces: Sequence[Payload]) -> Payload:
        return b"".join(pieces)

    def close(self) -> None:
        self.closed = True
        self._changed.set()

    # As the receiver of an inline worker's link.

    on_message = send
    on_closed = close

    async def last(self, call_id: int) -> Result | Failed:
        while True:
            for message in self.messages:
                if isinstance(message, Result | Failed) and message.id == call_id:
                    return message
                if isinstance(message, Results) and call_id in range(message.id, message.id + message.calls):
                    place = call_id - message.id
                    return Result(call_id, run.split(message.payload, message.calls)[place])
            self._changed.clear()
            await self._changed.wait()

    async def heard(self, kind: type[Message]) -> Message:  # pyright: ignore[reportGeneralTypeIssues]
        while not (found := [message for message in self.messages if isinstance(message, kind)]):
            self._changed.clear()
            await self._changed.wait()
        return found[0]

    async def ended(self) -> None:
        while not self.closed:
            self._changed.clear()
            await self._changed.wait()


class Bench:
    """A worker, and the messages that make calls of it."""

    def __init__(self, model: ModelClass | None = None) -> None:
        self.server = Server()
        self.model = instantiate(Model, "cpu") if model is None else model
        self.worker = Worker(self.model, LOAD, self.server)
        (ready,) = self.server.messages
        assert isinstance(ready, Ready)
        self.published = ready.methods
        self.names = [method.name for method in ready.methods]
        self.methods = self.worker._executor._methods

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.worker.close()
        assert not self.worker._executor._calls
        assert self.worker._arrivals.settled

    def call(self, call_id: int, method: str, *, left: float | None = None, metadata: bytes = b"", **given) -> None:
        index = self.names.index(method)
        payload = self.methods[index].codec.encode_call(given)
        self.worker.on_message(Call(call_id, index, payload, b"", left, f"r{call_id}", metadata))

    def calls(
        self,
        first_id: int,
        method: str,
        given: Sequence[dict[str, object]],
        metadata: tuple[bytes, ...] = (b"",),
    ) -> None:
        """Say one message for several calls, each by its arguments."""
        index = self.names.index(method)
        payload = b"".join(run.pieces(run.INPUT_TAG, map(self.methods[index].codec.encode_call, given)))
        ids = tuple(f"r{number}" for number in range(first_id, first_id + len(given)))
        self.worker.on_message(Calls(first_id, index, payload, (None,) * len(given), ids, metadata))

    async def result(self, call_id: int, method: str) -> Any:
        message = await self.server.last(call_id)
        if isinstance(message, Failed):
            raise message.error
        codec = self.methods[self.names.index(method)].codec
        return codec.decode_output(message.payload) if message.payload else None


@on_loop
async def test_the_first_word_is_the_methods_in_their_order():
    async with Bench() as bench:
        assert bench.names == ["shout", "hold", "about", "count", "echo"]
        lanes = [method.lane for method in bench.published]
        assert lanes == [Lane.THREADS, Lane.THREADS, Lane.COROUTINES, Lane.COROUTINES, Lane.STREAMS]


@on_loop
async def test_a_call_is_answered_under_its_number():
    async with Bench() as bench:
        bench.call(1, "shout", text="a")
        bench.call(2, "shout", text="b")
        assert await bench.result(2, "shout") == "B"
        assert await bench.result(1, "shout") == "A"


@on_loop
async def test_a_method_sees_what_came_with_its_call():
    async with Bench() as bench:
        bench.call(1, "about", left=600.0, metadata=pack_pairs([("language", "de")]))
        assert await bench.result(1, "about") == {
            "request": "r1",
            "metadata": {"language": "de"},
            "minutes left": 10,
        }
        bench.call(2, "about")
        assert await bench.result(2, "about") == {"request": "r2", "metadata": {}, "minutes left": None}


@on_loop
async def test_metadata_is_remembered_within_bounds():
    async with Bench() as bench:
        for number in range(1, 600):
            bench.call(number, "about", metadata=pack_pairs([("number", str(number))]))
        for number in (1, 300, 599):
            found = await bench.result(number, "about")
            assert found["metadata"] == {"number": str(number)}  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
        assert len(bench.worker._metadata) <= 256


@on_loop
async def test_a_deadline_that_passed_on_the_way_is_honoured():
    async with Bench() as bench:
        for call_id, method in ((1, "shout"), (2, "about")):
            bench.call(call_id, method, left=0.0, **({"text": "a"} if method == "shout" else {}))
            with pytest.raises(DeadlineExceeded):
                await bench.result(call_id, method)
        assert bench.model.entered.count == 0


@on_loop
async def test_a_cancel_that_overtakes_its_call_stops_it_before_it_starts():
    async with Bench() as bench:
        bench.worker.on_message(Cancel(2))
        bench.call(1, "shout", text="a")
        assert await bench.result(1, "shout") == "A"
        bench.call(2, "echo", texts="a")
        bench.worker.on_message(Item(2, b"a later input"))
        bench.worker.on_message(EndInput(2))
        bench.worker.on_message(Credit(2, 1, 0))
        with pytest.raises(Cancelled, match="before it started"):
            await bench.result(2, "echo")
        bench.call(3, "shout", text="b")
        assert await bench.result(3, "shout") == "B"
        assert [message.id for message in bench.server.messages if isinstance(message, Failed)] == [2]


@on_loop
async def test_calls_that_come_together_bring_their_own_or_the_same_metadata():
    async with Bench() as bench:
        blocks = [pack_pairs([("number", str(number))]) for number in range(3)]
        bench.calls(1, "about", [{}] * 3, metadata=(blocks[0], b"", blocks[2]))
        bench.calls(4, "about", [{}] * 2, metadata=(blocks[1],))
        found = [await bench.result(number, "about") for number in range(1, 6)]
        assert [each["request"] for each in found] == ["r1", "r2", "r3", "r4", "r5"]
        assert [each["metadata"].get("number") for each in found] == ["0", None, "2", "1", "1"]


@on_loop
async def test_plain_functions_that_come_together_have_a_thread_each():
    async with Bench() as bench:
        bench.calls(1, "hold", [{}] * 2)
        await bench.model.entered.wait(2)
        bench.model.latch.open()
        assert [await bench.result(number, "hold") for number in (1, 2)] == ["held", "held"]


@on_loop
async def test_a_cancel_that_overtakes_calls_that_come_together_stops_one_of_them():
    class Batched(ModelClass):
        @ModelClass.method
        def shout(self, text: Batch[str]) -> Batch[str]:
            return [each.upper() for each in text]

    async with Bench(instantiate(Batched, "cpu")) as bench:
        bench.worker.on_message(Cancel(2))
        bench.calls(1, "shout", [{"text": "a"}, {"text": "b"}])
        assert await bench.result(1, "shout") == "A"
        with pytest.raises(Cancelled):
            await bench.result(2, "shout")
        bench.call(3, "shout", text="c")
        assert await bench.result(3, "shout") == "C"


@on_loop
async def test_a_cancel_of_a_long_call_that_shorter_ones_have_overtaken_stops_it_before_it_starts():
    async with Bench() as bench:
        bench.call(3, "shout", text="a")
        assert await bench.result(3, "shout") == "A"
        bench.worker.on_message(Cancel(1))
        bench.call(1, "shout", text="long")
        with pytest.raises(Cancelled, match="before it started"):
            await bench.result(1, "shout")
        bench.call(2, "shout", text="b")
        assert await bench.result(2, "shout") == "B"
        for call_id in (1, 2, 3):
            bench.worker.on_message(Cancel(call_id))
        assert bench.worker._arrivals.settled


@on_loop
async def test_a_cancel_that_comes_after_the_end_is_forgotten():
    async with Bench() as bench:
        bench.call(1, "shout", text="a")
        await bench.result(1, "shout")
        bench.worker.on_message(Cancel(1))
        assert bench.worker._arrivals.settled
        bench.call(2, "shout", text="b")
        assert await bench.result(2, "shout") == "B"


@on_loop
async def test_the_last_word_of_a_cancelled_call_waits_for_its_function():
    async with Bench() as bench:
        bench.call(1, "hold")
        await bench.model.entered.wait()
        bench.worker.on_message(Cancel(1))
        await turns()
        assert not [message for message in bench.server.messages if isinstance(message, Result | Failed)]
        bench.model.latch.open()
        await bench.server.last(1)


@on_loop
async def test_a_stream_is_its_items_and_an_empty_result():
    async with Bench() as bench:
        bench.call(1, "count", stop=3)
        assert await bench.result(1, "count") is None
        kinds = [type(message) for message in bench.server.messages[1:]]
        assert kinds == [Item, Item, Item, Result]


@on_loop
async def test_credit_lets_a_stream_go_on():
    async with Bench() as bench:
        bench.call(1, "count", stop=STREAM_WINDOW + 1)
        await turns()
        assert len(bench.server.messages) == 1 + STREAM_WINDOW
        bench.worker.on_message(Credit(1, 2, 0))
        assert await bench.result(1, "count") is None


@on_loop
async def test_items_reach_the_method_and_give_credit_back():
    async with Bench() as bench:
        bench.call(1, "echo", texts="0")
        codec = bench.methods[bench.names.index("echo")].codec
        for number in range(STREAM_WINDOW // 2):
            bench.worker.on_message(Item(1, codec.encode_item(str(number))))
        assert (await bench.server.heard(Credit)).items == STREAM_WINDOW // 2
        bench.worker.on_message(EndInput(1))
        assert await bench.result(1, "echo") is None


@on_loop
async def test_a_message_for_the_server_is_refused():
    async with Bench() as bench:
        with pytest.raises(ValueError, match="a worker does not expect Ready"):
            bench.worker.on_message(Ready(()))


# Where batches are warmed up.


@pytest.mark.parametrize(("method", "sizes"), [("named", [1, 4]), ("measured", [1, 1, 1])])
@on_loop
async def test_a_batch_runs_on_the_thread_that_was_warmed_up(method, sizes, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    async with Bench(load_model(load_class(MODELS / "warmed"), "cpu")) as bench:
        bench.call(1, method, text="a")
        runs = await bench.result(1, method)
        assert isinstance(runs, list)
        assert [size for _, size in runs[: len(sizes)]] == sizes
        assert len(runs) > len(sizes)
        threads = {thread for thread, _ in runs}
        assert len(threads) == 1
        assert threading.get_native_id() not in threads


class FailsWarm(ModelClass):
    threads: list[threading.Thread] = []

    @ModelClass.method(max_batch_size=2, batch_sizes=(1, 2))
    def predict(self, text: Batch[str]) -> Batch[str]:
        self.threads.append(threading.current_thread())
        return [text[n] for n in range(2)]


class FailsMeasured(FailsWarm):
    @ModelClass.method(max_batch_size="auto")
    def predict(self, text: Batch[str]) -> Batch[str]:
        return super().predict(text)


class FailsLater(FailsWarm):
    @ModelClass.method(max_batch_size=2, batch_sizes=(2,))
    def predict(self, text: Batch[str]) -> Batch[str]:
        return super().predict(text)

    @ModelClass.batched(cost="nothing_of_the_kind")
    def point(self, numbers: list[int]) -> list[int]:
        return numbers


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (FailsWarm, LoadError, "predict: it raised on a batch of 1 at warm-up: IndexError"),
        (FailsMeasured, LoadError, "predict: its batch size cannot be found out, since it raised on its example"),
        (FailsLater, SignatureError, "the class has no such method"),
    ],
)
@on_loop
async def test_a_model_that_fails_after_it_was_loaded_leaves_no_thread(model, error, text, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    FailsWarm.threads.clear()
    before = set(threading.enumerate())
    with pytest.raises(error, match=text):
        Worker(instantiate(model, "cpu"), LOAD, Server())
    (ran_on,) = set(FailsWarm.threads)
    assert ran_on.name == "device"
    for thread in {ran_on, *threading.enumerate()} - before:
        thread.join(TOO_LONG)
        assert not thread.is_alive()


# The same in this process, behind a memory link.


class Unloadable(ModelClass):
    def load_model(self) -> None:
        raise FileNotFoundError("weights.bin")


class Unpublishable(ModelClass):
    @ModelClass.method
    def predict(self, number: complex) -> str:
        return ""


@on_loop
async def test_an_inline_worker_loads_answers_and_stops():
    server = Server()
    inline = InlineWorker(server, lambda: Model)
    inline.link.send(LOAD)
    ready = await server.heard(Ready)
    assert isinstance(ready, Ready)
    inline.link.send(Call(1, 2, b"", b"", None, "r1", b""))
    assert isinstance(await server.last(1), Result)
    inline.link.send(Call(2, 1, b"", b"", None, "r2", b""))
    waiting = asyncio.ensure_future(inline.wait())
    await turns()
    assert inline._worker is not None
    worker_model = inline._worker._executor._methods[1].function.__self__
    worker_model.latch.open()
    assert isinstance(await server.last(2), Result)
    assert not waiting.done()
    await inline.stop()
    await inline.stop()
    assert await waiting == "stopped"


@on_loop
async def test_an_inline_worker_that_fails_by_a_bug_of_ours_keeps_nobody_waiting(monkeypatch):
    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr("runner.workers.inline.load_model", broken)
    server = Server()
    inline = InlineWorker(server, lambda: Model)
    inline.link.send(LOAD)
    failed = await server.heard(LoadFailed)
    assert isinstance(failed, LoadFailed)
    assert failed.message == "KeyError: 'a bug'"
    assert "in broken" in failed.details
    await server.ended()
    await inline.stop()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Unloadable, "Unloadable failed to load: FileNotFoundError: weights.bin"),
        (Unpublishable, "Unpublishable.predict cannot be published: argument 'number' of type complex"),
    ],
)
@on_loop
async def test_an_inline_worker_says_why_it_cannot_load(model, text):
    server = Server()
    inline = InlineWorker(server, lambda: model)
    inline.link.send(LOAD)
    failed = await server.heard(LoadFailed)
    assert isinstance(failed, LoadFailed)
    assert text in failed.message
    await server.ended()
    await inline.stop()
