"""Counting what a model does, for the records of `runner.statistics`."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from runner.batching.tally import Count
from runner.dispatch.dispatcher import ReplicaId, Statistics
from runner.engine.calls import EngineCall, Request
from runner.engine.replica import Replica
from runner.statistics import (
    BOUNDS,
    BatchStatistics,
    EngineStatistics,
    Histogram,
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


class _Durations:
    """A histogram that is being filled."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float, times: int) -> None:
        """Something took so long, so many times."""
        self.counts[bisect_left(BOUNDS, seconds)] += times
        self.total += seconds * times

    def record(self) -> Histogram:
        """Return what there is."""
        return Histogram(tuple(self.counts), self.total)


class _Calls:
    """Those of one method."""

    __slots__ = ("ended", "failed", "first_item", "refused", "took", "waited")

    def __init__(self) -> None:
        self.ended = self.failed = self.refused = 0
        self.took = _Durations()
        self.waited = _Durations()
        self.first_item = _Durations()

    def end(self, call: EngineCall, now: float) -> None:
        """One that was admitted has ended, well or not."""
        inputs = call.request.inputs
        self.ended += inputs
        self.took.add(now - call.arrived, inputs)
        self.waited.add(call.sent - call.arrived, inputs)
        if call.first_item is not None:
            self.first_item.add(call.first_item - call.arrived, inputs)

    def record(self, name: str) -> MethodStatistics:
        """Return what there is."""
        return MethodStatistics(
            name=name,
            ended=self.ended,
            failed=self.failed,
            refused=self.refused,
            took=self.took.record(),
            waited=self.waited.record(),
            first_item=self.first_item.record(),
        )


class Observed:
    """Counts. Owned by the traffic, written on its loop."""

    def __init__(self) -> None:
        self._retries = 0
        self._poison = 0
        self._cancellations = 0
        self._points: dict[str, Count] = {}
        self._latest: dict[str, BatchStatistics | None] = {}
        self._calls: defaultdict[str, _Calls] = defaultdict(_Calls)  # by method
        self._busy: dict[ReplicaId, float] = {}
        self._cancels = 0
        self._cancel_seconds = 0.0
        self._longest_cancel = 0.0
        self._recent_cancels: deque[float] = deque(maxlen=_RECENT)

    # What becomes of calls; each input of a call counts as one.

    def refused(self, request: Request) -> None:
        """A call was not admitted."""
        self._calls[request.method.name].refused += request.inputs

    def abandoned(self, call: EngineCall) -> None:
        """Nobody waits for a call any more."""
        self._cancellations += call.request.inputs

    def retried(self, call: EngineCall) -> None:
        """A call whose worker is gone goes to another one."""
        self._retries += call.request.inputs

    def poisoned(self) -> None:
        """A call goes to no worker any more."""
        self._poison += 1

    def call_over(self, call: EngineCall, failed: int, now: float) -> None:
        """A worker has said its last word about a call, of whose inputs so many ended badly."""
        counts = self._calls[call.request.method.name]
        counts.end(call, now)
        if call.abandoned is not None:
            self._stopped(call.request, now - call.abandoned)
        else:
            counts.failed += failed

    def calls_over(self, calls: Sequence[EngineCall], now: float) -> None:
        """The same of calls of one input each, which all ended well."""
        for call in calls:
            self._calls[call.request.method.name].end(call, now)
            if call.abandoned is not None:
                self._stopped(call.request, now - call.abandoned)

    def ended_badly(self, call: EngineCall, now: float) -> None:
        """A call has ended of which no worker says the last word."""
        counts = self._calls[call.request.method.name]
        counts.end(call, now)
        counts.failed += call.request.inputs

    def _stopped(self, request: Request, seconds: float) -> None:
        """A call that was told to stop has given its room back, so much later. However it ended, nobody has heard."""
        self._calls[request.method.name].failed += request.inputs
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
            retries_total=self._retries,
            poison_total=self._poison,
            cancellations_total=self._cancellations,
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
            methods=tuple(calls.record(name) for name, calls in sorted(self._calls.items())),
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
