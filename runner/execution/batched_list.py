"""Several inputs of one request to a method whose calls run together: what is paid for a call is paid once for all.

Inputs that may share a batch are one entry of the coalescer, and run in one batch, with other calls' if there is room.
An input that cannot be read or that fails does so alone: the others do not learn of it.

Mostly the inputs of a request are alike, texts or arrays of one size, and so are their outputs. Then they are read
and written at once, and nothing is made for a single one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.batching.coalescer import Coalescer
from runner.batching.entries import Entry
from runner.batching.jobs import Fate
from runner.context import CallContext
from runner.errors import CallError, Cancelled, InternalError
from runner.execution import failure
from runner.execution.batched import encoded
from runner.execution.journal import Mark
from runner.execution.list_jobs import AlikeJob, ListJob, ReadInput
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import Row, cost_of, key_of, key_of_alike
from runner.execution.running import RunningCall
from runner.execution.times import UNTIMED, Times
from runner.wire import run
from runner.wire.call import AlikeCalls, Arguments
from runner.wire.payload import VIEW_FROM, Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class BatchedList(RunningCall):
    """The inputs of one request. Everything here happens on the loop's thread, but for images that are opened."""

    def __init__(
        self, executor: Executor, method: LoadedMethod, call: Incoming, coalescer: Coalescer, point: int
    ) -> None:
        super().__init__(executor, method, call, None, None)
        assert method.plan is not None
        self._plan: BatchPlan = method.plan
        self._coalescer = coalescer
        self._point = point
        self._contexts: list[CallContext] = []
        self._ends: list[Payload | CallError] = []
        self._outputs: Payload | None = None  # of all inputs, where they were written at once
        self._left = call.inputs  # inputs that have not ended
        self._read: list[ReadInput] = []
        self._jobs: list[ListJob] = []  # those that wait
        self._preparing: asyncio.Task[None] | None = None
        self._began = 0.0
        self._decoding = 0.0  # what is fetched included
        self._encoding = 0.0
        self._times = UNTIMED  # of the part that took the longest

    def start(self) -> None:
        """See `RunningCall`."""
        self._began = time.perf_counter()
        codec, call = self._method.codec, self._call
        if not call.params and self._plan.cost is None and self._plan.padding is None:
            alike = codec.decode_alike(call.payload, call.inputs)
            if alike is not None and self._offer_alike(alike):
                return
        try:
            inputs = run.split(call.payload, call.inputs)
        except CallError as exc:
            self._executor.fail(call.id, exc)
            return
        self._known_ends()
        missing: list[tuple[int, Arguments]] = []
        for place, payload in enumerate(inputs):
            try:
                arguments = codec.decode_call(payload, call.params)
                if codec.opens_images or codec.unresolved(arguments):
                    missing.append((place, arguments))
                else:
                    self._take(place, arguments, codec.finish(arguments))
            except Exception as exc:
                self._unread(place, exc)
        if missing:
            self._preparing = self._executor.spawn(self._prepare(missing), self._prepared)
        else:
            self._offer()

    def cancel(self) -> None:
        """See `RunningCall`. What runs already runs on, for the others of the batch; its results are dropped."""
        super().cancel()
        for context in self._contexts:
            context.cancel()
        if self._preparing is not None:
            self._preparing.cancel()
        for job in tuple(self._jobs):
            if self._coalescer.withdraw(job):
                job.refuse(Cancelled("the call was cancelled"))

    async def _prepare(self, missing: Sequence[tuple[int, Arguments]]) -> None:
        """Fetch what is missing, and open images in threads: they take milliseconds each."""
        await asyncio.gather(*(self._prepare_one(place, arguments) for place, arguments in missing))

    async def _prepare_one(self, place: int, arguments: Arguments) -> None:
        codec, journal = self._method.codec, self._executor.journal
        try:
            if missing := codec.unresolved(arguments):
                await self._executor.fetcher.resolve(missing)
            journal.mark(self._call.id, Mark.TOUCHED)  # an image may be what kills a decoder
            finished = await self._executor.loop.run_in_executor(self._executor.openers, codec.finish, arguments)
            self._take(place, arguments, finished)
        except Exception as exc:
            self._unread(place, exc)

    def _prepared(self, task: asyncio.Task[None]) -> None:
        self._preparing = None
        if task.cancelled():
            self._executor.fail(self._call.id, Cancelled("the call was cancelled"))
        elif (exc := task.exception()) is not None:
            self._executor.fail(self._call.id, failure.of_ours(exc, "reading the arguments"))
        else:
            self._executor.journal.mark(self._call.id, Mark.NONE)
            self._offer()

    def _unread(self, place: int, exc: BaseException) -> None:
        self._ends[place] = failure.of_ours(exc, "reading the arguments")
        self._left -= 1

    def _take(self, place: int, decoded: Arguments, arguments: Mapping[str, Any]) -> None:
        key, cost = key_of(self._plan, arguments), cost_of(self._method, arguments)
        self._read.append(ReadInput(place, arguments, decoded.old_style, key, cost))

    def _offer(self) -> None:
        """Offer what can be run, in as few entries as the limits of a batch allow."""
        self._decoding = time.perf_counter() - self._began
        read, self._read = self._read, []
        groups: dict[Hashable, list[ReadInput]] = {}
        for each in read:
            groups.setdefault(each.key, []).append(each)
        most, most_cost = self._coalescer.policy.most(self._point)
        for members in groups.values():
            first, cost = 0, 0.0
            for position, each in enumerate(members):
                if position > first and (position - first >= most or cost + each.cost > most_cost):
                    self._add(members[first:position], cost)
                    first, cost = position, 0.0
                cost += each.cost
            self._add(members[first:], cost)
        if not self._left:
            self._end()
        for job in tuple(self._jobs):
            self._coalescer.offer(job)

    def _add(self, members: Sequence[ReadInput], cost: float) -> None:
        self._jobs.append(ListJob(self, self._entry(members[0].key, cost, len(members)), members))

    def _offer_alike(self, alike: AlikeCalls) -> bool:
        """Offer inputs that are alike as one entry; False if they are too many, or not for one batch."""
        size = self._call.inputs
        if alike.name not in self._plan.names or size > min(self._coalescer.policy.most(self._point)):
            return False
        entry = self._entry(key_of_alike(self._plan, alike), float(size), size)
        job = AlikeJob(self, entry, alike)
        self._jobs.append(job)
        self._decoding = time.perf_counter() - self._began
        self._coalescer.offer(job)
        return True

    def _entry(self, key: Hashable, cost: float, size: int) -> Entry:
        return Entry(
            id=self._coalescer.next_entry(),
            point=self._point,
            key=key,
            cost=cost,
            priority=self._plan.priority,
            deadline=self._call.context.deadline,
            member=self._call.id,
            size=size,
        )

    # As its jobs say.

    def calls(self, job: ListJob) -> Sequence[int]:
        """See `ListOwner`."""
        return (self._call.id,)

    def contexts(self, job: ListJob) -> Sequence[CallContext]:
        """See `ListOwner`."""
        # What a method says of a single input is said in the context of the job.
        return (self._call.context if len(job.places) > 1 else self._all_contexts()[job.places[0]],)

    def gone(self, job: ListJob) -> Collection[int]:
        """See `ListOwner`."""
        return job.places if self._call.context.cancelled else ()

    def divided(self, job: ListJob, rest: ListJob) -> None:
        """See `ListOwner`. The inputs of a list run together."""

    def rows(self, job: ListJob, arguments: Iterable[Mapping[str, Any]]) -> Sequence[Row]:
        """See `ListOwner`."""
        contexts, call_id = self._all_contexts(), self._call.id
        pairs = zip(job.places, arguments, strict=True)
        return [Row(job, call_id, contexts[place], given) for place, given in pairs]

    def _all_contexts(self) -> Sequence[CallContext]:
        """Return those of all inputs, made when a method asks for one."""
        if not self._contexts:
            first = self._call.context
            contexts = [first, *(first.alike() for _ in range(1, self._call.inputs))]
            self._contexts = contexts
            if first.cancelled:  # the loop's thread may have been told meanwhile, and have found no others
                for context in contexts:
                    context.cancel()
        return self._contexts

    def finished(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `ListOwner`."""
        return self._method.codec.finish(dict(arguments))

    def delivered(self, job: ListJob, results: Sequence[Any], fate: Fate) -> None:
        """See `ListOwner`."""
        began = time.perf_counter()
        if len(job.places) < self._call.inputs or not self._encode_at_once(job, results):
            ends = self._known_ends()
            for place, result in zip(job.places, results, strict=True):
                context = self._contexts[place] if self._contexts else self._call.context
                ends[place] = encoded(self._method, result, context, old_style=place in job.old_style)
        self._encoding += time.perf_counter() - began
        self._ended(job, fate.started, fate.seconds, fate.size)

    def refused(self, job: ListJob, error: CallError) -> None:
        """See `ListOwner`."""
        ends = self._known_ends()
        for place in job.places:
            ends[place] = error
        self._ended(job, time.monotonic(), 0.0, 0)

    def _known_ends(self) -> list[Payload | CallError]:
        if not self._ends:
            self._ends = [InternalError("nothing was said of this input")] * self._call.inputs
        return self._ends

    def _encode_at_once(self, job: ListJob, results: Sequence[Any]) -> bool:
        told = any(context.usage is not None for context in self._contexts)
        if told or job.old_style or self._call.context.cancelled:
            return False
        try:
            self._outputs = self._method.codec.encode_outputs(results)
        except CallError:  # which each of them is told for itself
            return False
        return self._outputs is not None

    def _ended(self, job: ListJob, started: float, seconds: float, size: int) -> None:
        self._jobs.remove(job)
        self._left -= len(job.places)
        times = Times(max(started - job.offered, 0.0), self._decoding, seconds, 0.0, size)
        if times.queued + times.run >= self._times.queued + self._times.run:
            self._times = times
        if not self._left:
            self._end()

    def _end(self) -> None:
        call, times = self._call, self._times._replace(decode=self._decoding, encode=self._encoding)
        if self._outputs is not None:
            self._executor.end(call.id, self._outputs, times)
            return
        ends, self._ends = self._ends, []  # tracebacks of errors lead here, and must not lead to them again
        outputs = [end for end in ends if not isinstance(end, CallError)]
        if len(outputs) < len(ends):
            self._executor.mixed(call.id, ends, times)
            return
        pieces = run.pieces(run.OUTPUT_TAG, outputs)
        join = self._method.codec.join if sum(map(len, outputs)) >= VIEW_FROM else b"".join
        self._executor.end(call.id, join(pieces), times)
