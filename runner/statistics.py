"""What a served model has done so far, and how much is where: frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BatchStatistics",
    "EngineStatistics",
    "Histogram",
    "IngressStatistics",
    "LaneStatistics",
    "Latency",
    "MethodStatistics",
    "PointStatistics",
    "ReplicaStatistics",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long something took, in seconds.

    Attributes:
        count: how often it has happened.
        total: all together.
        p50: of the last thousand or so, half took no longer.
        p99: of those, all but one in a hundred took no longer.
        longest: at most.
    """

    count: int
    total: float
    p50: float
    p99: float
    longest: float


BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
"""seconds. The buckets of a histogram end there, and one more holds what took longer."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took.

    Attributes:
        counts: how many there were in each bucket of `BOUNDS`, those that took just so long among them, and how many
            took longer than the last.
        total: seconds all together.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def since(self, before: Histogram) -> Histogram:
        """Return what has come to an earlier record."""
        counts = tuple(now - old for now, old in zip(self.counts, before.counts, strict=True))
        return Histogram(counts, self.total - before.total)

    def at_most(self, share: float) -> float | None:
        """Return the bound that so large a share of them did not exceed, infinity if there is none; None of nothing."""
        wanted = share * self.count
        if not wanted:
            return None
        below = 0
        for bound, count in zip(BOUNDS, self.counts, strict=False):
            below += count
            if below >= wanted:
                return bound
        return float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """One batch.

    Attributes:
        reason: why it left when it did: `idle`, `full`, `delay`, `deadline` or `turn`; `step` is the next step of
            streams that share a generator.
        size: entries in it.
        cost: what they cost together.
        key: eight hexadecimal digits that stand for what its entries agree on, their shared arguments and the kind of
            their arrays. Batches of one worker with the same key could have been one. The values are not told: they
            may be a caller's, and others read this.
        waited: seconds that its oldest entry had waited.
        seconds: how long it took.
        device_seconds: how long the device took, where it tells; otherwise 0.
    """

    reason: str
    size: int
    cost: float
    key: str
    waited: float
    seconds: float
    device_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PointStatistics:
    """What a batched method or a coalescing point has done.

    Attributes:
        name: its name.
        batches: how many have run.
        entries: how many calls or steps were in them.
        cost: what they cost together.
        seconds: how long they took together.
        device_seconds: how long the device took, where it tells.
        reasons: batches by why they left.
        sizes: batches by size: up to 1, 2, 4, 8, ...
        longest_wait: seconds that an entry has waited at most.
        oom_splits_total: runs that were split for want of a device's memory.
        latest: the last batch that was told of; workers tell of their batches ten times a second.
    """

    name: str
    batches: int
    entries: int
    cost: float
    seconds: float
    device_seconds: float
    reasons: Mapping[str, int]
    sizes: Mapping[int, int]
    longest_wait: float
    oom_splits_total: int = 0
    latest: BatchStatistics | None = None

    @property
    def mean_size(self) -> float:
        """Entries in a batch."""
        return self.entries / self.batches if self.batches else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStatistics:
    """Calls of one method.

    Attributes:
        name: its name.
        ended: that were admitted and have ended.
        failed: those of them whose callers got no whole answer: an error came, their worker died, the time was up, or
            the caller had left.
        refused: that were not admitted: `Overloaded`, `ModelFailing`, `Draining`, or too late.
        took: how long those that have ended were here, from their arrival to their end. A call with a list counts as
            often as it has inputs, here too.
        waited: how long of that they waited in the server for a worker.
        first_item: how long it was until the first item of their streams came, where one came.
    """

    name: str
    ended: int
    failed: int
    refused: int = 0
    took: Histogram = field(default_factory=Histogram)
    waited: Histogram = field(default_factory=Histogram)
    first_item: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatistics:
    """One replica now. `busy_seconds`: how long batches have run on it."""

    name: int
    label: str
    state: str
    running: int
    busy_seconds: float


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """What waits in the server before one lane: so many calls, the oldest for so many seconds."""

    lane: str
    waiting: int
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """How much is where, and what has been done so far.

    Attributes:
        at: instant of the record, monotonic seconds.
        waiting_calls: calls that wait in the server.
        waiting_bytes: bytes of their payloads.
        tasks: asyncio tasks in the server: what waits for calls, workers and connections.
        cancel_latency_seconds: of running calls that nobody waited for any more: from that instant (the caller left or
            cancelled, the deadline passed, the server drained) until the worker had stopped, and their room was free.
        restarts_total: workers that were started in the place of others: of dead, worn and superseded ones.
        retries_total: times that a call was given to another worker because its own was gone.
        poison_total: calls that ended with `PoisonCall`.
        cancellations_total: calls for which nobody waited any more, or whose deadline passed, in the queue or running.
    """

    at: float
    waiting_calls: int
    waiting_bytes: int
    tasks: int
    cancel_latency_seconds: Latency
    lanes: tuple[LaneStatistics, ...]
    replicas: tuple[ReplicaStatistics, ...]
    methods: tuple[MethodStatistics, ...]
    points: tuple[PointStatistics, ...]
    restarts_total: int = 0
    retries_total: int = 0
    poison_total: int = 0
    cancellations_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressStatistics:
    """How the ingress processes of a server are.

    Attributes:
        processes: that take connections.
        connections: that they have.
        restarts_total: processes that were started in the place of others.
    """

    processes: int
    connections: int
    restarts_total: int
