"""A group: entries that may run together, when they may leave, and the hold for the members of their last batch."""

from __future__ import annotations

import math
from collections.abc import Container, Hashable

from runner.batching.entries import Limits, Reason
from runner.batching.entry_heap import EntryHeap
from runner.batching.latency import LatencyModel


class Group:
    """Entries of one point that agree on a key. The policy writes most of the fields.

    Attributes:
        limits: what bounds its batches.
        size: inputs that wait.
        cost: theirs.
        ranked: what waits, by rank.
        offers: the same by the instant at which each came.
        deadlines: the same by deadline, where there is one.
        outstanding: batches that were taken and are not finished.
        expected: members of batches who have not come back.
        late: members who are not waited for.
        hold_until: the instant to which the others are.
        met: all members of the last batch have come back or have ended.
    """

    __slots__ = (
        "cost",
        "deadlines",
        "expected",
        "hold_until",
        "key",
        "late",
        "limits",
        "met",
        "offers",
        "outstanding",
        "point",
        "ranked",
        "size",
    )

    def __init__(self, point: int, key: Hashable, limits: Limits, waiting: Container[int]) -> None:
        """Make it empty.

        Args:
            point: the number of a method or coalescing point.
            key: what its entries agree on.
            limits: what bounds its batches.
            waiting: ids of the entries that wait, of all groups.
        """
        self.point = point
        self.key = key
        self.limits = limits
        self.size = 0
        self.cost = 0.0
        self.ranked = EntryHeap(waiting)
        self.offers = EntryHeap(waiting)
        self.deadlines = EntryHeap(waiting)
        self.outstanding = 0
        self.expected: set[int] = set()
        self.late: set[int] = set()
        self.hold_until = -math.inf
        self.met = False

    # Of one in which entries wait.

    @property
    def rank(self) -> float:
        """The smallest of its ranks."""
        first = self.ranked.first()
        assert first is not None
        return first[0]

    @property
    def oldest(self) -> float:
        """The instant at which the first of its entries came."""
        oldest = self.offers.smallest()
        assert oldest is not None
        return oldest

    def readiness(self, now: float, latency: LatencyModel) -> tuple[Reason | None, float]:
        """Say why it may leave now, or else when it may if nothing happens before."""
        limits = self.limits
        if limits.steps:
            return Reason.STEP, math.inf
        if self.size >= limits.max_size or self.cost >= self.most_cost(now, latency):
            return Reason.FULL, math.inf
        if limits.holds and self.expected - self.late:
            # Until the batch is finished nobody can come back, and an event will tell of that.
            until = math.inf if self.outstanding else self.hold_until
            if now < until:
                return None, until
        reason = Reason.IDLE
        if limits.max_delay > 0:
            until = self.oldest + limits.max_delay
            reason = Reason.DELAY
            if (deadline := self.deadlines.smallest()) is not None:
                latest_start = deadline - (latency.predict(self.point, self.cost) or 0.0)
                if latest_start < until:
                    until, reason = latest_start, Reason.DEADLINE
            if now < until:
                return None, until
        return reason, math.inf

    def most_cost(self, now: float, latency: LatencyModel) -> float:
        """Return what a batch may cost, by its limit and by what its objective leaves."""
        limits = self.limits
        if limits.slo is None:
            return limits.max_cost
        # Half of the objective at least: a queue that is late already is not mended by ever smaller batches.
        waited = now - self.oldest
        largest = latency.largest_within(self.point, max(limits.slo - waited, limits.slo / 2))
        return limits.max_cost if largest is None else min(limits.max_cost, largest)

    # Members.

    @property
    def awaits(self) -> bool:
        """True if a batch of it is under way, or a member is remembered."""
        return bool(self.outstanding or self.expected or self.late)

    def expect_no_more(self, member: int) -> None:
        """A member has come back, or has ended."""
        self.expected.discard(member)
        self.met = self.met or not (self.expected or self.outstanding)

    def tidy(self) -> None:
        """Forget entries that have left, if there are too many of them."""
        for heap in (self.ranked, self.offers, self.deadlines):
            heap.tidy(self.size)

    def __repr__(self) -> str:
        return f"<Group of point {self.point}: {self.size} waiting, {len(self.expected)} expected>"
