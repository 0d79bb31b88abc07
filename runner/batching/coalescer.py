"""The thin shell around the policy: owns the clock, one timer, and what waits.

Events come in, `Policy.decide` says what runs, and the device gets it. Lives on the worker's loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.batching.device import Device, Outcome, Prepared, Run
from runner.batching.entries import Batch, Limits, Room
from runner.batching.jobs import Fate, Job, Work
from runner.batching.policy import Policy
from runner.batching.tally import BatchRan
from runner.errors import Cancelled, DeadlineExceeded
from runner.sturdy_log import SturdyLog

logger = SturdyLog("runner.batching")

QUIET_TURNS = 4
"""Turns of the loop without news before an idle device gets a batch of a coalescing point. Callers that come back a
turn or three late, as one does that awaits something else between two steps, then share it. Calls from the server come
as they come: for them one turn is enough, which brings together what one read brought. Nor is there anything to wait
for once all members of the last batch are back: they may have other things to do meanwhile, such as telling of it."""

_MOST_TURNS = 16
"""Turns after which the batch leaves, whatever the news."""

_IN_HAND = 2
"""Batches on a device: the one that runs, and the next."""


@dataclass(slots=True)
class _Point:
    name: str
    work: Work
    holds: bool


class Coalescer:
    """See the module's text. One for each device."""

    def __init__(self, device: Device, observe: Callable[[BatchRan], None]) -> None:
        """Make a coalescer without points.

        Args:
            device: runs the batches.
            observe: told of each batch that has run.
        """
        self._loop = asyncio.get_running_loop()
        self.device = device
        self.policy = Policy()
        self._observe = observe
        self._points: list[_Point] = []
        self._jobs: dict[int, Job] = {}
        self._last_entry = 0
        self._in_hand = 0
        self._looking = False
        self._quiet = 0
        self._turns = 0
        self._wanted = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, name: str, limits: Limits, work: Work) -> int:
        """Add a point; return its number."""
        self._points.append(_Point(name, work, limits.holds))
        if limits.holds:
            self._wanted = QUIET_TURNS
        return self.policy.add(limits)

    def next_entry(self) -> int:
        """Return an id for an entry."""
        self._last_entry += 1
        return self._last_entry

    def offer(self, job: Job, since: float | None = None) -> None:
        """Have a job run in one of the next batches of its point. `since`: when it began to wait; None: now."""
        job.offered = time.monotonic() if since is None else since
        self._jobs[job.entry.id] = job
        self.policy.offer(job.entry, job.offered)
        self._quiet = 0
        if not self._looking:
            self._look()

    def withdraw(self, job: Job) -> bool:
        """Take a job back; False if it is too late for that."""
        if self._jobs.pop(job.entry.id, None) is None:
            return False
        self.policy.withdraw(job.entry.id)
        self._look()  # the batch of others may have waited for this one
        return True

    def ended(self, member: int) -> None:
        """A call is over: nobody waits for its next step."""
        self.policy.ended(member)
        if self._jobs:
            self._look()

    def close(self) -> None:
        """Forget what waits; nobody is told."""
        if self._timer is not None:
            self._timer.cancel()
        jobs, self._jobs = list(self._jobs.values()), {}
        for job in jobs:
            job.forgotten(self.device)

    def _look(self) -> None:
        """Decide soon: not now, since more may be on its way in this very turn."""
        if not self._looking and self._in_hand < _IN_HAND:
            self._looking = True
            self._quiet = self._turns = 0
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._quiet += 1
        self._turns += 1
        if self._quiet <= self._wanted and self._turns < _MOST_TURNS and not self.policy.met:
            self._loop.call_soon(self._turn)
        else:
            self._looking = False
            self._decide(time.monotonic())

    def _decide(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._in_hand < _IN_HAND:
            decision = self.policy.decide(now, Room.NEXT if self._in_hand else Room.IDLE)
            for entry in decision.expired:
                if (job := self._jobs.pop(entry, None)) is not None:
                    job.refuse(DeadlineExceeded("the deadline passed while the call waited for a batch"))
            for batch in decision.batches:
                self._hand_over(batch)
            if not decision.batches:
                if decision.wake_at is not None:
                    self._wake_at(decision.wake_at, now)
                return

    def _wake_at(self, instant: float, now: float) -> None:
        # Whole milliseconds, rounded up: the loop's timers know no others, and would fire up to half of one early.
        delay = -(-max(instant - now, 0.0) * 1000 // 1) / 1000
        self._timer = self._loop.call_later(delay, self._woken, instant)

    def _woken(self, instant: float) -> None:
        self._timer = None
        self._decide(max(time.monotonic(), instant))

    def _hand_over(self, batch: Batch) -> None:
        point = self._points[batch.point]
        jobs: list[Job] = []
        for entry in batch.entries:
            if (job := self._jobs.pop(entry, None)) is None:
                continue
            if batch.last and entry == batch.entries[-1]:
                job, self._jobs[entry] = job.divided(batch.last)
            if job.wanted:
                jobs.append(job)
            else:
                job.refuse(Cancelled("nobody waits for it any more"))
        if not jobs:
            self.policy.dropped(batch, time.monotonic())
            return
        self._in_hand += 1
        crew = _Crew(point.work, jobs)

        def done(outcome: Outcome) -> None:
            self._done(batch, point, crew, outcome)

        prepared = point.work.preparation(jobs)
        if prepared is Prepared.MEANWHILE and self._in_hand == 1:
            prepared = Prepared.LAST  # the device is idle, and has the time itself
        self.device.submit(
            Run(prepare=crew.prepare, run=crew.run, done=done, prepared=prepared, wanted=lambda: crew.wanted)
        )

    def _done(self, batch: Batch, point: _Point, crew: _Crew, outcome: Outcome) -> None:
        self._in_hand -= 1
        if not point.holds and not self._looking:
            self._decide(time.monotonic())  # first the device, then the callers of what it has done
        jobs = crew.jobs
        size = sum([job.entry.size for job in jobs])
        fate = Fate(outcome.started, outcome.seconds, size)
        for job in crew.left:
            job.deliver(Cancelled("the call was cancelled"), fate)
        if not jobs:
            self.policy.dropped(batch, time.monotonic())
            if self._jobs:
                self._look()
            return
        if crew.left:
            batch = batch._replace(cost=sum(job.entry.cost for job in jobs), size=size)
        if outcome.error is None:
            for job, result in zip(jobs, outcome.results, strict=True):
                job.deliver(result, fate)
        else:
            for job in jobs:
                job.deliver(outcome.error, fate)
        self._learn(batch, point, size)
        self.policy.finished(batch, outcome.seconds, time.monotonic())
        waited = outcome.started - min(job.offered for job in jobs)
        self._observe(
            BatchRan(
                point.name,
                batch.reason.value,
                size,
                batch.cost,
                waited,
                outcome.seconds,
                outcome.device_seconds,
                point.work.splits,
                batch.key,
            )
        )
        point.work.splits = 0
        if self._jobs:
            self._look()

    def _learn(self, batch: Batch, point: _Point, size: int) -> None:
        """Have no more batches of a size for which there was too little memory."""
        exhausted, point.work.exhausted = point.work.exhausted, None
        if exhausted is None or exhausted < 2:
            return
        limits = self.policy.limits(batch.point)
        if batch.cost == size:
            limits = replace(limits, max_size=min(limits.max_size, exhausted // 2))
        else:  # entries are of different weight, and their number says little
            limits = replace(limits, max_cost=min(limits.max_cost, batch.cost * exhausted / size / 2))
        self.policy.resize(batch.point, limits)
        logger.warning(
            "%s: the device had too little memory for %d at once; from now on batches have at most %d entries, and "
            "cost at most %g",
            point.name,
            exhausted,
            limits.max_size,
            limits.max_cost,
        )

    def __repr__(self) -> str:
        return f"<Coalescer {len(self._jobs)} waiting, {self._in_hand} in hand>"


class _Crew:
    """The jobs of a batch, from its forming to its end. Those who leave while it is in hand are not run.

    Touched by one thread at a time: the one that prepares it, the device's until the batch has run, then the loop's.
    """

    def __init__(self, work: Work, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.left: list[Job] = []
        self._work = work

    def prepare(self) -> Any:
        """See `Run`."""
        self._part()
        return self._work.prepare(self.jobs) if self.jobs else None

    @property
    def wanted(self) -> bool:
        """True while somebody waits for one of its results."""
        return any(job.wanted for job in self.jobs)

    def run(self, prepared: Any) -> Any:
        """See `Run`."""
        if self._part() and self.jobs:
            prepared = self._work.prepare(self.jobs)
        return self._work.run(prepared, self.jobs) if self.jobs else []

    def _part(self) -> bool:
        """Part from those whose callers have gone; return whether there were any."""
        parted = [job.parted() for job in self.jobs]
        left = [gone for _, gone in parted if gone is not None]
        if not left:
            return False
        self.left += left
        self.jobs = [wanted for wanted, _ in parted if wanted is not None]
        return True
