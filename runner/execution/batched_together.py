"""Calls of a batched method that came in one message: read at once, run in one batch where they may, each for itself.

Each can be cancelled, has a deadline and ends as if it had come alone. What is rare is left to `BatchedCall`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.batching.coalescer import Coalescer
from runner.batching.entries import Entry
from runner.batching.jobs import Fate
from runner.context import CallContext
from runner.errors import CallError, Cancelled, DeadlineExceeded
from runner.execution import failure
from runner.execution.batched import encoded
from runner.execution.contexts import Contexts
from runner.execution.list_jobs import AlikeJob, ListJob, ReadInput
from runner.execution.method import BatchPlan, LoadedMethod
from runner.execution.rows import Row, key_of, key_of_alike
from runner.execution.running import RunningCall
from runner.execution.times import Times
from runner.wire import run
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class BatchedTogether(RunningCall):
    """The calls of one message; their numbers follow each other. Everything here happens on the loop's thread."""

    def __init__(
        self,
        executor: Executor,
        method: LoadedMethod,
        first: Incoming,
        contexts: Contexts,
        coalescer: Coalescer,
        point: int,
    ) -> None:
        """Take calls.

        Args:
            executor: told how each ends.
            method: of all.
            first: the first call; its payload is the run of all inputs, and its context stands for those of each.
            contexts: of each.
            coalescer: forms the batches.
            point: the method's there.
        """
        super().__init__(executor, method, first, None, None)
        assert method.plan is not None
        self._plan: BatchPlan = method.plan
        self._coalescer = coalescer
        self._point = point
        self._contexts = contexts
        self._jobs: list[ListJob] = []  # those that have not ended
        self._decoding = 0.0

    def start(self) -> None:
        """See `RunningCall`."""
        began = time.perf_counter()
        codec, payload, size = self._method.codec, self._call.payload, len(self._contexts)
        limits = self._coalescer.policy.limits(self._point)
        if self._plan.padding is None and size <= min(limits.max_size, limits.max_cost):
            alike = codec.decode_alike(payload, size)
            if alike is not None and alike.name in self._plan.names:
                entry = self._entry(key_of_alike(self._plan, alike), range(size))
                self._decoding = time.perf_counter() - began
                self._offer(AlikeJob(self, entry, alike))
                return
        groups: dict[Hashable, list[ReadInput]] = {}
        for place, each in enumerate(run.split(payload, size)):
            try:
                decoded = codec.decode_call(each)
                arguments = decoded if decoded.old_style else codec.finish(decoded)
                key = None if decoded.old_style else key_of(self._plan, arguments)
            except Exception as exc:
                times = Times(decode=time.perf_counter() - began)
                self._executor.fail(self._call.id + place, failure.of_ours(exc, "reading the arguments"), times)
                continue
            if decoded.old_style:  # of which something may have to be fetched
                alone = self._call._replace(
                    id=self._call.id + place, payload=each, context=self._contexts[place], inputs=1
                )
                self._executor.start(alone)
                continue
            groups.setdefault(key, []).append(ReadInput(place, arguments, False, key, 1.0))
        self._decoding = time.perf_counter() - began
        most = int(min(limits.max_size, max(limits.max_cost, 1.0)))
        for members in groups.values():
            for first in range(0, len(members), most):
                self._offer_members(members[first : first + most])

    def cancel(self) -> None:
        """See `RunningCall`: all of them."""
        for number in range(self._call.id, self._call.id + len(self._contexts)):
            self.cancel_one(number)

    def cancel_one(self, call_id: int) -> None:
        """See `RunningCall`. One that waits leaves its entry to the others."""
        place = call_id - self._call.id
        self._contexts.cancel(place)
        for job in self._jobs:
            if place in job.places:
                if self._coalescer.withdraw(job):
                    self._leave(job, {place: Cancelled("the call was cancelled")}, time.monotonic())
                return

    def _entry(self, key: Hashable, places: Sequence[int]) -> Entry:
        return Entry(
            id=self._coalescer.next_entry(),
            point=self._point,
            key=key,
            cost=float(len(places)),
            priority=self._plan.priority,
            deadline=self._contexts.earliest(places),
            size=len(places),
            divisible=True,
        )

    def _offer_members(self, members: Sequence[ReadInput], since: float | None = None) -> None:
        self._offer(ListJob(self, self._entry(members[0].key, [each.place for each in members]), members), since)

    def _offer(self, job: ListJob, since: float | None = None) -> None:
        self._jobs.append(job)
        self._coalescer.offer(job, since)

    def _leave(self, job: ListJob, errors: Mapping[int, CallError], now: float) -> None:
        """End some of a job that does not wait any more, and have the others wait on."""
        self._over(job)
        members = [each for each in job.members() if each.place not in errors]
        for place, error in errors.items():
            times = Times(max(now - job.offered, 0.0), self._decoding)
            self._executor.fail(self._call.id + place, error, times)
        if members:
            self._offer_members(members, since=job.offered)

    def _over(self, job: ListJob) -> None:
        """A job has ended. One that has parted on the way to the device is not known here."""
        if job in self._jobs:
            self._jobs.remove(job)

    # As its jobs say (see `ListOwner`).

    def calls(self, job: ListJob) -> Sequence[int]:
        """See `ListOwner`."""
        first, places = self._call.id, job.places
        if isinstance(places, range):
            return range(first + places.start, first + places.stop)
        return [first + place for place in places]

    def contexts(self, job: ListJob) -> Collection[CallContext]:
        """See `ListOwner`."""
        return self._contexts.of(job.places)

    def gone(self, job: ListJob) -> Collection[int]:
        """See `ListOwner`."""
        gone = self._contexts.gone
        return [place for place in job.places if place in gone] if gone else ()

    def divided(self, job: ListJob, rest: ListJob) -> None:
        """See `ListOwner`."""
        self._jobs[self._jobs.index(job)] = rest

    def rows(self, job: ListJob, arguments: Iterable[Mapping[str, Any]]) -> Sequence[Row]:
        """See `ListOwner`."""
        pairs = zip(job.places, arguments, strict=True)
        return [Row(job, self._call.id + place, self._contexts[place], given) for place, given in pairs]

    def finished(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `ListOwner`."""
        return self._method.codec.finish(dict(arguments))

    def delivered(self, job: ListJob, results: Sequence[Any], fate: Fate) -> None:
        """See `ListOwner`."""
        self._over(job)
        began = time.perf_counter()
        queued = max(fate.started - job.offered, 0.0)
        outputs = self._encoded_at_once(job, results)
        if outputs is not None:
            times = Times(queued, self._decoding, fate.seconds, time.perf_counter() - began, fate.size)
            self._executor.end_together(self._call.id + job.places[0], len(job.places), outputs, times)
            return
        for place, result in zip(job.places, results, strict=True):
            began = time.perf_counter()
            end = encoded(self._method, result, self._contexts[place], old_style=False)
            times = Times(queued, self._decoding, fate.seconds, time.perf_counter() - began, fate.size)
            if isinstance(end, CallError):
                self._executor.fail(self._call.id + place, end, times)
            else:
                self._executor.end(self._call.id + place, end, times)

    def refused(self, job: ListJob, error: CallError) -> None:
        """See `ListOwner`. Of those whose deadlines differ, only some may be out of time.

        None of them is where the deadline was that of one who went to the device before them.
        """
        now = time.monotonic()
        if isinstance(error, DeadlineExceeded):
            # The coalescer may have been woken a little before the instant that it is woken for.
            reached = now if job.entry.deadline is None else max(now, job.entry.deadline)
            deadlines = ((place, self._contexts.deadline(place)) for place in job.places)
            late = [place for place, deadline in deadlines if deadline is not None and deadline <= reached]
        else:
            late = list(job.places)
        self._leave(job, dict.fromkeys(late, error), now)

    def _encoded_at_once(self, job: ListJob, results: Sequence[Any]) -> Payload | None:
        """Return the run of a job's outputs, None if they cannot be told or written at once."""
        places = job.places
        if len(places) < 2 or places[-1] - places[0] >= len(places):
            return None
        if self.gone(job) or any(context.usage is not None for context in self._contexts.made(places)):
            return None
        try:
            return self._method.codec.encode_outputs(results)
        except CallError:  # which each of them is told for itself
            return None
