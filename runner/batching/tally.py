"""Counting batches, to be told of now and then: a message for each batch would cost more than some batches do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from runner.statistics import BatchStatistics


class BatchRan(NamedTuple):
    """What there is to say about a batch that has run."""

    name: str
    """The method's or the coalescing point's."""
    reason: str
    size: int
    cost: float
    waited: float
    """Seconds that its oldest entry had waited."""
    seconds: float
    device_seconds: float
    oom_splits: int = 0
    """Runs that were split for want of memory."""
    key: Hashable = None
    """What its entries agreed on."""

    def record(self) -> BatchStatistics:
        """Return what may be told of it. Python hashes texts differently in each process: the key gives none away."""
        return BatchStatistics(
            reason=self.reason,
            size=self.size,
            cost=self.cost,
            key=f"{hash(self.key) & 0xFFFFFFFF:08x}",
            waited=self.waited,
            seconds=self.seconds,
            device_seconds=self.device_seconds,
        )


class Count:
    """Batches of one name, added up."""

    __slots__ = (
        "batches",
        "cost",
        "device_seconds",
        "entries",
        "latest",
        "longest_wait",
        "oom_splits",
        "reasons",
        "seconds",
        "sizes",
    )

    def __init__(self) -> None:
        self.batches = 0
        self.entries = 0
        self.cost = 0.0
        self.seconds = 0.0
        self.device_seconds = 0.0
        self.longest_wait = 0.0
        self.oom_splits = 0
        self.reasons: Counter[str] = Counter()
        self.latest: BatchRan | None = None
        self.sizes: Counter[int] = Counter()  # by the largest size counted there: 1, 2, 4, 8, ...

    def add(self, ran: BatchRan) -> None:
        """Count one batch."""
        self.batches += 1
        self.entries += ran.size
        self.cost += ran.cost
        self.seconds += ran.seconds
        self.device_seconds += ran.device_seconds
        self.oom_splits += ran.oom_splits
        self.longest_wait = max(self.longest_wait, ran.waited)
        self.latest = ran
        self.reasons[ran.reason] += 1
        self.sizes[1 << max(ran.size - 1, 0).bit_length()] += 1
