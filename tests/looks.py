"""Two looks at a server, two seconds apart: what it has done by then."""

from __future__ import annotations

from dataclasses import replace

from runner.statistics import (
    EngineStatistics,
    Histogram,
    LaneStatistics,
    Latency,
    MethodStatistics,
    PointStatistics,
    ReplicaStatistics,
)

POINT = PointStatistics(
    name="embed",
    batches=10,
    entries=100,
    cost=100.0,
    seconds=1.0,
    device_seconds=0.0,
    reasons={"idle": 10},
    sizes={16: 10},
    longest_wait=0.1,
)
BEFORE = EngineStatistics(
    at=100.0,
    waiting_calls=0,
    waiting_bytes=0,
    tasks=3,
    cancel_latency_seconds=Latency(count=0, total=0.0, p50=0.0, p99=0.0, longest=0.0),
    lanes=(),
    replicas=(ReplicaStatistics(name=1, label="cuda:0", state="ready", running=0, busy_seconds=1.0),),
    methods=(MethodStatistics(name="embed", ended=100, failed=0, took=Histogram((100, *(0,) * 15), 0.05)),),
    points=(POINT,),
)
NOW = replace(
    BEFORE,
    at=102.0,
    waiting_calls=7,
    restarts_total=1,
    retries_total=4,
    cancellations_total=15,
    waiting_bytes=1234,
    cancel_latency_seconds=Latency(count=12, total=0.1, p50=0.002, p99=0.0312, longest=0.05),
    lanes=(LaneStatistics("batches of embed", 7, 0.25),),
    replicas=(ReplicaStatistics(name=1, label="cuda:0", state="ready", running=64, busy_seconds=2.5),),
    methods=(
        MethodStatistics(
            name="embed",
            ended=420,
            failed=20,
            refused=9,
            took=Histogram((100, 10, 0, 300, *(0,) * 11, 10), 904.5),
            waited=Histogram((420, *(0,) * 15), 0.25),
        ),
        MethodStatistics(name="new", ended=2, failed=0),
    ),
    points=(
        replace(POINT, batches=20, entries=420, seconds=2.5, reasons={"idle": 12, "full": 8}, sizes={16: 10, 32: 10}),
    ),
)
