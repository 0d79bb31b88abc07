"""The calls that run in this worker: starts them, feeds them, stops them, and says how each one ended.

Lives on the worker's loop. It knows nothing of links and processes: what happens to a call comes in as method calls,
what a call has to say goes out through an `Outlet`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple, Protocol

from runner.batching.tally import BatchRan
from runner.cancelled_tasks import cancel_all
from runner.context import CallContext
from runner.errors import CallError, MethodNotFound
from runner.execution import torch_threads
from runner.execution.answers import Answers
from runner.execution.batches import Batches
from runner.execution.blocking import BlockingCall
from runner.execution.contexts import Contexts
from runner.execution.coroutine import CoroutineCall
from runner.execution.coroutines_together import CoroutinesTogether
from runner.execution.fetch import Fetcher
from runner.execution.forked import ParentsCalls
from runner.execution.journal import Journal
from runner.execution.mailbox import Mailbox
from runner.execution.method import LoadedMethod
from runner.execution.model_device import ModelDevice
from runner.execution.running import RunningCall
from runner.execution.threads import ThreadLane
from runner.execution.times import UNTIMED, Times
from runner.model import ModelClass
from runner.signature.published import Lane
from runner.tuples import maker
from runner.wire import run
from runner.wire.payload import Payload

_UNLIMITED: Final = nullcontext()

_SEVERAL: Final = CallContext(request_id="several")
"""In the place of the context of one call, where each has its own."""


class Incoming(NamedTuple):
    """A call as it arrives."""

    id: int
    """The number under which everything about the call is said."""
    method: int
    """Index into the loaded methods."""
    payload: Payload
    """One serialized input, or a run of several."""
    params: bytes
    """Old-style parameters, a serialized struct; usually empty."""
    context: CallContext
    """What the method sees as `self.context`."""
    inputs: int = 1
    """How many inputs the payload has."""


_new_incoming = maker(Incoming)


class Outlet(Protocol):
    """Who is told what calls have to say. Called on the loop's thread."""

    def item(self, call_id: int, output: Payload) -> None:
        """One element of an output stream."""

    def consumed(self, call_id: int, items: int, size: int) -> None:
        """The method has taken so many inputs of so many bytes; as much more may be sent."""

    def ended(self, call_id: int, output: Payload, times: Times) -> None:
        """The call ended well. `output` is empty after an output stream. Nothing more is said of it."""

    def failed(self, call_id: int, error: CallError, times: Times) -> None:
        """The call ended badly. Nothing more is said of it."""

    def ended_together(self, first_id: int, calls: int, outputs: Payload, times: tuple[Times, ...]) -> None:
        """So many calls, whose numbers follow each other, ended well; their outputs are a run.

        `times`: of each, or one for all.
        """

    def mixed(self, call_id: int, ends: Sequence[Payload | CallError], times: Times) -> None:
        """Of a call of several inputs some failed: how each ended. Nothing more is said of it."""

    def ran(self, ran: BatchRan) -> None:
        """A batch has run."""


class Executor:
    """Owns every call under way, the threads and tasks that run them, and the fetcher of their URLs."""

    def __init__(
        self,
        model: ModelClass,
        methods: Sequence[LoadedMethod],
        outlet: Outlet,
        fetcher: Fetcher,
        mailbox: Mailbox,
        device: ModelDevice,
        *,
        num_threads: int,
        max_streams: int,
        journal: Journal | None = None,
    ) -> None:
        """Make an executor without calls.

        Args:
            model: the loaded model.
            methods: what can be called.
            outlet: told what calls have to say.
            fetcher: fetches inputs given by URL.
            mailbox: of this loop.
            device: where batches run; closed with this.
            num_threads: unary plain functions at once.
            max_streams: streams of plain functions at once.
            journal: where calls are marked before anything of them runs; None: where nobody looks.
        """
        self.journal = Journal() if journal is None else journal
        self.loop = asyncio.get_running_loop()
        self.fetcher = fetcher
        self.mailbox = mailbox
        self._methods = methods
        self._outlet = outlet
        begin = torch_threads.inherited()
        self._threads = {
            Lane.THREADS: ThreadLane("method", num_threads, begin),
            Lane.STREAMS: ThreadLane("stream", max_streams, begin),
        }
        self._openers: ThreadPoolExecutor | None = None
        self._batches = Batches(self, model, methods, device, outlet.ran)
        self._answers = Answers(outlet)
        mailbox.emptied = self._answers.tell
        self._coroutines = {
            index: CoroutinesTogether(self, method)
            for index, method in enumerate(methods)
            if method.plan is None and method.awaited and method.streamed is None
        }
        self._calls: dict[int, RunningCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Incoming) -> None:
        """Start a call."""
        if call.method >= len(self._methods):
            error = MethodNotFound(f"this worker has no method number {call.method}")
            self._outlet.failed(call.id, error, UNTIMED)
            return
        method = self._methods[call.method]
        if call.inputs > 1 and (method.plan is None or method.streams_output):
            error = MethodNotFound(f"{method.name!r} takes one input after the other")
            self._outlet.failed(call.id, error, UNTIMED)
            return
        running: RunningCall
        if method.plan is not None:
            running = self._batches.call(method, call)
        elif method.lane == Lane.COROUTINES:
            running = CoroutineCall(self, method, call, time.perf_counter())
        else:
            running = BlockingCall(self, method, call, self._threads[method.lane])
        self._calls[call.id] = running
        running.start()

    def start_together(self, method: int, payload: Payload, contexts: Contexts) -> None:
        """Start several calls of one input each, whose numbers follow each other.

        Args:
            method: index into the loaded methods.
            payload: a run of their inputs.
            contexts: what the method sees of each.
        """
        first_id = contexts.first
        loaded = self._methods[method] if method < len(self._methods) else None
        if loaded is not None and _read_together(loaded):
            first = Incoming(first_id, method, payload, b"", _SEVERAL, len(contexts))
            calls = self._batches.together(loaded, first, contexts)
            self._calls.update(dict.fromkeys(range(first_id, first_id + len(contexts)), calls))
            calls.start()
            return
        calls = [
            _new_incoming((number, method, each, b"", context, 1))
            for number, (each, context) in enumerate(
                zip(run.split(payload, len(contexts)), contexts.make_all(), strict=True), first_id
            )
        ]
        together = self._coroutines.get(method)
        if loaded is None or together is None:
            for call in calls:
                self.start(call)
            return
        now = time.perf_counter()
        running = [CoroutineCall(self, loaded, call, now) for call in calls]
        self._calls.update(zip(range(first_id, first_id + len(calls)), running, strict=True))
        together.start(running)

    def item(self, call_id: int, payload: Payload) -> None:
        """One more input of a call; dropped if the call is over."""
        if (call := self._calls.get(call_id)) is not None:
            call.item(payload)

    def end_input(self, call_id: int) -> None:
        """A call gets no more inputs."""
        if (call := self._calls.get(call_id)) is not None:
            call.end_input()

    def grant(self, call_id: int, items: int, size: int) -> None:
        """A call may send so many more outputs, and so many more bytes of them."""
        if (call := self._calls.get(call_id)) is not None:
            call.grant(items, size)

    def cancel(self, call_id: int) -> None:
        """Stop a call."""
        if (call := self._calls.get(call_id)) is not None:
            call.cancel_one(call_id)
            self._batches.cancelled(call_id)

    async def close(self) -> None:
        """Stop everything and wait for the tasks, for a while. Threads are left to end by themselves."""
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await cancel_all({*self._tasks, *(call.task for call in calls if call.task is not None)})
        # From Python 3.12 on, that does not yield where all tasks are done already: let their callbacks run, now due.
        await asyncio.sleep(0)
        await self._batches.close()
        if self._openers is not None:
            self._openers.shutdown(wait=False)
        for lane in self._threads.values():
            lane.close()
        await self.fetcher.aclose()

    # What calls use. All of it runs on the loop.

    @property
    def openers(self) -> ThreadPoolExecutor:
        """Threads that open images before a batch. Their queue is bounded by the room of the batched methods' lanes."""
        if self._openers is None:
            self._openers = ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), 8), "opener")
        return self._openers

    def limit(self, method: LoadedMethod, *calls: int) -> AbstractContextManager[None]:
        """Return the context in which to run something of a method, for these calls: the server sees how long it takes.

        From any thread.
        """
        return self.journal.running(*calls) if method.limited else _UNLIMITED

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, None],
        ended: Callable[[asyncio.Task[None]], None],
        name: str | None = None,
    ) -> asyncio.Task[None]:
        """Run a coroutine; `ended` is told of its end, however it came, and `close` waits for it."""
        task = self.loop.create_task(coroutine, name=name)
        self._tasks.add(task)

        def forget(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            ended(task)

        task.add_done_callback(forget)
        return task

    def emit(self, call_id: int, output: Payload) -> None:
        """Send one element of an output stream."""
        if call_id in self._calls:
            self._outlet.item(call_id, output)

    def consumed(self, call_id: int, items: int, size: int) -> None:
        """Give input credits back."""
        if call_id in self._calls:
            self._outlet.consumed(call_id, items, size)

    def end(self, call_id: int, output: Payload, times: Times = UNTIMED) -> None:
        """Say that a call ended well."""
        if (call := self._calls.pop(call_id, None)) is not None:
            call.ended()
            self._batches.ended(call_id)
            self._outlet.ended(call_id, output, times)

    def end_soon(self, call_id: int, output: Payload, times: Times) -> None:
        """Note that a call ended well: whoever runs calls one after the other says so with `tell`.

        What is posted to the mailbox need not.
        """
        if (call := self._calls.pop(call_id, None)) is not None:
            call.ended()
            self._batches.ended(call_id)
            self._answers.add(call_id, output, times)

    def tell(self) -> None:
        """Say which calls have ended."""
        self._answers.tell()

    def fail(self, call_id: int, error: CallError, times: Times = UNTIMED) -> None:
        """Say that a call ended badly."""
        if (call := self._calls.pop(call_id, None)) is not None:
            call.ended()
            self._batches.ended(call_id)
            self._outlet.failed(call_id, error, times)

    def end_together(self, first_id: int, calls: int, outputs: Payload, times: Times) -> None:
        """Say that several calls ended well, whose numbers follow each other, and whose times are the same."""
        for number in range(first_id, first_id + calls):
            del self._calls[number]
        self._batches.all_ended(first_id, calls)
        self._outlet.ended_together(first_id, calls, outputs, (times,))

    def mixed(self, call_id: int, ends: Sequence[Payload | CallError], times: Times = UNTIMED) -> None:
        """Say how each input of a call ended, some of them badly."""
        if (call := self._calls.pop(call_id, None)) is not None:
            call.ended()
            self._batches.ended(call_id)
            self._outlet.mixed(call_id, ends, times)

    def forked(self) -> None:
        """This is a process that was forked: its calls are its parent's."""
        self.mailbox.forked()
        self._calls = ParentsCalls()

    def __repr__(self) -> str:
        return f"<Executor {len(self._calls)} calls, {len(self._tasks)} others' tasks, {list(self._threads.values())}>"


def _read_together(method: LoadedMethod) -> bool:
    """Tell whether calls of a method can be read at once: nothing has to be fetched, opened or weighed for one."""
    plan, codec = method.plan, method.codec
    if plan is None or plan.cost is not None or method.streams_output:
        return False
    return not (codec.carries_media or codec.opens_images)
