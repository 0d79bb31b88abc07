"""Plain functions and generators in threads of their lane: answers, cancellation at each stage, credit, and errors."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from runner import Image, ModelClass, Text
from runner.errors import Cancelled, DeadlineExceeded, FetchFailed, InternalError, InvalidInput, ModelError
from runner.flow import STREAM_WINDOW
from runner.signature.published import Lane
from tests.execution.stage import Stage
from tests.running import Latch, Signal, on_loop, turns

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Plain(ModelClass):
    """Plain functions that tell the test where they are."""

    def __init__(self) -> None:
        self.entered, self.closed = Signal(), Signal()
        self.latch = Latch()
        self.seen: list[object] = []

    @ModelClass.method
    def shout(self, text: str) -> str:
        self.seen.append(text)
        return text.upper()

    @ModelClass.method
    def note(self, caller: str) -> str:
        before = CALLER.get()
        CALLER.set(caller)
        return before

    @ModelClass.method
    def notes(self, caller: str) -> Iterator[str]:
        yield self.note(caller)
        yield CALLER.get()

    @ModelClass.method
    def hold(self) -> str:
        self.entered.set()
        self.latch.pass_through()
        self.seen.append(self.context.cancelled)
        return "held"

    @ModelClass.method
    def look(self, image: Image) -> int:
        self.seen.append(image)
        return len(image.bytes or b"")

    @ModelClass.method
    def count(self, stop: int) -> Iterator[int]:
        try:
            for number in range(stop):
                self.seen.append(number)
                yield number
        finally:
            self.closed.set()

    @ModelClass.method
    def echo(self, texts: Iterator[str]) -> Iterator[str]:
        try:
            for text in texts:
                self.entered.set()
                yield text
        finally:
            self.closed.set()

    @ModelClass.method
    def stubborn(self, texts: Iterator[str]) -> Iterator[str]:
        """Takes no end of its caller for an answer."""
        while True:
            try:
                yield next(texts)
            except Exception as exc:
                self.seen.append(type(exc))
                yield "still here"

    @ModelClass.method
    def watch(self, images: Iterator[Image]) -> Iterator[int]:
        for image in images:
            yield len(image.bytes or b"")

    @ModelClass.method
    def join(self, texts: Iterator[str]) -> str:
        return " ".join(texts)

    @ModelClass.method
    def take(self, texts: Iterator[str]) -> Iterator[str]:
        """Takes what comes and says nothing until the end."""
        yield "and ".join(texts)

    @ModelClass.method
    def who(self) -> dict:
        return {
            "request": self.context.request_id,
            "thread": threading.current_thread().name,
            "limited": self.context.time_left is not None,
        }

    @ModelClass.method
    def spend(self) -> Iterator[str]:
        for count in (3, 5):
            self.set_output_context(prompt_tokens=count)
            yield "a"
        yield "b"


@on_loop
async def test_a_function_runs_in_a_thread_and_knows_its_call():
    async with Stage(Plain) as stage:
        assert await stage.end(stage.call("shout", text="a")) == "A"
        found = await stage.end(stage.call("who", time_left=60))
        assert found == {"request": "r2", "thread": "method-0", "limited": True}


@on_loop
async def test_what_a_function_sets_in_its_context_the_next_call_does_not_see():
    async with Stage(Plain, num_threads=1, max_streams=1) as stage:
        for caller in ("a", "b"):
            assert await stage.end(stage.call("note", caller=caller)) == "nobody"
            stream = stage.call("notes", caller=caller)
            assert await stage.end(stream) is None
            assert stage.outputs[stream] == ["nobody", caller]


@on_loop
async def test_no_more_calls_run_at_once_than_there_are_threads():
    async with Stage(Plain, num_threads=2) as stage:
        model = stage.model
        calls = [stage.call("hold") for _ in range(5)]
        await model.entered.wait(2)
        # Streams have threads of their own: they run while every thread for functions is taken.
        assert await stage.end(stage.call("count", stop=3)) is None
        assert model.entered.count == 2
        model.latch.open()
        for call in calls:
            assert await stage.end(call) == "held"


@on_loop
async def test_a_call_for_which_there_is_no_thread_fails_alone(monkeypatch):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with Stage(Plain) as stage:
        stage.fetcher.go.set()
        with monkeypatch.context() as none_left:
            none_left.setattr(threading.Thread, "start", start)
            for call in (stage.call("shout", text="a"), stage.call("look", image=Image(url="http://a/b"))):
                with pytest.raises(InternalError, match="looking for a thread"):
                    await stage.end(call)
        assert await stage.end(stage.call("shout", text="a")) == "A"


@on_loop
async def test_a_call_cancelled_before_its_thread_never_runs():
    async with Stage(Plain, num_threads=1) as stage:
        running, waiting = stage.call("hold"), stage.call("shout", text="a")
        await stage.model.entered.wait()
        stage.executor.cancel(waiting)
        stage.model.latch.open()
        await stage.end(running)
        with pytest.raises(Cancelled):
            await stage.end(waiting)
        assert stage.model.seen == [False]


@on_loop
async def test_a_running_function_is_told_and_not_interrupted():
    async with Stage(Plain) as stage:
        call = stage.call("hold")
        await stage.model.entered.wait()
        stage.executor.cancel(call)
        await turns()
        assert call not in stage.ends  # its room is taken until it returns
        stage.model.latch.open()
        assert await stage.end(call) == "held"
        assert stage.model.seen == [True]


@on_loop
async def test_a_call_whose_time_is_up_never_runs():
    async with Stage(Plain) as stage:
        with pytest.raises(DeadlineExceeded):
            await stage.end(stage.call("shout", text="a", time_left=-1.0))
        assert stage.model.seen == []


@on_loop
async def test_a_url_is_fetched_before_a_thread_is_taken():
    async with Stage(Plain, num_threads=1) as stage:
        look = stage.call("look", image=Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        assert await stage.end(stage.call("shout", text="a")) == "A"
        stage.fetcher.go.set()
        assert await stage.end(look) == len(b"fetched")


@on_loop
async def test_cancelling_a_fetch_ends_the_call_without_running_it():
    async with Stage(Plain) as stage:
        call = stage.call("look", image=Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.fetcher.cancelled == 1
        assert stage.model.seen == []


@on_loop
async def test_cancelling_a_fetch_before_its_first_step_ends_the_call():
    async with Stage(Plain) as stage:
        call = stage.call("look", image=Image(url="http://example.com/a"))
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert not stage.fetcher.asked.is_set()


@on_loop
async def test_a_failed_fetch_is_the_calls_error():
    async with Stage(Plain) as stage:
        stage.fetcher.failure = FetchFailed("nobody there", path="image")
        stage.fetcher.go.set()
        with pytest.raises(FetchFailed, match="image: nobody there"):
            await stage.end(stage.call("look", image=Image(url="http://example.com/a")))


@on_loop
async def test_a_bug_in_fetching_is_not_told_to_the_caller(caplog):
    async with Stage(Plain) as stage:
        stage.fetcher.failure = ZeroDivisionError("secret")  # pyright: ignore[reportAttributeAccessIssue]
        stage.fetcher.go.set()
        with pytest.raises(InternalError) as told:
            await stage.end(stage.call("look", image=Image(url="http://example.com/a")))
        assert "secret" not in str(told.value)
        assert "secret" in caplog.text


@pytest.mark.parametrize("method", ["shout", "look"])
@on_loop
async def test_bytes_that_are_no_message_are_the_callers_fault(method):
    async with Stage(Plain) as stage:
        with pytest.raises(InvalidInput, match="not a valid message"):
            await stage.end(stage.call(method, payload=b"\xff\xff"))


@on_loop
async def test_a_generator_is_never_further_ahead_of_its_reader_than_a_window():
    async with Stage(Plain) as stage:
        call = stage.call("count", stop=STREAM_WINDOW + 10)
        assert await stage.items(call, STREAM_WINDOW) == list(range(STREAM_WINDOW))
        # Its thread stands at the gate before it asks for the next item, so that the last one seen is the last sent.
        assert stage.model.seen == list(range(STREAM_WINDOW))
        stage.executor.grant(call, 3, 0)
        await stage.items(call, STREAM_WINDOW + 3)
        assert len(stage.model.seen) == STREAM_WINDOW + 3
        stage.executor.grant(call, STREAM_WINDOW, 0)
        assert await stage.end(call) is None
        assert stage.outputs[call] == list(range(STREAM_WINDOW + 10))


@on_loop
async def test_cancelling_a_generator_at_the_gate_closes_it_and_frees_its_thread():
    async with Stage(Plain, max_streams=1) as stage:
        call = stage.call("count", stop=10 * STREAM_WINDOW)
        await stage.items(call, STREAM_WINDOW)
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        await stage.model.closed.wait()
        assert stage.model.seen == list(range(STREAM_WINDOW))
        assert await stage.end(stage.call("count", stop=1)) is None


@on_loop
async def test_cancelling_a_generator_that_waits_for_input_closes_it_and_frees_its_thread():
    async with Stage(Plain, max_streams=1) as stage:
        call = stage.call("echo", texts="a")
        await stage.items(call, 1)
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        await stage.model.closed.wait()
        assert await stage.end(stage.call("count", stop=1)) is None


@on_loop
async def test_a_generator_that_swallows_the_end_of_its_caller_is_stopped_at_its_next_item():
    async with Stage(Plain, max_streams=1) as stage:
        call = stage.call("stubborn", texts="a")
        await stage.items(call, 1)
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        assert stage.model.seen == [Cancelled]
        assert await stage.end(stage.call("count", stop=1)) is None


@on_loop
async def test_streams_that_end_at_once_have_an_end_each_behind_their_items(monkeypatch):
    # One word for both would stand under the number of the first, and overtake a long item of the second.
    async with Stage(Plain) as stage:
        monkeypatch.setattr(stage.executor._threads[Lane.STREAMS], "submit", lambda work: work())
        streams = [stage.call("count", stop=1), stage.call("count", stop=1)]
        for stream in streams:
            assert await stage.end(stream) is None
            assert stage.outputs[stream] == [0]
        assert stage.together == []


@on_loop
async def test_inputs_and_outputs_alternate():
    async with Stage(Plain) as stage:
        call = stage.call("echo", texts="a")
        for count, text in enumerate("bcd", start=1):
            assert len(await stage.items(call, count)) == count
            stage.send(call, text)
        assert await stage.items(call, 4) == ["a", "b", "c", "d"]
        stage.executor.end_input(call)
        assert await stage.end(call) is None


@on_loop
async def test_a_stream_of_inputs_has_one_answer():
    async with Stage(Plain) as stage:
        call = stage.call("join", texts="a")
        stage.send(call, "b", "c")
        stage.executor.end_input(call)
        assert await stage.end(call) == "a b c"


@on_loop
async def test_credit_for_inputs_comes_back_as_the_method_takes_them():
    async with Stage(Plain) as stage:
        call = stage.call("take", texts="0")
        half = STREAM_WINDOW // 2
        stage.send(call, *map(str, range(STREAM_WINDOW - 1)))
        await stage.until(lambda: bool(stage.credits[call]))
        assert stage.credits[call] == [half]
        stage.send(call, "last")
        await stage.until(lambda: len(stage.credits[call]) == 2)
        assert stage.credits[call] == [half, half]
        stage.executor.end_input(call)
        await stage.end(call)


@on_loop
async def test_a_url_in_a_later_input_is_fetched_in_its_turn():
    async with Stage(Plain) as stage:
        call = stage.call("watch", images=Image(bytes=b"1"))
        await stage.items(call, 1)
        stage.send(call, Image(url="http://example.com/a"), Image(bytes=b"22"))
        await stage.fetcher.asked.wait()
        stage.fetcher.go.set()
        assert await stage.items(call, 3) == [1, len(b"fetched"), 2]
        stage.executor.end_input(call)
        await stage.end(call)


@on_loop
async def test_cancelling_the_fetch_of_a_later_input_frees_the_thread():
    async with Stage(Plain, max_streams=1) as stage:
        call = stage.call("watch", images=Image(bytes=b"1"))
        await stage.items(call, 1)
        stage.send(call, Image(url="http://example.com/a"))
        await stage.fetcher.asked.wait()
        stage.executor.cancel(call)
        with pytest.raises(Cancelled):
            await stage.end(call)
        await stage.until(lambda: stage.fetcher.cancelled == 1)


@on_loop
async def test_a_bad_later_input_is_the_callers_fault():
    async with Stage(Plain) as stage:
        call = stage.call("echo", texts="a")
        stage.executor.item(call, b"\xff\xff")
        with pytest.raises(InvalidInput, match="not a valid message"):
            await stage.end(call)


@on_loop
async def test_what_comes_for_a_call_that_is_over_is_dropped():
    async with Stage(Plain) as stage:
        call = stage.call("shout", text="a")
        await stage.end(call)
        stage.executor.item(call, b"late")
        stage.executor.end_input(call)
        stage.executor.grant(call, 1, 0)
        stage.executor.cancel(call)
        assert stage.order == [call]


@on_loop
async def test_token_counts_belong_to_one_item():
    async with Stage(Plain) as stage:
        method = stage.methods[stage.index["spend"]]
        counts: list[int] = []
        decode = method.codec.decode_output

        def note(output: bytes) -> object:
            from runner.wire.pb import inference_pb2 as pb

            counts.append(pb.Output.FromString(output).prompt_tokens)
            return decode(output)

        object.__setattr__(method.codec, "decode_output", note)
        await stage.end(stage.call("spend"))
        assert counts == [3, 5, 0]


class Broken(ModelClass):
    """Every way to go wrong."""

    @ModelClass.method
    def exits(self) -> str:
        sys.exit(3)

    @ModelClass.method
    def interrupts(self) -> str:
        raise KeyboardInterrupt

    @ModelClass.method
    def raises(self) -> str:
        raise ValueError("no such word")

    @ModelClass.method
    def raises_much(self) -> str:
        raise ValueError("ß" * 10_000)

    @ModelClass.method
    def raises_the_unprintable(self) -> str:
        class Unprintable(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        raise Unprintable

    @ModelClass.method
    def raises_what_exits_as_text(self) -> str:
        class Exiting(Exception):
            def __str__(self) -> str:
                sys.exit(3)

        raise Exiting

    @ModelClass.method
    def refuses(self) -> str:
        raise InvalidInput("too short", path="text")

    @ModelClass.method
    def refuses_with_an_exception(self) -> str:
        raise InvalidInput(ValueError("too short"))  # pyright: ignore[reportArgumentType]

    @ModelClass.method
    def refuses_in_its_own_way(self) -> str:
        class TooShort(InvalidInput):
            def __init__(self, length: int) -> None:
                self.length = length

        raise TooShort(3)

    @ModelClass.method
    def stops(self) -> str:
        raise StopIteration

    @ModelClass.method
    def cancels(self) -> str:
        raise asyncio.CancelledError

    @ModelClass.method
    def returns_another_type(self) -> str:
        return 3  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def returns_no_iterator(self) -> Iterator[str]:
        return 3  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def returns_a_text(self) -> Iterator[str]:
        return "abc"  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def returns_nothing(self) -> Iterator[str]:  # pyright: ignore[reportReturnType]
        pass

    @ModelClass.method
    def returns_a_list(self) -> Iterator[str]:
        return ["a", "b"]  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def yields_another_type(self) -> Iterator[str]:
        yield "a"
        yield 3  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def breaks_off(self) -> Iterator[str]:
        yield "a"
        raise ValueError("broken off")

    @ModelClass.method
    def exits_in_the_middle(self) -> Iterator[str]:
        yield "a"
        sys.exit("gone")

    @ModelClass.method
    def forgets_to_wait(self) -> str:
        async def later() -> str:
            return "later"

        self.forgotten = later()
        return self.forgotten  # pyright: ignore[reportReturnType]

    @ModelClass.method
    def reads_a_text(self, text: Text) -> str:
        return text.text


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("exits", "^SystemExit: 3$"),
        ("interrupts", "^KeyboardInterrupt$"),
        ("raises", "^ValueError: no such word$"),
        ("raises_the_unprintable", "^Unprintable: <its text raised RuntimeError>$"),
        ("raises_what_exits_as_text", "^Exiting: <its text raised SystemExit>$"),
        ("stops", "^StopIteration$"),
        ("cancels", "^CancelledError$"),
        ("returns_another_type", "int"),
        ("returns_no_iterator", "returned int; write it as a generator"),
        ("returns_a_text", "returned str; write it as a generator"),
        ("returns_nothing", "returned NoneType; write it as a generator"),
        ("yields_another_type", "int"),
        ("breaks_off", "^ValueError: broken off$"),
        ("exits_in_the_middle", "^SystemExit: gone$"),
    ],
)
@on_loop
async def test_what_a_model_does_wrong_ends_its_call_and_nothing_else(method, text, caplog):
    async with Stage(Broken, num_threads=1, max_streams=1) as stage:
        with pytest.raises(ModelError, match=text):
            await stage.end(stage.call(method))
        assert method in caplog.text
        with pytest.raises(ModelError, match="no such word"):  # the thread goes on
            await stage.end(stage.call("raises"))


@on_loop
async def test_items_before_an_error_are_delivered():
    async with Stage(Broken) as stage:
        for method in ("breaks_off", "yields_another_type", "exits_in_the_middle"):
            call = stage.call(method)
            with pytest.raises(ModelError):
                await stage.end(call)
            assert stage.outputs[call] == ["a"]


@on_loop
async def test_a_list_is_as_good_as_a_generator():
    async with Stage(Broken) as stage:
        call = stage.call("returns_a_list")
        assert await stage.end(call) is None
        assert stage.outputs[call] == ["a", "b"]


@on_loop
async def test_a_long_text_is_cut_between_characters():
    async with Stage(Broken) as stage:
        with pytest.raises(ModelError) as told:
            await stage.end(stage.call("raises_much"))
        assert len(str(told.value).encode()) <= 2048
        assert str(told.value).startswith("ValueError: ßß")
        assert str(told.value).endswith("ß…")


@on_loop
async def test_a_coroutine_that_a_plain_function_returned_is_another_type():
    async with Stage(Broken) as stage:
        with pytest.raises(ModelError, match="coroutine"):
            await stage.end(stage.call("forgets_to_wait"))
        stage.model.forgotten.close()


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("refuses", "text: too short"),
        ("refuses_with_an_exception", "too short"),
        ("refuses_in_its_own_way", "TooShort"),
    ],
)
@on_loop
async def test_a_model_may_refuse_its_input(method, text):
    """The error crosses a link after this, so it holds plain texts whatever the model has put into it."""
    async with Stage(Broken) as stage:
        with pytest.raises(InvalidInput) as told:
            await stage.end(stage.call(method))
        assert text in str(told.value)
        for field in (told.value.message, told.value.details, told.value.path):
            assert type(field) is str
