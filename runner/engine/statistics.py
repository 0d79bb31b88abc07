"""Counting what a model does, for the records of `runner.statistics`."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from runner.batching.tally import Count
from runner.dispatch.dispatcher import ReplicaId, Statistics
from runner.engine.replica import Replica
from runner.statistics import (
    BatchStatistics,
    EngineStatistics,
    Latency,
    MethodStatistics,
    PointStatistics,
    ReplicaStatistics,
)
from runner.workers.messages import Ran

_MOST_NAMES: Final = 256
"""Names of points and methods that are counted apart. A model has a handful; this only bounds what is kept."""

_RECENT: Final = 1024
"""Cancels whose latencies are kept, for the quantiles: enough for a p99 with ten beyond it."""


class Observed:
    """Counts. Owned by the traffic, written on its loop."""

    def __init__(self) -> None:
        self.retries = 0  # calls that were given to another worker
        self.poison = 0  # calls that are given to none any more
        self.cancellations = 0  # calls for which nobody waited any more
        self._points: dict[str, Count] = {}
        self._latest: dict[str, BatchStatistics | None] = {}
        self._ended: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._busy: dict[ReplicaId, float] = {}
        self._cancels = 0
        self._cancel_seconds = 0.0
        self._longest_cancel = 0.0
        self._recent_cancels: deque[float] = deque(maxlen=_RECENT)

    def calls_over(self, method: str, calls: int, failed: int) -> None:
        """Calls of a method have ended, so many of them badly."""
        self._ended[method] += calls
        if failed:
            self._failed[method] += failed

    def refused(self, method: str, calls: int) -> None:
        """Calls of a method were not admitted."""
        self._refused[method] += calls

    def cancelled(self, seconds: float) -> None:
        """A call that was told to stop has given its room back, so many seconds later."""
        self._cancels += 1
        self._cancel_seconds += seconds
        self._longest_cancel = max(self._longest_cancel, seconds)
        self._recent_cancels.append(seconds)

    def _cancel_latency(self) -> Latency:
        recent = sorted(self._recent_cancels)
        return Latency(
            count=self._cancels,
            total=self._cancel_seconds,
            p50=_quantile(recent, 0.5),
            p99=_quantile(recent, 0.99),
            longest=self._longest_cancel,
        )

    def batch_ran(self, replica: ReplicaId, ran: Ran) -> None:
        """Batches have run."""
        point = self._points.get(ran.name)
        if point is None:
            if len(self._points) >= _MOST_NAMES:
                return
            point = self._points[ran.name] = Count()
        point.batches += ran.batches
        point.entries += ran.entries
        point.cost += ran.cost
        point.seconds += ran.seconds
        point.device_seconds += ran.device_seconds
        point.oom_splits += ran.oom_splits
        point.longest_wait = max(point.longest_wait, ran.longest_wait)
        self._latest[ran.name] = ran.latest
        point.reasons.update(ran.reasons)
        point.sizes.update({int(size): number for size, number in ran.sizes.items()})
        self._busy[replica] = self._busy.get(replica, 0.0) + ran.seconds

    def statistics(
        self, now: float, dispatch: Statistics, replicas: Iterable[Replica], restarts: int
    ) -> EngineStatistics:
        """Return a record of this instant."""
        present = list(replicas)
        self._busy = {replica.name: self._busy.get(replica.name, 0.0) for replica in present}
        return EngineStatistics(
            at=now,
            waiting_calls=dispatch.waiting_calls,
            waiting_bytes=dispatch.waiting_bytes,
            tasks=len(asyncio.all_tasks()),
            cancel_latency_seconds=self._cancel_latency(),
            restarts_total=restarts,
            retries_total=self.retries,
            poison_total=self.poison,
            cancellations_total=self.cancellations,
            lanes=dispatch.lanes,
            replicas=tuple(
                ReplicaStatistics(
                    name=replica.name,
                    label=replica.label,
                    state=replica.state.value,
                    running=dispatch.running.get(replica.name, 0),
                    busy_seconds=self._busy[replica.name],
                )
                for replica in present
            ),
            methods=tuple(
                MethodStatistics(
                    name=name, ended=self._ended[name], failed=self._failed[name], refused=self._refused[name]
                )
                for name in sorted(self._ended.keys() | self._refused.keys())
            ),
            points=tuple(
                PointStatistics(
                    name=name,
                    batches=point.batches,
                    entries=point.entries,
                    cost=point.cost,
                    seconds=point.seconds,
                    device_seconds=point.device_seconds,
                    reasons=dict(point.reasons),
                    sizes=dict(sorted(point.sizes.items())),
                    longest_wait=point.longest_wait,
                    oom_splits_total=point.oom_splits,
                    latest=self._latest[name],
                )
                for name, point in sorted(self._points.items())
            ),
        )


def _quantile(ordered: list[float], share: float) -> float:
    """Return the smallest of the values that so large a share of them does not exceed; 0 of none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
