"""Several inputs of one request to a method whose calls run together: what is paid for a call is paid once for all.

Inputs that may share a batch are one entry of the coalescer, and run in one batch, with other calls' if there is room.
An input that cannot be read or that fails does so alone: the others do not learn of it.

Mostly the inputs of a request are alike, texts or arrays of one size, and so are their outputs. Then they are read
and written at once, and nothing is made for a single one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runner.batching.coalescer import Coalescer, Fate
from runner.batching.entries import Entry
from runner.context import CallContext
from runner.errors import CallError, Cancelled, InternalError
from runner.execution import failure
from runner.execution.batched import encoded
from runner.execution.journal import Mark
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import BatchedJob, Row, cost_of, key_of
from runner.execution.running import RunningCall
from runner.execution.times import UNTIMED, Times
from runner.wire import run
from runner.wire.call import AlikeCalls, Arguments
from runner.wire.payload import VIEW_FROM, Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class _Read(NamedTuple):
    """An input whose arguments are there."""

    place: int
    arguments: Mapping[str, Any]
    old_style: bool
    key: Hashable
    cost: float


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
        self._read: list[_Read] = []
        self._jobs: list[_ListJob] = []  # those that wait
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
        self._read.append(_Read(place, arguments, decoded.old_style, key, cost))

    def _offer(self) -> None:
        """Offer what can be run, in as few entries as the limits of a batch allow."""
        self._decoding = time.perf_counter() - self._began
        read, self._read = self._read, []
        groups: dict[Hashable, list[_Read]] = {}
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

    def _add(self, members: Sequence[_Read], cost: float) -> None:
        self._jobs.append(_ListJob(self, self._entry(members[0].key, cost, len(members)), members))

    def _offer_alike(self, alike: AlikeCalls) -> bool:
        """Offer inputs that are alike as one entry; False if they are too many, or not for one batch."""
        size = self._call.inputs
        if alike.name not in self._plan.names or size > min(self._coalescer.policy.most(self._point)):
            return False
        entry = self._entry(key_of(self._plan, alike.arguments), float(size), size)
        job = _AlikeJob(self, entry, alike)
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

    @property
    def call_id(self) -> int:
        """The call's number."""
        return self._call.id

    @property
    def context(self) -> CallContext:
        """Of the first input; it is cancelled when all are."""
        return self._call.context

    @property
    def contexts(self) -> Sequence[CallContext]:
        """Of all inputs, made when a method asks for one."""
        if not self._contexts:
            first = self._call.context
            contexts = [first, *(first.alike() for _ in range(1, self._call.inputs))]
            self._contexts = contexts
            if first.cancelled:  # the loop's thread may have been told meanwhile, and have found no others
                for context in contexts:
                    context.cancel()
        return self._contexts

    def finished(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of an input as a method takes them."""
        return self._method.codec.finish(dict(arguments))

    def delivered(self, job: _ListJob, results: Sequence[Any], fate: Fate) -> None:
        """A job has run: a result or an exception for each of its inputs."""
        began = time.perf_counter()
        if len(job.places) < self._call.inputs or not self._encode_at_once(job, results):
            ends = self._known_ends()
            for place, result in zip(job.places, results, strict=True):
                context = self._contexts[place] if self._contexts else self._call.context
                ends[place] = encoded(self._method, result, context, old_style=place in job.old_style)
        self._encoding += time.perf_counter() - began
        self._ended(job, fate.started, fate.seconds, fate.size)

    def refused(self, job: _ListJob, error: CallError) -> None:
        """A job was never run."""
        ends = self._known_ends()
        for place in job.places:
            ends[place] = error
        self._ended(job, time.monotonic(), 0.0, 0)

    def _known_ends(self) -> list[Payload | CallError]:
        if not self._ends:
            self._ends = [InternalError("nothing was said of this input")] * self._call.inputs
        return self._ends

    def _encode_at_once(self, job: _ListJob, results: Sequence[Any]) -> bool:
        told = any(context.usage is not None for context in self._contexts)
        if told or job.old_style or self._call.context.cancelled:
            return False
        try:
            self._outputs = self._method.codec.encode_outputs(results)
        except CallError:  # which each of them is told for itself
            return False
        return self._outputs is not None

    def _ended(self, job: _ListJob, started: float, seconds: float, size: int) -> None:
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


class _ListJob(BatchedJob):
    """Inputs of a list that run in one batch.

    Attributes:
        places: where they stand in the list.
        old_style: the places of those whose output has to be of that style.
    """

    __slots__ = ("_arguments", "_list", "old_style", "places")

    def __init__(self, owner: BatchedList, entry: Entry, members: Sequence[_Read]) -> None:
        self.entry = entry
        self.places: Sequence[int] = [each.place for each in members]
        self.old_style = frozenset([each.place for each in members if each.old_style])
        self._arguments = [each.arguments for each in members]
        self._list = owner

    @property
    def call_id(self) -> int:
        """See `BatchedJob`."""
        return self._list.call_id

    @property
    def context(self) -> CallContext:
        """See `BatchedJob`."""
        # What a method says of a single input is said in the context of the job.
        return self._list.context if len(self.places) > 1 else self._list.contexts[self.places[0]]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """See `BatchedJob`."""
        return self._arguments[0]

    @property
    def rows(self) -> Sequence[Row]:
        """See `BatchedJob`."""
        contexts = self._list.contexts
        pairs = zip(self.places, self._arguments, strict=True)
        return [Row(self, contexts[place], arguments) for place, arguments in pairs]

    def values(self, name: str) -> Sequence[Any]:
        """See `BatchedJob`."""
        return [arguments[name] for arguments in self._arguments]

    @property
    def wanted(self) -> bool:
        """See `Job`."""
        return not self._list.context.cancelled

    def deliver(self, result: Any, fate: Fate) -> None:
        """See `Job`."""
        if isinstance(result, BaseException) or len(self.places) == 1:
            result = [result] * len(self.places)
        self._list.delivered(self, result, fate)

    def refuse(self, error: CallError) -> None:
        """See `Job`."""
        self._list.refused(self, error)


class _AlikeJob(_ListJob):
    """All inputs of a list, which differ in one argument alone."""

    __slots__ = ("_alike",)

    def __init__(self, owner: BatchedList, entry: Entry, alike: AlikeCalls) -> None:
        self.entry = entry
        self.places = range(entry.size)
        self.old_style = frozenset[int]()
        self._alike = alike
        self._list = owner

    @property
    def arguments(self) -> Mapping[str, Any]:
        """See `BatchedJob`."""
        return self._alike.arguments

    @property
    def rows(self) -> Sequence[Row]:
        """See `BatchedJob`."""
        contexts, (arguments, name, values) = self._list.contexts, self._alike
        if hasattr(values, "dtype"):
            values = cast(Any, values).copy()
        pairs = zip(contexts, values, strict=True)
        return [Row(self, context, self._list.finished({**arguments, name: value})) for context, value in pairs]

    def values(self, name: str) -> Sequence[Any]:
        """See `BatchedJob`."""
        alike = self._alike
        return alike.values if name == alike.name else [alike.arguments[name]] * len(self.places)
