"""What a batch of a method does: values are brought together, the function is called, and each input gets its result.

A batch that raised is run again in halves, where that does no harm, until only the guilty inputs have failed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from runner import context
from runner.batch import Stacking, scatter
from runner.batching.device import Prepared
from runner.batching.memory import free_memory, out_of_memory
from runner.batching.padding import MostlyPadding
from runner.batching.results import to_host_each
from runner.batching.staging import Staged, Stager
from runner.errors import CallError
from runner.execution.journal import Mark
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import BatchedJob, Inputs

if TYPE_CHECKING:
    from runner.execution.executor import Executor

_WORTH_A_THREAD: Final = 256 * 1024
"""bytes of a batch from which on another thread brings them together while the device is busy. To wake it takes as long
as to copy so many. Below, the loop's thread does it: where the device's would, it would let go of the interpreter to
copy, just when the loop's wants it to tell of the last batch, and have it back 100 µs later."""


class BatchWork:
    """The batches of one method; see `jobs.Work`."""

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
