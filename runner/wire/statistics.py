"""The records of what a served model has done, as bytes and back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from runner.errors import InvalidInput
from runner.statistics import (
    BOUNDS,
    BatchStatistics,
    EngineStatistics,
    Histogram,
    LaneStatistics,
    Latency,
    MethodStatistics,
    PointStatistics,
    ReplicaStatistics,
)
from runner.wire.pb import inference_pb2 as pb

TIMES_KEY: Final = "runner-times"
"""The trailing metadata in which our own service says where a call's time went: `name=milliseconds`, with semicolons
between."""


def decode_times(trailers: Mapping[str, str]) -> dict[str, float]:
    """Return where a call's time went, in milliseconds by name, as the metadata behind its reply says; or nothing."""
    pairs = (part.partition("=") for part in trailers.get(TIMES_KEY, "").split(";"))
    times: dict[str, float] = {}
    for name, _, number in pairs:
        with contextlib.suppress(ValueError):  # what a server of another kind says there
            times[name] = float(number)
    return times


def encode_statistics(record: EngineStatistics) -> bytes:
    """Return the message for a record."""
    message = pb.Statistics(
        at=record.at,
        waiting_calls=record.waiting_calls,
        waiting_bytes=record.waiting_bytes,
        tasks=record.tasks,
        cancel_latency_seconds=_encoded(record.cancel_latency_seconds),
        restarts_total=record.restarts_total,
        retries_total=record.retries_total,
        poison_total=record.poison_total,
        cancellations_total=record.cancellations_total,
    )
    for lane in record.lanes:
        message.lanes.add(lane=lane.lane, waiting=lane.waiting, oldest_seconds=lane.oldest)
    for replica in record.replicas:
        message.replicas.add(
            name=replica.name,
            label=replica.label,
            state=replica.state,
            running=replica.running,
            busy_seconds=replica.busy_seconds,
        )
    for method in record.methods:
        message.methods.add(
            name=method.name,
            ended=method.ended,
            failed=method.failed,
            refused=method.refused,
            took=_encoded_histogram(method.took),
            waited=_encoded_histogram(method.waited),
            first_item=_encoded_histogram(method.first_item),
        )
    for point in record.points:
        message.points.add(
            name=point.name,
            batches=point.batches,
            entries=point.entries,
            cost=point.cost,
            seconds=point.seconds,
            device_seconds=point.device_seconds,
            reasons=point.reasons,
            sizes=point.sizes,
            longest_wait_seconds=point.longest_wait,
            oom_splits_total=point.oom_splits_total,
            latest=None if point.latest is None else _encoded_batch(point.latest),
        )
    return message.SerializeToString()


def decode_statistics(data: bytes) -> EngineStatistics:
    """Return the record in a message.

    Raises:
        InvalidInput: the bytes are no such message.
    """
    try:
        message = pb.Statistics.FromString(data)
    except DecodeError:
        raise InvalidInput("these bytes are no statistics") from None
    return EngineStatistics(
        at=message.at,
        waiting_calls=message.waiting_calls,
        waiting_bytes=message.waiting_bytes,
        tasks=message.tasks,
        cancel_latency_seconds=_latency(message.cancel_latency_seconds),
        restarts_total=message.restarts_total,
        retries_total=message.retries_total,
        poison_total=message.poison_total,
        cancellations_total=message.cancellations_total,
        lanes=tuple(LaneStatistics(lane.lane, lane.waiting, lane.oldest_seconds) for lane in message.lanes),
        replicas=tuple(
            ReplicaStatistics(
                name=replica.name,
                label=replica.label,
                state=replica.state,
                running=replica.running,
                busy_seconds=replica.busy_seconds,
            )
            for replica in message.replicas
        ),
        methods=tuple(
            MethodStatistics(
                name=method.name,
                ended=method.ended,
                failed=method.failed,
                refused=method.refused,
                took=_histogram(method.took),
                waited=_histogram(method.waited),
                first_item=_histogram(method.first_item),
            )
            for method in message.methods
        ),
        points=tuple(
            PointStatistics(
                name=point.name,
                batches=point.batches,
                entries=point.entries,
                cost=point.cost,
                seconds=point.seconds,
                device_seconds=point.device_seconds,
                reasons=dict(point.reasons),
                sizes=dict(sorted(point.sizes.items())),
                longest_wait=point.longest_wait_seconds,
                oom_splits_total=point.oom_splits_total,
                latest=_batch(point.latest) if point.HasField("latest") else None,
            )
            for point in message.points
        ),
    )


def _encoded(latency: Latency) -> pb.Latency:
    return pb.Latency(
        count=latency.count, total=latency.total, p50=latency.p50, p99=latency.p99, longest=latency.longest
    )


def _latency(message: pb.Latency) -> Latency:
    return Latency(count=message.count, total=message.total, p50=message.p50, p99=message.p99, longest=message.longest)


def _encoded_histogram(histogram: Histogram) -> pb.Histogram | None:
    return pb.Histogram(counts=histogram.counts, total_seconds=histogram.total) if histogram.count else None


def _histogram(message: pb.Histogram) -> Histogram:
    # One of another length is of another version, which counts otherwise.
    if len(message.counts) != len(BOUNDS) + 1:
        return Histogram()
    return Histogram(tuple(message.counts), message.total_seconds)


def _encoded_batch(batch: BatchStatistics) -> pb.BatchStatistics:
    return pb.BatchStatistics(
        reason=batch.reason,
        size=batch.size,
        cost=batch.cost,
        key=batch.key,
        waited_seconds=batch.waited,
        seconds=batch.seconds,
        device_seconds=batch.device_seconds,
    )


def _batch(message: pb.BatchStatistics) -> BatchStatistics:
    return BatchStatistics(
        reason=message.reason,
        size=message.size,
        cost=message.cost,
        key=message.key,
        waited=message.waited_seconds,
        seconds=message.seconds,
        device_seconds=message.device_seconds,
    )
