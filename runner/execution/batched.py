"""A call of a method whose calls run together: decoded on the loop, run in a batch, encoded on the loop.

So the decoding of the next batch and the encoding of the last go on while the device works.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from runner import context
from runner.batch import Stacking, scatter
from runner.batching.coalescer import Coalescer
from runner.batching.device import Prepared
from runner.batching.entries import Entry
from runner.batching.jobs import Fate
from runner.batching.memory import free_memory, out_of_memory
from runner.batching.padding import MostlyPadding
from runner.batching.results import to_host_each
from runner.batching.staging import Staged, Stager
from runner.errors import CallError, Cancelled
from runner.execution import failure
from runner.execution.journal import Mark
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import BatchedJob, Inputs, cost_of, key_of
from runner.execution.running import Gate, RunningCall
from runner.execution.times import Times
from runner.wire.call import Arguments
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


_WORTH_A_THREAD: Final = 256 * 1024
"""bytes of a batch from which on another thread brings them together while the device is busy. To wake it takes as long
as to copy so many. Below, the loop's thread does it: where the device's would, it would let go of the interpreter to
copy, just when the loop's wants it to tell of the last batch, and have it back 100 µs later."""


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


class BatchedWork:
    """What batches of a method do; see `jobs.Work`."""

    def __init__(self, method: LoadedMethod, stager: Stager, executor: Executor) -> None:
        assert method.plan is not None
        self._executor = executor
        self._method = method
        self._plan: BatchPlan = method.plan
        self._stager = stager
        self.exhausted: int | None = None
        self.splits = 0
        self._columns = self._plan.columns
        self._arrays = [name for name, stacking, _ in self._columns if stacking is not Stacking.LIST]

    def preparation(self, jobs: Sequence[BatchedJob]) -> Prepared:
        """See `jobs.Work`."""
        if not self._arrays:
            return Prepared.LAST
        if self._stager.copies or self._plan.padding is not None:
            return Prepared.MEANWHILE
        arguments = jobs[0].arguments
        each = sum([arguments[name].nbytes for name in self._arrays])
        return Prepared.MEANWHILE if each * len(Inputs(jobs)) >= _WORTH_A_THREAD else Prepared.AT_ONCE

    def prepare(self, jobs: Sequence[BatchedJob]) -> list[Staged] | None:
        """See `jobs.Work`. None: the arrays are too different in shape to be one batch."""
        return self._prepared(Inputs(jobs))

    def _prepared(self, inputs: Inputs) -> list[Staged] | None:
        size = self._plan.filled(len(inputs))
        try:
            return [
                self._stager.stage(inputs.values(name, size), stacking, padding)
                for name, stacking, padding in self._columns
            ]
        except MostlyPadding:
            return None

    def run(self, prepared: Sequence[Staged] | None, jobs: Sequence[BatchedJob]) -> Any:
        """See `jobs.Work`."""
        inputs = Inputs(jobs)
        results = self._run(prepared, inputs)
        try:
            if self._method.asynchronous and inspect.isawaitable(results):
                return self._per_job(results, inputs)
            return inputs.per_job(results)
        finally:
            del results  # exceptions in it have tracebacks that lead to this frame

    async def _per_job(self, results: Awaitable[Sequence[Any]], inputs: Inputs) -> list[Any]:
        return inputs.per_job(await results)

    def _run(self, prepared: Sequence[Staged] | None, inputs: Inputs) -> Any:
        """Return a result for each input, or what gives them once it is awaited."""
        if prepared is None:  # nothing has run, so that this does no harm
            return self._in_halves_awaited(inputs) if self._method.asynchronous else self._in_halves(inputs)
        for calls in inputs.calls_by_job:
            self._executor.journal.mark_all(calls, Mark.RUNS)
        token = context.current.set(inputs.context(self._plan.filled(len(inputs))))
        try:
            with self._limit(inputs):
                result = self._call(prepared, inputs)
            if self._method.asynchronous and inspect.isawaitable(result):
                return self._awaited(result, inputs)
            return self._results(result, inputs)
        except BaseException as exc:
            if self._may_split(exc, len(inputs)):
                return self._in_halves(inputs)
            raise
        finally:
            context.current.reset(token)

    def _limit(self, inputs: Inputs) -> AbstractContextManager[None]:
        return self._executor.limit(self._method, *(inputs.calls if self._method.limited else ()))

    def _may_split(self, exc: BaseException, size: int) -> bool:
        """Tell whether to run a batch that raised again, in halves. Keeps count of memory that was too little."""
        exhausted = out_of_memory(exc)
        if exhausted:
            free_memory(exc)
            self.exhausted = size if self.exhausted is None else min(self.exhausted, size)
        verdict = isinstance(exc, CallError | asyncio.CancelledError)  # on the batch as a whole
        split = self._plan.repeatable and size > 1 and not verdict
        self.splits += exhausted and split
        return split

    def _call(self, prepared: Sequence[Staged], inputs: Inputs) -> Any:
        plan = self._plan
        arguments = dict(inputs.arguments)
        for name, staged in zip(plan.names, prepared, strict=True):
            arguments[name] = staged.take()
            if staged.mask is not None and plan.padding is not None and plan.padding.mask is not None:
                arguments[plan.padding.mask] = staged.mask
        return self._method.function(**arguments)

    def _results(self, result: Any, inputs: Inputs) -> Sequence[Any]:
        size = len(inputs)
        host = to_host_each(result, arrays=self._method.codec.gives_arrays)
        return scatter(host, self._plan.filled(size), self._method.name)[:size]

    async def _awaited(self, result: Awaitable[Any], inputs: Inputs) -> Sequence[Any]:
        context.current.set(inputs.context(self._plan.filled(len(inputs))))  # a task's own, nothing to put back
        try:
            with self._limit(inputs):
                returned = await result
            return self._results(returned, inputs)
        except BaseException as exc:
            if not self._may_split(exc, len(inputs)):
                raise
        return await self._in_halves_awaited(inputs)

    async def _in_halves_awaited(self, inputs: Inputs) -> list[Any]:
        """See `_in_halves`."""
        results: list[Any] = []
        try:
            for half in inputs.halves():
                try:
                    # Not `+=`, which an array takes for a sum.
                    results.extend(await self._run(self._prepared(half), half))
                except BaseException as exc:
                    if isinstance(exc, asyncio.CancelledError):
                        raise
                    results += [exc] * len(half)
            return results
        finally:
            del results  # as in `run`

    def _in_halves(self, inputs: Inputs) -> list[Any]:
        """Run a batch that raised again, in halves: at the end only the guilty ones have an exception."""
        results: list[Any] = []
        try:
            for half in inputs.halves():
                try:
                    results.extend(self._run(self._prepared(half), half))  # not `+=`, as above
                except BaseException as exc:
                    results += [exc] * len(half)
            return results
        finally:
            del results  # as in `run`
