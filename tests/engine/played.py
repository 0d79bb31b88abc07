"""What a play of callers and workers knows of each call: what its caller did and saw, and where it ran."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.engine import Engine, Request
from runner.engine.calls import Outcome, UnaryCall
from runner.engine.stream_call import StreamCall
from runner.errors import CallError
from runner.signature.published import Published
from runner.testing.scripted_worker import ScriptedWorker
from runner.workers.messages import Call, Cancel, Credit, EndInput, Item


@dataclass(eq=False)
class Run:
    """A call on a worker, as the worker sees it.

    Attributes:
        begun: the method has begun.
        said: outputs, in order.
        taken: inputs for which it gave credit.
        answer: what it ended with; None while it has not.
    """

    worker: ScriptedWorker
    message: Call
    begun: bool = False
    said: list[bytes] = field(default_factory=list)
    taken: int = 0
    answer: bytes | CallError | None = None

    @property
    def over(self) -> bool:
        return self.answer is not None

    @property
    def inputs(self) -> list[bytes]:
        """The inputs that came behind the first message."""
        return [bytes(each.payload) for each in self.worker.of(Item) if each.id == self.message.id]

    @property
    def credit(self) -> int:
        """The outputs for which credit came back."""
        return sum(each.items for each in self.worker.of(Credit) if each.id == self.message.id)

    @property
    def cancels(self) -> int:
        return sum(each.id == self.message.id for each in self.worker.of(Cancel))

    @property
    def input_ends(self) -> int:
        return sum(each.id == self.message.id for each in self.worker.of(EndInput))


class Caller:
    """One call, as its caller makes it and sees it end.

    Attributes:
        ends: how it ended, each time that it did: once, if all is well. None: a stream came to its end.
        ended_at: when it last did.
        received: outputs of a stream that were read.
        wanted: inputs that the caller wants to send behind the first one.
        input_ended: it sends no more than these.
        left: it went before the end.
        runs: where it ran, in order.
    """

    def __init__(
        self, number: int, method: Published, clock: Callable[[], float], left: float | None, *, eager: bool
    ) -> None:
        """Make a call that was not made yet.

        Args:
            number: its number among all calls.
            method: what it calls.
            clock: tells the instant.
            left: seconds to its deadline; None without one.
            eager: it reads outputs as they come; otherwise `read` says how many.
        """
        self.number = number
        self.method = method
        self.deadline = None if left is None else clock() + left
        self.ended_at = 0.0
        self._clock = clock
        self.ends: list[bytes | CallError | None] = []
        self.received: list[bytes] = []
        self.wanted = 0
        self.input_ended = False
        self.left = False
        self.runs: list[Run] = []
        self.prompt = eager or not method.cardinality.streams_output  # it sees at once how the call ends
        self._may_read = asyncio.Semaphore(10**9 if eager else 0)
        self._may_send = asyncio.Semaphore(0)
        self._unary: UnaryCall | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def name(self) -> bytes:
        return b"%d" % self.number

    @property
    def over(self) -> bool:
        return self.left or bool(self.ends)

    def out_of_time(self, now: float) -> bool:
        """Tell whether the call's deadline has passed."""
        return self.deadline is not None and now >= self.deadline

    def waits(self, now: float) -> bool:
        """Tell whether somebody waits for the call."""
        return not self.over and not self.out_of_time(now)

    @property
    def streams_input(self) -> bool:
        return self.method.cardinality.streams_input

    @property
    def streams_output(self) -> bool:
        return self.method.cardinality.streams_output

    @property
    def begun(self) -> list[Run]:
        """The runs in which the method has begun."""
        return [run for run in self.runs if run.begun]

    def call(self, engine: Engine) -> None:
        """Make the call."""
        request = Request(self.method, self.name, deadline=self.deadline)
        try:
            if self.streams_input or self.streams_output:
                stream = engine.stream(request)
                self._tasks.append(asyncio.ensure_future(self._follow(stream)))
                if self.streams_input:
                    self._tasks.append(asyncio.ensure_future(self._feed(stream)))
            else:
                self._unary = engine.begin_unary(request, self._told)
        except CallError as exc:
            self._end(exc)

    def read(self, count: int) -> None:
        """Read so many outputs more, as they come."""
        for _ in range(count):
            self._may_read.release()

    def send(self, count: int) -> None:
        """Send so many inputs more, as they are taken."""
        self.wanted += count
        for _ in range(count):
            self._may_send.release()

    def end_input(self) -> None:
        """Send no more than that."""
        self.input_ended = True
        self._may_send.release()

    def leave(self, engine: Engine) -> None:
        """Go without waiting for the end."""
        self.left = True
        if self._unary is not None:
            engine.abandon(self._unary)
        for task in self._tasks:
            task.cancel()

    def _told(self, outcome: Outcome) -> None:
        self._end(outcome.end if isinstance(outcome.end, CallError) else bytes(outcome.end))

    def _end(self, end: bytes | CallError | None) -> None:
        self.ends.append(end)
        self.ended_at = self._clock()

    async def _follow(self, stream: StreamCall) -> None:
        try:
            if not self.streams_output:
                self._end(bytes(await stream.result()))
                return
            while True:
                await self._may_read.acquire()
                self.received.append(bytes(await anext(stream)))
        except StopAsyncIteration:
            self._end(None)
        except CallError as exc:
            self._end(exc)
        finally:
            stream.close()

    async def _feed(self, stream: StreamCall) -> None:
        sent = 0
        while True:
            await self._may_send.acquire()
            if sent == self.wanted:
                stream.end_input()
                return
            if not await stream.send(b"input %d" % sent):
                return
            sent += 1

    def __repr__(self) -> str:
        return f"<Caller {self.number} of {self.method.name}, ends={self.ends}, left={self.left}, runs={self.runs}>"
