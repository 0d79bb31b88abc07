"""What a served model has done, in the text format of Prometheus. Knows nothing of who asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from runner.statistics import BOUNDS, EngineStatistics, Histogram, IngressStatistics, Latency, PointStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(record: EngineStatistics, ingress: IngressStatistics | None = None) -> str:
    """Return the metrics of a record, one sample a line.

    Args:
        record: of the engine.
        ingress: of the ingress processes, if there are some.
    """
    page = _Page()
    page.gauge("waiting_calls", "Calls that wait in the server.", record.waiting_calls)
    page.gauge("waiting_bytes", "Bytes of their payloads.", record.waiting_bytes)
    page.gauge("tasks", "asyncio tasks in the server.", record.tasks)
    page.counter("restarts", "Workers that were started in the place of others.", record.restarts_total)
    page.counter("retries", "Times that a call was given to another worker.", record.retries_total)
    page.counter("poison_calls", "Calls that are given to no worker any more.", record.poison_total)
    page.counter("cancellations", "Calls for which nobody waited any more.", record.cancellations_total)
    page.latency("cancel_latency_seconds", "From then until a running call had stopped.", record.cancel_latency_seconds)
    lanes = [({"lane": each.lane}, each) for each in record.lanes]
    page.family("lane_waiting_calls", "gauge", "Calls that wait.", ((labels, each.waiting) for labels, each in lanes))
    page.family(
        "lane_oldest_seconds", "gauge", "How long the oldest has.", ((labels, each.oldest) for labels, each in lanes)
    )
    methods = [({"method": each.name}, each) for each in record.methods]
    page.family("calls_total", "counter", "Calls that ended.", ((labels, each.ended) for labels, each in methods))
    page.family(
        "failed_calls_total",
        "counter",
        "Those whose callers got no whole answer.",
        ((labels, each.failed) for labels, each in methods),
    )
    page.family(
        "refused_calls_total",
        "counter",
        "Calls that were not admitted.",
        ((labels, each.refused) for labels, each in methods),
    )
    page.durations(
        "call_seconds", "From a call's arrival to its end.", [(labels, each.took) for labels, each in methods]
    )
    page.durations(
        "call_wait_seconds",
        "How long of that it waited for a worker.",
        [(labels, each.waited) for labels, each in methods],
    )
    page.durations(
        "first_item_seconds",
        "From a call's arrival to the first item of its stream.",
        [(labels, each.first_item) for labels, each in methods if each.first_item.count],
    )
    replicas = [({"replica": str(each.name), "device": each.label}, each) for each in record.replicas]
    page.family(
        "replica_running_calls",
        "gauge",
        "Calls that run there.",
        (({**labels, "state": each.state}, each.running) for labels, each in replicas),
    )
    page.family(
        "replica_busy_seconds_total",
        "counter",
        "How long batches have run there.",
        ((labels, each.busy_seconds) for labels, each in replicas),
    )
    _points(page, [({"point": each.name}, each) for each in record.points])
    if ingress is not None:
        page.gauge("ingress_processes", "Ingress processes that take connections.", ingress.processes)
        page.gauge("ingress_connections", "Connections that they have.", ingress.connections)
        page.counter(
            "ingress_restarts", "Ingress processes that were started in the place of others.", ingress.restarts_total
        )
    return page.text()


def _points(page: _Page, points: list[tuple[dict[str, str], PointStatistics]]) -> None:
    page.family(
        "batch_seconds_total", "counter", "How long batches took.", ((labels, each.seconds) for labels, each in points)
    )
    page.family(
        "batch_device_seconds_total",
        "counter",
        "How long the device took, where it tells.",
        ((labels, each.device_seconds) for labels, each in points),
    )
    page.family("batch_cost_total", "counter", "What batches cost.", ((labels, each.cost) for labels, each in points))
    page.family(
        "batches_total",
        "counter",
        "Batches by why they left.",
        (
            ({**labels, "reason": reason}, count)
            for labels, each in points
            for reason, count in sorted(each.reasons.items())
        ),
    )
    page.family(
        "oom_splits_total",
        "counter",
        "Runs that were split for want of a device's memory.",
        ((labels, each.oom_splits_total) for labels, each in points),
    )
    page.histograms(
        "batch_size",
        "Calls or steps in a batch.",
        [(labels, sorted(each.sizes.items()), each.entries, each.batches) for labels, each in points],
    )


class _Page:
    """The lines so far. Every name begins with `runner_`."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self) -> str:
        """Return the page."""
        return "".join(f"{line}\n" for line in self._lines)

    def gauge(self, name: str, told: str, value: float) -> None:
        """Add what goes up and down."""
        self.family(name, "gauge", told, [({}, value)])

    def counter(self, name: str, told: str, value: float) -> None:
        """Add what only grows."""
        self.family(f"{name}_total", "counter", told, [({}, value)])

    def family(self, name: str, kind: str, told: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Add a metric with a sample for each set of labels; nothing without any."""
        samples = list(samples)
        if samples:
            self._head(name, kind, told)
            for labels, value in samples:
                self._sample(name, labels, value)

    def latency(self, name: str, told: str, latency: Latency) -> None:
        """Add a summary."""
        self._head(name, "summary", told)
        self._sample(name, {"quantile": "0.5"}, latency.p50)
        self._sample(name, {"quantile": "0.99"}, latency.p99)
        self._sample(f"{name}_sum", {}, latency.total)
        self._sample(f"{name}_count", {}, latency.count)

    def durations(self, name: str, told: str, samples: list[tuple[dict[str, str], Histogram]]) -> None:
        """Add a histogram for each set of labels, in seconds."""
        self.histograms(
            name,
            told,
            [(labels, zip(BOUNDS, each.counts, strict=False), each.total, each.count) for labels, each in samples],
        )

    def histograms(
        self,
        name: str,
        told: str,
        samples: Sequence[tuple[dict[str, str], Iterable[tuple[float, int]], float, int]],
    ) -> None:
        """Add a histogram for each set of labels, of how many were up to each bound, their sum and their count."""
        if samples:
            self._head(name, "histogram", told)
        for labels, buckets, total, count in samples:
            below = 0
            for bound, number in buckets:
                below += number
                self._sample(f"{name}_bucket", {**labels, "le": str(bound)}, below)
            self._sample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
            self._sample(f"{name}_sum", labels, total)
            self._sample(f"{name}_count", labels, count)

    def _head(self, name: str, kind: str, told: str) -> None:
        self._lines += [f"# HELP runner_{name} {told}", f"# TYPE runner_{name} {kind}"]

    def _sample(self, name: str, labels: Mapping[str, str], value: float) -> None:
        told = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        self._lines.append(f"runner_{name}{{{told}}} {value!r}" if told else f"runner_{name} {value!r}")
