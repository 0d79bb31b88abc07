"""Coroutines that came in one message: they share a task for as long as they wait for nothing, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import threading
import types
import weakref
from collections.abc import Generator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import Image, ModelClass
from runner.errors import CallError, Cancelled, DeadlineExceeded, InvalidInput, ModelError
from runner.execution.journal import Mark
from tests.execution.models import texts
from tests.execution.stage import Stage
from tests.running import TOO_LONG, on_loop, turns

NOTE: ContextVar[str] = ContextVar("note")


class Model(ModelClass):
    """Coroutines that note what they see of their surroundings."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.seen: list[object] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.held = 0

    @ModelClass.method
    async def shout(self, text: str) -> str:
        """Waits for `go` if it has to "wait"; goes wrong if it is "bad"."""
        self.tasks.append(asyncio.current_task())
        self.seen.append((text, NOTE.get(None), self.context.request_id))
        NOTE.set(text)
        if text == "bad":
            raise ValueError("no")
        if text == "exit":
            sys.exit(3)
        if text == "interrupt":
            raise KeyboardInterrupt
        if text.startswith("wait"):
            self.held += 1
            try:
                await self.go.wait()
            finally:
                self.held -= 1
                self.tasks.append(asyncio.current_task())
                self.seen.append((text, NOTE.get(None), self.context.request_id))
        if text == "usage":
            self.set_output_context(prompt_tokens=3)
        return text.upper()

    @ModelClass.method
    async def look(self, image: Image) -> int:
        return len(image.bytes or b"")

    @ModelClass.method
    async def stop_myself(self, text: str) -> str:
        """Cancels its task; takes that back, or waits, if it is told to."""
        task = asyncio.current_task()
        assert task is not None
        if text.startswith("stop"):
            task.cancel()
        if text.endswith("back"):
            task.uncancel()
        if text.endswith("wait"):
            await asyncio.sleep(0)
        return text

    @ModelClass.method
    async def stop_the_first(self, text: str) -> str:
        """The one before the last has kept its task for a while, and the others are to be spared."""
        self.tasks.append(asyncio.current_task())
        if text == "wait":
            await self.go.wait()
        return text

    @ModelClass.method
    async def leave_behind(self, text: str) -> str:
        """Starts something that goes on by itself."""
        NOTE.set(text)

        async def later() -> None:
            await self.go.wait()
            self.seen.append(NOTE.get())

        self.tasks.append(asyncio.ensure_future(later()))
        return text

    @ModelClass.method(max_run_seconds=60)
    async def limited(self, text: str) -> str:
        if text == "wait":
            await self.go.wait()
        return text

    @ModelClass.method
    async def big(self, size: int) -> bytes:
        return bytes(size)

    @ModelClass.method
    def plain(self, text: str) -> str:
        return text.upper()


async def ends(stage: Stage, calls: Sequence[int]) -> list[Any]:
    return await asyncio.gather(*map(stage.end, calls), return_exceptions=True)


@on_loop
async def test_those_that_wait_for_nothing_share_a_task_and_an_answer():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "b", "c"))
        assert await ends(stage, calls) == ["A", "B", "C"]
        assert len(set(stage.model.tasks)) == 1
        assert stage.together == [(calls[0], 3)]
        (task,) = set(stage.model.tasks)
        assert task.get_name() == "shout"


@on_loop
async def test_none_sees_what_another_has_set():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "wait", "b", "c"))
        stage.model.go.set()
        await ends(stage, calls)
        a, wait, b, c = (f"r{call}" for call in calls)
        assert set(stage.model.seen) == {
            ("a", None, a),
            ("wait", None, wait),
            ("wait", "wait", wait),
            ("b", None, b),
            ("c", None, c),
        }
        assert NOTE.get(None) is None


@on_loop
async def test_what_one_leaves_behind_keeps_its_context():
    async with Stage(Model) as stage:
        await ends(stage, stage.call_together("leave_behind", *texts("a", "b")))
        stage.model.go.set()
        await asyncio.gather(*stage.model.tasks)
        assert stage.model.seen == ["a", "b"]


@on_loop
async def test_one_that_waits_keeps_its_task_and_holds_up_none():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "wait", "b", "wait", "c"))
        assert await ends(stage, [calls[0], calls[2], calls[4]]) == ["A", "B", "C"]
        await stage.until(lambda: stage.model.held == 2)
        waiting = stage.model.tasks[1]
        assert not waiting.done()
        stage.model.go.set()
        assert await ends(stage, calls) == ["A", "WAIT", "B", "WAIT", "C"]
        assert stage.model.tasks.count(waiting) == 3  # that of "a" before it, and its own before and after
        assert len(set(stage.model.tasks)) >= 2


@on_loop
async def test_where_all_wait_each_has_a_task_at_once():
    async with Stage(Model) as stage:
        stage.call_together("shout", *texts(*["wait"] * 20))
        await turns()
        assert stage.model.held == 20
        stage.call_together("shout", *texts(*["wait"] * 20))
        await turns(1)
        assert stage.model.held == 40
        assert len(set(stage.model.tasks)) == 40
        stage.model.go.set()


@on_loop
async def test_they_share_again_once_they_wait_no_more():
    async with Stage(Model) as stage:
        await turns()
        stage.model.go.set()
        await ends(stage, stage.call_together("shout", *texts("wait", "a", "b", "c", "d")))
        await ends(stage, stage.call_together("shout", *texts(*"abcdefgh")))
        stage.model.tasks.clear()
        await ends(stage, stage.call_together("shout", *texts(*"abcdefgh")))
        assert len(set(stage.model.tasks)) == 1


@on_loop
async def test_answers_leave_when_the_next_one_waits():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "b", "wait", "c", "d"))
        await stage.until(lambda: stage.model.held == 1)
        assert stage.order == calls[:2]
        assert stage.together == [(calls[0], 2)]
        stage.model.go.set()


@on_loop
async def test_a_long_answer_goes_by_itself():
    async with Stage(Model) as stage:
        calls = stage.call_together("big", {"size": 1}, {"size": 1}, {"size": 100_000}, {"size": 1}, {"size": 1})
        assert list(map(len, await ends(stage, calls))) == [1, 1, 100_000, 1, 1]
        assert sorted(stage.together) == [(calls[0], 2), (calls[3], 2)]


@on_loop
async def test_each_has_its_times():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "wait", "b"))
        await stage.until(lambda: stage.model.held == 1)
        stage.model.go.set()
        await ends(stage, calls)
        for call in calls:
            assert stage.times[call].batch_size == 0
            assert stage.times[call].run > 0
            assert stage.times[call].encode > 0
        assert stage.times[calls[0]].queued < stage.times[calls[1]].queued < stage.times[calls[2]].queued


@on_loop
async def test_one_that_goes_wrong_does_so_alone(caplog):
    async with Stage(Model) as stage:
        bad = stage.methods[stage.index["shout"]].codec.encode_call({"text": "a"})[:-2]
        given = [*texts("a", "bad", "exit", "interrupt"), bad, *texts("b", "usage")]
        calls = stage.call_together("shout", *given)
        a, value, exited, interrupted, unread, b, used = await ends(stage, calls)
        assert (a, b, used) == ("A", "B", "USAGE")
        for error, text in ((value, "ValueError: no"), (exited, "SystemExit: 3"), (interrupted, "KeyboardInterrupt")):
            assert isinstance(error, ModelError)
            assert text in str(error)
        assert isinstance(unread, InvalidInput)
        assert "shout raised SystemExit" in caplog.text


@on_loop
async def test_only_what_has_begun_is_marked():
    async with Stage(Model) as stage:
        marks: list[list[Mark]] = []
        calls: list[int] = []

        def look() -> None:
            marks.append([stage.executor.journal.mark_of(call) for call in calls])

        stage.model.seen = Noting(look)  # pyright: ignore[reportAttributeAccessIssue]
        calls += stage.call_together("shout", *texts("a", "b", "c"))
        look()
        await ends(stage, calls)
        none, runs = Mark.NONE, Mark.RUNS
        assert marks == [[none, none, none], [runs, none, none], [runs, runs, none], [runs, runs, runs]]


class Noting(list[object]):
    """Tells whenever something is added."""

    def __init__(self, tell: Any) -> None:
        super().__init__()
        self._tell = tell

    def append(self, item: object) -> None:
        super().append(item)
        self._tell()


@on_loop
async def test_limited_runs_are_watched():
    async with Stage(Model) as stage:
        calls = stage.call_together("limited", *texts("a", "wait", "wait"))
        await turns()
        assert sorted(stage.executor.journal.pulse().runs) == calls[1:]
        stage.model.go.set()
        await ends(stage, calls)
        assert not stage.executor.journal.pulse().runs


@on_loop
async def test_input_that_is_fetched_holds_up_none():
    async with Stage(Model) as stage:
        images = [Image(bytes=b"1"), Image(url="http://example.com/a"), Image(bytes=b"22")]
        calls = stage.call_together("look", *({"image": image} for image in images))
        assert await ends(stage, [calls[0], calls[2]]) == [1, 2]
        stage.fetcher.go.set()
        assert await stage.end(calls[1]) == len(b"fetched")


@on_loop
async def test_a_fetch_is_cancelled_with_its_call_alone():
    async with Stage(Model) as stage:
        images = [Image(url="http://example.com/a")] * 2
        calls = stage.call_together("look", *({"image": image} for image in images))
        await turns()
        stage.executor.cancel(calls[0])
        with pytest.raises(Cancelled):
            await stage.end(calls[0])
        assert stage.fetcher.cancelled == 1
        stage.fetcher.go.set()
        assert await stage.end(calls[1]) == len(b"fetched")


@on_loop
async def test_one_that_is_cancelled_before_its_first_step_never_runs():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "b", "c"))
        stage.executor.cancel(calls[1])
        assert isinstance(stage.ends[calls[1]], Cancelled)
        assert await ends(stage, [calls[0], calls[2]]) == ["A", "C"]
        assert [text for text, _, _ in stage.model.seen] == ["a", "c"]
        assert stage.executor.journal.mark_of(calls[1]) is Mark.NONE


@on_loop
async def test_one_is_cancelled_where_it_waits_and_nobody_else():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("wait", "a", "wait", "wait"))
        await stage.until(lambda: stage.model.held == 3)
        stage.executor.cancel(calls[2])
        with pytest.raises(Cancelled):
            await stage.end(calls[2])
        assert stage.model.held == 2
        stage.model.go.set()
        assert await ends(stage, [calls[0], calls[1], calls[3]]) == ["WAIT", "A", "WAIT"]


@on_loop
async def test_one_whose_time_is_up_never_runs():
    async with Stage(Model) as stage:
        calls = stage.call_together("shout", *texts("a", "b", "c"), times_left=[None, -1.0, 60.0])
        a, b, c = await ends(stage, calls)
        assert (a, c) == ("A", "C")
        assert isinstance(b, DeadlineExceeded)
        assert [text for text, _, _ in stage.model.seen] == ["a", "c"]


@pytest.mark.parametrize("way", ["stop", "stop and back"])
@on_loop
async def test_a_cancellation_that_nobody_waited_for_hits_none_behind_it(way):
    async with Stage(Model) as stage:
        calls = stage.call_together("stop_myself", *texts("a", way, "b wait"))
        assert await ends(stage, calls) == ["a", way, "b wait"]


@on_loop
async def test_one_that_cancels_itself_and_waits_is_cancelled(caplog):
    async with Stage(Model) as stage:
        calls = stage.call_together("stop_myself", *texts("a", "stop and wait", "b wait"))
        a, stopped, b = await ends(stage, calls)
        assert (a, b) == ("a", "b wait")
        assert isinstance(stopped, ModelError)


@on_loop
async def test_a_task_that_is_cancelled_from_outside_is_its_own_calls():
    async with Stage(Model) as stage:
        calls = stage.call_together("stop_the_first", *texts("a", "wait", "b", "wait"))
        await turns()
        stage.model.tasks[1].cancel()
        stage.model.go.set()
        a, stopped, b, waited = await ends(stage, calls)
        assert (a, b, waited) == ("a", "b", "wait")
        assert isinstance(stopped, ModelError)


@on_loop
async def test_closing_stops_those_that_wait_and_those_that_have_not_begun():
    stage = Stage(Model)
    waiting = stage.call_together("shout", *texts("wait", "wait"))
    await turns()
    calls = stage.call_together("shout", *texts("a", "b"))
    await stage.executor.close()
    assert stage.ends.keys() == {*waiting, *calls}
    assert all(isinstance(end, Cancelled) for end in stage.ends.values())
    assert [text for text, _, _ in stage.model.seen if text in "ab"] == []
    assert not stage.executor._calls
    assert not stage.executor._tasks


@on_loop
async def test_plain_functions_have_a_thread_each_and_answers_that_are_there_leave_together():
    async with Stage(Model) as stage:
        posted = threading.Semaphore(0)
        post = stage.executor.mailbox.post

        def noting(*letter: Any) -> None:
            post(*letter)
            posted.release()

        stage.executor.mailbox.post = noting
        calls = stage.call_together("plain", *texts("a", "b"))
        for _ in calls:
            assert posted.acquire(timeout=TOO_LONG)
        assert await ends(stage, calls) == ["A", "B"]
        assert stage.together == [(calls[0], 2)]


@on_loop
async def test_nothing_is_kept_of_what_has_ended():
    class Thing:
        pass

    class Kept(ModelClass):
        kept: weakref.WeakSet[Any] = weakref.WeakSet()

        @ModelClass.method
        async def take(self, text: str) -> str:
            thing = Thing()
            self.kept.add(thing)
            if text == "wait":
                await asyncio.sleep(0)
            if text == "bad":
                raise ValueError(thing)
            if text == "stop":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as exc:
                    exc.thing = thing  # pyright: ignore[reportAttributeAccessIssue]
                    raise
            return text

    stage = Stage(Kept)
    gc.disable()
    try:
        calls = stage.call_together("take", *texts("a", "wait", "b", "stop", "c"))
        await turns(10)
        stage.executor.cancel(calls[3])
        assert [type(end) for end in await ends(stage, calls)] == [str, str, str, Cancelled, str]
        await turns()
        assert not Kept.kept
    finally:
        gc.enable()
        await stage.executor.close()


# What calls are told and see is the same as one by one.


class Bare:
    """Gives the loop a turn without a future."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@types.coroutine
def through(future: asyncio.Future[Any]) -> Generator[Any, Any, Any]:
    """Wait as libraries did before there was `await`."""
    return (yield from future)


class Player(ModelClass):
    """Does what a script says, and notes all it sees of itself."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.logs: dict[int, list[object]] = {}

    @ModelClass.method
    async def play(self, script: str) -> str:
        number, *steps = json.loads(script)
        log = self.logs.setdefault(number, [])
        task = asyncio.current_task()
        assert task is not None
        log.append(("begins", NOTE.get(None), task.cancelling(), task.get_name()))
        NOTE.set(str(number))
        try:
            for step in steps:
                await self.do(step, log)
                log.append((step, NOTE.get(), asyncio.current_task() is task))
        except BaseException as exc:
            log.append((type(exc).__name__, str(exc), asyncio.current_task() is task, self.context.cancelled))
            raise
        return f"{number} is over"

    async def do(self, step: str, log: list[object]) -> None:
        match step:
            case "turn":
                await asyncio.sleep(0)
            case "bare":
                await Bare()
            case "wait":
                await self.go.wait()
            case "through":
                await through(asyncio.ensure_future(self.go.wait()))
            case "raise":
                raise ValueError("as was asked for")
            case "exit":
                sys.exit(2)
            case "time out":
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            case "in time":
                async with asyncio.timeout(60):
                    await asyncio.sleep(0)
            case "catch":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
            case "refuse":
                try:
                    await self.go.wait()
                except asyncio.CancelledError:
                    log.append("goes on")
            case "group":
                async with asyncio.TaskGroup() as group:
                    parts = [group.create_task(self.part(log)) for _ in range(2)]
                log.append([part.result() for part in parts])
            case "broken group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.go.wait())
                    raise KeyError("in a group")
            case "stop":
                task = asyncio.current_task()
                assert task is not None
                log.append(task.cancel())
            case "back":
                task = asyncio.current_task()
                assert task is not None
                log.append(task.uncancel())
            case "usage":
                self.set_output_context(prompt_tokens=3)
            case _:
                raise AssertionError(step)

    async def part(self, log: list[object]) -> str:
        log.append(("part", NOTE.get()))
        await asyncio.sleep(0)
        return NOTE.get()


STEPS = [
    "turn",
    "bare",
    "wait",
    "through",
    "raise",
    "exit",
    "time out",
    "in time",
    "catch",
    "refuse",
    "group",
    "broken group",
    "stop",
    "back",
    "usage",
]
scripts = st.lists(
    st.tuples(
        st.lists(st.sampled_from(STEPS), max_size=4),
        st.sampled_from(["", "", "", "before", "while", "after"]),
        st.sampled_from([None, None, None, 60.0, -1.0]),
    ),
    min_size=1,
    max_size=8,
)


async def played(given: Sequence[tuple[list[str], str, float | None]], *, together: bool) -> list[object]:
    """Run scripts, twice one behind the other; return what was told of each, and what it saw itself."""
    found: list[object] = []
    async with Stage(Player) as stage:
        for _ in range(2):  # what has waited once is not taken together the next time
            stage.model.go.clear()
            stage.model.logs.clear()
            texts = [{"script": json.dumps([number, *steps])} for number, (steps, _, _) in enumerate(given)]
            left = [each for _, _, each in given]
            if together:
                calls = stage.call_together("play", *texts, times_left=left)
            else:
                calls = [stage.call("play", time_left=each, **text) for each, text in zip(left, texts, strict=True)]
            for moment in ("before", "while", "after"):
                for call, (_, cancelled, _) in zip(calls, given, strict=True):
                    if cancelled == moment:
                        stage.executor.cancel(call)
                if moment == "while":
                    await turns(60)
                    stage.model.go.set()
                await turns(60)
            for number, call in enumerate(calls):
                end = stage.ends[call]
                told = (type(end), str(end)) if isinstance(end, CallError) else end
                found.append((number, told, stage.model.logs.get(number)))
    return found


@settings(max_examples=120, deadline=None)
@given(given=scripts)
def test_calls_are_told_the_same_as_one_by_one(given):
    @on_loop
    async def both() -> None:
        assert await played(given, together=True) == await played(given, together=False)

    both()


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="tasks are eager from Python 3.12 on")
@on_loop
async def test_tasks_that_begin_at_once_change_nothing():
    """A model may have asked the loop for them."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    async with Stage(Model) as stage:
        calls = [stage.call("shout", text="alone"), *stage.call_together("shout", *texts("a", "wait", "b"))]
        stage.model.go.set()
        assert await ends(stage, calls) == ["ALONE", "A", "WAIT", "B"]


@on_loop
async def test_one_with_a_task_of_its_own_that_ends_within_its_start_is_told():
    async with Stage(Model) as stage:
        loop = asyncio.get_running_loop()

        def begin_at_once(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Future[None]:
            with contextlib.suppress(StopIteration):
                coroutine.send(None)
            done = loop.create_future()
            done.set_result(None)
            return done

        loop.set_task_factory(begin_at_once)  # type: ignore[arg-type]  # as tasks may be from Python 3.12 on
        call = stage.call("shout", text="a")
        loop.set_task_factory(None)
        assert await stage.end(call) == "A"
