"""Streams that run together: one generator for a batch of calls, each of whose steps is a list with an output for each.

The generator is made and advanced on the device, a step at a time, so that other batches get their turn between two
steps. A step is taken when every member still there may send one more item: the slowest reader sets the pace. A stream
that should go at its own pace calls a coalescing point instead.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, cast

from runner import context
from runner.batch import END, SKIP, scatter
from runner.batching.coalescer import Coalescer
from runner.batching.device import Device, Outcome, Prepared, Run
from runner.batching.entries import Entry, Limits
from runner.batching.jobs import Fate, Job
from runner.batching.results import to_host_each
from runner.batching.staging import Staged
from runner.context import BatchContext
from runner.errors import CallError, Cancelled
from runner.execution import failure
from runner.execution.batch_work import BatchWork
from runner.execution.batched import BatchedCall
from runner.execution.method import LoadedMethod
from runner.execution.rows import Inputs
from runner.execution.times import Times
from runner.flow import Window
from runner.wire.call import EncodeError

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class _MemberGate:
    """The credit of one member's reader. Its stream is told when there is some again."""

    def __init__(self) -> None:
        self.window = Window()
        self.stream: BatchStream | None = None

    def grant(self, items: int, size: int) -> None:
        """See `running.Gate`."""
        self.window.grant(items, size)
        if self.stream is not None:
            self.stream.advance()

    def close(self) -> None:
        """See `running.Gate`: the member leaves by `BatchedStreamCall.cancel`."""


class BatchedStreamCall(BatchedCall):
    """One member of a batch of streams."""

    def __init__(
        self, executor: Executor, method: LoadedMethod, call: Incoming, coalescer: Coalescer, point: int, steps: int
    ) -> None:
        self._gate = _MemberGate()
        super().__init__(executor, method, call, coalescer, point, self._gate)
        self._steps = steps
        self._over = False
        self._fate: Fate | None = None  # of the batch that opened the stream

    @property
    def open(self) -> bool:
        """True if one more item may be sent."""
        return self._gate.window.open

    @property
    def priority(self) -> int:
        """Its method's."""
        return self._plan.priority

    @property
    def over(self) -> bool:
        """True once the last word was said."""
        return self._over

    def cancel(self) -> None:
        """See `RunningCall`."""
        super().cancel()
        if self._gate.stream is not None:
            self.fail(Cancelled("the call was cancelled"))
            self._gate.stream.advance()

    def deliver(self, result: Any, fate: Fate) -> None:
        """See `Job`. The result is the stream that this call is a member of."""
        self._waiting = False
        self._fate = fate
        if isinstance(result, BatchStream):
            self._gate.stream = result
            if self._call.context.cancelled:
                self.fail(Cancelled("the call was cancelled"))
            result.joined(self._coalescer, self._steps)
        else:
            self.fail(result)

    def limit(self, members: Sequence[BatchedStreamCall]) -> AbstractContextManager[None]:
        """Return the context in which to run something for these calls of the same method."""
        return self._executor.limit(self._method, *(member.call_id for member in members if not member.over))

    def put(self, output: Any) -> None:
        """Take this member's part of a step."""
        if self._over or output is SKIP:
            return
        if output is END:
            self.end()
            return
        call = self._call
        try:
            if isinstance(output, BaseException):
                raise output
            data = self._method.codec.encode_output(output, call.context.take_usage(), old_style=self._old_style)
        except BaseException as exc:
            self.fail(exc)
            return
        self._gate.window.spend(len(data))
        self._executor.emit(call.id, data)

    def end(self) -> None:
        """The stream ended well."""
        if not self._over:
            self._over = True
            self._executor.end(self._call.id, b"", self._times_so_far())

    def _times_so_far(self) -> Times:
        now, fate = time.monotonic(), self._fate
        return self._times(now, 0.0) if fate is None else self._times(fate.started, now - fate.started, size=fate.size)

    def fail(self, exc: BaseException) -> None:
        """The stream ended badly."""
        if not self._over:
            self._over = True
            about = self._call.context
            error = failure.of_model(exc, self._method.name, cancelled=about.cancelled, request_id=about.request_id)
            self._executor.fail(self._call.id, error, self._times_so_far())

    def refuse(self, error: CallError) -> None:
        """See `Job`."""
        self._over = True
        super().refuse(error)


class BatchStream:
    """One generator and its members. Its steps run on the device; everything else here is on the loop."""

    _numbers = itertools.count(1)

    def __init__(self, name: str, outputs: Any, members: Sequence[BatchedStreamCall]) -> None:
        self.name = name
        self.members = members
        self.context = BatchContext([member.context for member in members])
        self.outputs = outputs
        self._key = next(BatchStream._numbers)
        self._coalescer: Coalescer | None = None
        self._point = 0
        self._joined = 0
        self._under_way = False
        self._closed = False

    def joined(self, coalescer: Coalescer, point: int) -> None:
        """One more member knows of the stream; the first step is taken when all do."""
        self._coalescer, self._point = coalescer, point
        self._joined += 1
        if self._joined == len(self.members):
            self.advance()

    def advance(self) -> None:
        """Take the next step if nobody has to be waited for; close the generator if nobody is left."""
        if self._under_way or self._closed or self._coalescer is None or self._joined < len(self.members):
            return
        live = [member for member in self.members if not member.over]
        if all(member.open for member in live):  # also where nobody is left
            self._under_way = True
            self._closed = not live
            step = StepJob(self, closes=self._closed)
            size = max(len(live), 1)
            step.entry = Entry(
                id=self._coalescer.next_entry(),
                point=self._point,
                key=self._key,
                cost=float(size),
                priority=self.members[0].priority,
                size=size,
            )
            self._coalescer.offer(step)

    def limit(self) -> AbstractContextManager[None]:
        """Return the context in which a step runs; see `Executor.limit`."""
        return self.members[0].limit(self.members)

    def stepped(self, result: Any) -> None:
        """A step has run."""
        self._under_way = False
        if result is END:
            self._closed = True
            for member in self.members:
                member.end()
        elif isinstance(result, BaseException):
            for member in self.members:
                member.fail(result)
        else:
            for member, output in zip(self.members, result, strict=True):
                member.put(output)
        self.advance()  # also to close the generator, of which a step may be wrong that did not end it


class StepJob(Job):
    """The next step of a stream, or its end."""

    __slots__ = ("closes", "entry", "offered", "stream")

    def __init__(self, stream: BatchStream, *, closes: bool) -> None:
        self.stream = stream
        self.closes = closes

    @property
    def wanted(self) -> bool:
        """See `Job`. A stream is closed for nobody's sake."""
        return self.closes or any(not member.over for member in self.stream.members)

    def deliver(self, result: Any, fate: Fate) -> None:
        """See `Job`."""
        if not self.closes:
            self.stream.stepped(result)
        elif isinstance(result, BaseException):  # there is nobody but the log to be told
            failure.of_model(result, self.stream.name, cancelled=False)

    def refuse(self, error: CallError) -> None:
        """See `Job`."""
        self.stream.stepped(error)

    def forgotten(self, device: Device) -> None:
        """See `Job`. The generator is closed where it has run; those of the loop it closes itself."""
        stream = self.stream
        if not hasattr(stream.outputs, "__anext__"):
            closing = StepJob(stream, closes=True)
            device.submit(Run(prepare=list, run=lambda _: StepWork().run((), (closing,)), done=_closed))


class OpeningWork(BatchWork):
    """Calls the method, which gives the generator. See `jobs.Work`."""

    def _results(self, result: Any, inputs: Inputs) -> Sequence[Any]:
        name, method = self._method.name, self._method
        if not hasattr(result, "__anext__" if method.asynchronous else "__next__"):
            raise EncodeError(
                f"{name} is declared to return an iterator and returned {type(result).__name__}; "
                "write it as a generator"
            )
        members = [cast(BatchedStreamCall, row.job) for row in inputs.rows]
        return [BatchStream(name, result, members)] * len(inputs)


class StepWork:
    """Advances generators. See `jobs.Work`."""

    LIMITS: Final = Limits(max_size=1, steps=True)
    exhausted: int | None = None  # a stream has the size that it began with
    splits = 0

    def preparation(self, jobs: Sequence[StepJob]) -> Prepared:
        """See `jobs.Work`."""
        return Prepared.LAST

    def prepare(self, jobs: Sequence[StepJob]) -> list[Staged]:
        """See `jobs.Work`."""
        return []

    def run(self, prepared: Any, jobs: Sequence[StepJob]) -> Any:
        """See `jobs.Work`."""
        (job,) = jobs
        stream = job.stream
        if hasattr(stream.outputs, "__anext__"):
            return self._step_async(stream, closes=job.closes)
        token = context.current.set(stream.context)
        try:
            if job.closes:
                _close(stream.outputs)
                return [None]
            try:
                with stream.limit():
                    outputs = next(cast(Iterator[Any], stream.outputs))
            except StopIteration:
                return [END]
            return [_step(stream, outputs)]
        finally:
            context.current.reset(token)

    async def _step_async(self, stream: BatchStream, *, closes: bool) -> list[Any]:
        context.current.set(stream.context)
        outputs = cast(AsyncIterator[Any], stream.outputs)
        if closes:
            if (close := getattr(outputs, "aclose", None)) is not None:
                await close()
            return [None]
        try:
            with stream.limit():
                step = await anext(outputs)
        except StopAsyncIteration:
            return [END]
        return [_step(stream, step)]


def _step(stream: BatchStream, outputs: Any) -> list[Any]:
    return list(scatter(to_host_each(outputs), len(stream.members), stream.name))


def _closed(outcome: Outcome) -> None:
    """Nobody waits for it."""


def _close(outputs: Any) -> None:
    if (close := getattr(outputs, "close", None)) is not None:
        close()
