"""Records of what was done survive their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from runner.wire.statistics import TIMES_KEY, decode_statistics, decode_times, encode_statistics

counts, seconds, names = st.integers(0, 2**53), st.floats(0, 1e9), st.text(max_size=10)
buckets = st.lists(st.integers(0, 2**40), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1).filter(any)
histograms = st.just(Histogram()) | st.builds(Histogram, buckets.map(tuple), seconds)
batches = st.builds(
    BatchStatistics,
    reason=names,
    size=counts,
    cost=seconds,
    key=names,
    waited=seconds,
    seconds=seconds,
    device_seconds=seconds,
)
records = st.builds(
    EngineStatistics,
    at=seconds,
    waiting_calls=counts,
    waiting_bytes=counts,
    tasks=counts,
    restarts_total=counts,
    retries_total=counts,
    poison_total=counts,
    cancellations_total=counts,
    cancel_latency_seconds=st.builds(Latency, count=counts, total=seconds, p50=seconds, p99=seconds, longest=seconds),
    lanes=st.lists(st.builds(LaneStatistics, names, counts, seconds), max_size=3).map(tuple),
    replicas=st.lists(
        st.builds(ReplicaStatistics, name=counts, label=names, state=names, running=counts, busy_seconds=seconds),
        max_size=3,
    ).map(tuple),
    methods=st.lists(
        st.builds(
            MethodStatistics,
            name=names,
            ended=counts,
            failed=counts,
            refused=counts,
            took=histograms,
            waited=histograms,
            first_item=histograms,
        ),
        max_size=3,
    ).map(tuple),
    points=st.lists(
        st.builds(
            PointStatistics,
            name=names,
            batches=counts,
            entries=counts,
            cost=seconds,
            seconds=seconds,
            device_seconds=seconds,
            reasons=st.dictionaries(names, counts, max_size=3),
            sizes=st.dictionaries(st.integers(0, 2**31), counts, max_size=3),
            longest_wait=seconds,
            oom_splits_total=counts,
            latest=st.none() | batches,
        ),
        max_size=3,
    ).map(tuple),
)


@given(records)
def test_decode_is_the_inverse_of_encode(record: EngineStatistics) -> None:
    assert decode_statistics(encode_statistics(record)) == record


def test_garbage_is_told() -> None:
    with pytest.raises(InvalidInput, match="no statistics"):
        decode_statistics(b"\xff")


def test_times_are_read_as_far_as_they_are_times() -> None:
    assert decode_times({TIMES_KEY: "queue=0.120;run=4;batch=8", "other": "x=1"}) == {
        "queue": 0.12,
        "run": 4,
        "batch": 8,
    }
    assert decode_times({TIMES_KEY: "queue=soon;;=;run=1;x"}) == {"run": 1}
    assert decode_times({}) == {}


def test_a_histogram_with_other_buckets_is_left_out():
    message = pb.Statistics(methods=[pb.MethodStatistics(name="old", ended=1, took=pb.Histogram(counts=[1, 2]))])
    (method,) = decode_statistics(message.SerializeToString()).methods
    assert (method.ended, method.took) == (1, Histogram())
