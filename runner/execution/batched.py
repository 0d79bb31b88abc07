"""A call of a method whose calls run together: decoded on the loop, run in a batch, encoded on the loop.

So the decoding of the next batch and the encoding of the last go on while the device works.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner import context
from runner.batching.coalescer import Coalescer
from runner.batching.entries import Entry
from runner.batching.jobs import Fate
from runner.errors import CallError, Cancelled
from runner.execution import failure
from runner.execution.journal import Mark
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import BatchedJob, cost_of, key_of
from runner.execution.running import Gate, RunningCall
from runner.execution.times import Times
from runner.wire.call import Arguments
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class BatchedCall(RunningCall, BatchedJob):
    """One call in a batch. Everything here happens on the loop's thread, but for images that are opened."""

    def __init__(
        self,
        executor: Executor,
        method: LoadedMethod,
        call: Incoming,
        coalescer: Coalescer,
        point: int,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(executor, method, call, None, gate)
        assert method.plan is not None
        self._arguments: dict[str, Any] = {}
        self._plan: BatchPlan = method.plan
        self._coalescer = coalescer
        self._point = point
        self._preparing: asyncio.Task[None] | None = None
        self._waiting = False
        self._began = 0.0
        self._decoding = 0.0  # what is fetched included

    @property
    def context(self) -> context.CallContext:
        """What the method sees of this call."""
        return self._call.context

    @property
    def arguments(self) -> Mapping[str, Any]:
        """See `BatchedJob`."""
        return self._arguments

    def start(self) -> None:
        """See `RunningCall`."""
        self._began = time.perf_counter()
        codec = self._method.codec
        try:
            arguments = codec.decode_call(self._call.payload, self._call.params)
            if codec.opens_images or codec.unresolved(arguments):
                self._preparing = self._executor.spawn(self._prepare(arguments), self._prepared)
                return
            self._offer(arguments, codec.finish(arguments))
        except Exception as exc:
            self._unread(exc)

    def cancel(self) -> None:
        """See `RunningCall`. What runs already runs on, for the others of the batch; its result is dropped."""
        super().cancel()
        if self._preparing is not None:
            self._preparing.cancel()
        elif self._waiting and self._coalescer.withdraw(self):
            self.refuse(Cancelled("the call was cancelled"))

    async def _prepare(self, arguments: Arguments) -> None:
        """Fetch what is missing, and open images in a thread: they take milliseconds each."""
        codec = self._method.codec
        if missing := codec.unresolved(arguments):
            await self._executor.fetcher.resolve(missing)
        journal = self._executor.journal
        journal.mark(self._call.id, Mark.TOUCHED)  # an image may be what kills a decoder
        finished = await asyncio.get_running_loop().run_in_executor(self._executor.openers, codec.finish, arguments)
        journal.mark(self._call.id, Mark.NONE)
        self._offer(arguments, finished)

    def _prepared(self, task: asyncio.Task[None]) -> None:
        self._preparing = None
        exc = asyncio.CancelledError() if task.cancelled() else task.exception()
        if exc is not None:
            self._unread(exc)

    def _unread(self, exc: BaseException) -> None:
        times = Times(decode=time.perf_counter() - self._began)
        self._executor.fail(self._call.id, failure.of_ours(exc, "reading the arguments"), times)

    def _offer(self, decoded: Arguments, arguments: dict[str, object]) -> None:
        plan, call = self._plan, self._call
        self._old_style = decoded.old_style
        self._arguments = arguments
        self.entry = Entry(
            id=self._coalescer.next_entry(),
            point=self._point,
            key=key_of(plan, arguments),
            cost=1.0 if plan.cost is None else cost_of(self._method, arguments),
            priority=plan.priority,
            deadline=call.context.deadline,
            member=call.id,
        )
        self._waiting = True
        self._decoding = time.perf_counter() - self._began
        self._coalescer.offer(self)

    # As a job.

    @property
    def call_id(self) -> int:
        """The call's number."""
        return self._call.id

    @property
    def calls(self) -> Sequence[int]:
        """See `BatchedJob`."""
        return (self._call.id,)

    @property
    def contexts(self) -> Sequence[context.CallContext]:
        """See `BatchedJob`."""
        return (self._call.context,)

    @property
    def wanted(self) -> bool:
        """See `Job`."""
        return not self._call.context.cancelled

    def deliver(self, result: Any, fate: Fate) -> None:
        """See `Job`."""
        call, method = self._call, self._method
        began = time.perf_counter()
        self._waiting = False
        output = encoded(method, result, call.context, old_style=self._old_style)
        if isinstance(output, CallError):
            self._executor.fail(call.id, output, self._times(fate.started, fate.seconds, size=fate.size))
            return
        times = self._times(fate.started, fate.seconds, time.perf_counter() - began, fate.size)
        self._executor.end(call.id, output, times)

    def _times(self, started: float, run: float, encode: float = 0.0, size: int = 0) -> Times:
        return Times(max(started - self.offered, 0.0), self._decoding, run, encode, size)

    def refuse(self, error: CallError) -> None:
        """See `Job`."""
        self._waiting = False
        self._executor.fail(self._call.id, error, self._times(time.monotonic(), 0.0))


def encoded(method: LoadedMethod, result: Any, call: context.CallContext, *, old_style: bool) -> Payload | CallError:
    """Return the output of an input from its result, or what its caller is told in its place."""
    if call.cancelled:
        return Cancelled("the call was cancelled")
    if isinstance(result, BaseException):
        # Not raised again: its traceback would lead to frames that know it, and all of them to the batch.
        return failure.of_model(result, method.name, cancelled=False, request_id=call.request_id)
    try:
        return method.codec.encode_output(result, call.take_usage(), old_style=old_style)
    except BaseException as exc:
        return failure.of_model(exc, method.name, cancelled=call.cancelled, request_id=call.request_id)
