"""Metrics as Prometheus reads them."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf

from runner.server.metrics import exposition
from runner.statistics import BOUNDS, Histogram, Latency
from tests.looks import NOW
from tests.server.test_http_app import RECORD

FULL = replace(
    NOW,
    poison_total=3,
    methods=NOW.methods[:1],
    cancel_latency_seconds=Latency(count=12, total=0.5, p50=0.002, p99=0.25, longest=0.5),
    points=(
        replace(
            NOW.points[0],
            name='a "point" \\ of\nlines',
            cost=420.0,
            device_seconds=2.0,
            oom_splits_total=5,
        ),
    ),
)

POINT = r'point="a \"point\" \\ of\nlines"'


def samples(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def histogram(name: str, buckets: dict[float, int], total: float) -> dict[str, float]:
    """The samples of the method `embed`, of buckets that are not empty."""
    count = sum(buckets.values())
    upto = {bound: sum(number for end, number in buckets.items() if end <= bound) for bound in BOUNDS}
    return {
        **{f'runner_{name}_bucket{{method="embed",le="{bound}"}}': below for bound, below in upto.items()},
        f'runner_{name}_bucket{{method="embed",le="+Inf"}}': count,
        f'runner_{name}_sum{{method="embed"}}': total,
        f'runner_{name}_count{{method="embed"}}': count,
    }


def test_every_figure_is_there():
    text = exposition(FULL)
    assert 'runner_call_seconds_bucket{method="embed",le="0.0025"} 110' in text.splitlines()
    assert samples(text) == {
        **histogram("call_seconds", {0.001: 100, 0.0025: 10, 0.01: 300, inf: 10}, 904.5),
        **histogram("call_wait_seconds", {0.001: 420}, 0.25),
        "runner_waiting_calls": 7,
        "runner_waiting_bytes": 1234,
        "runner_tasks": 3,
        "runner_restarts_total": 1,
        "runner_retries_total": 4,
        "runner_poison_calls_total": 3,
        "runner_cancellations_total": 15,
        'runner_cancel_latency_seconds{quantile="0.5"}': 0.002,
        'runner_cancel_latency_seconds{quantile="0.99"}': 0.25,
        "runner_cancel_latency_seconds_sum": 0.5,
        "runner_cancel_latency_seconds_count": 12,
        'runner_lane_waiting_calls{lane="batches of embed"}': 7,
        'runner_lane_oldest_seconds{lane="batches of embed"}': 0.25,
        'runner_calls_total{method="embed"}': 420,
        'runner_failed_calls_total{method="embed"}': 20,
        'runner_refused_calls_total{method="embed"}': 9,
        'runner_replica_running_calls{replica="1",device="cuda:0",state="ready"}': 64,
        'runner_replica_busy_seconds_total{replica="1",device="cuda:0"}': 2.5,
        f"runner_batch_seconds_total{{{POINT}}}": 2.5,
        f"runner_batch_device_seconds_total{{{POINT}}}": 2.0,
        f"runner_batch_cost_total{{{POINT}}}": 420,
        f'runner_batches_total{{{POINT},reason="full"}}': 8,
        f'runner_batches_total{{{POINT},reason="idle"}}': 12,
        f"runner_oom_splits_total{{{POINT}}}": 5,
        f'runner_batch_size_bucket{{{POINT},le="16"}}': 10,
        f'runner_batch_size_bucket{{{POINT},le="32"}}': 20,
        f'runner_batch_size_bucket{{{POINT},le="+Inf"}}': 20,
        f"runner_batch_size_sum{{{POINT}}}": 420,
        f"runner_batch_size_count{{{POINT}}}": 20,
    }


def test_every_line_is_of_the_format():
    name = r"runner_[a-z_]+"
    told = set[str]()
    for line in exposition(FULL).splitlines():
        if found := re.fullmatch(rf"# (HELP|TYPE) ({name}) .+", line):
            assert (found[1], found[2]) not in told
            told.add((found[1], found[2]))
        else:
            assert re.fullmatch(rf'{name}(\{{([a-z]+="(\\.|[^"\\])*",?)+\}})? [0-9.e+-]+', line), line


def test_a_stream_s_first_item_is_told_where_there_are_streams():
    method = replace(NOW.methods[0], first_item=Histogram((0, 2, *(0,) * 14), 0.004))
    told = samples(exposition(replace(FULL, methods=(method,))))
    assert told.items() >= histogram("first_item_seconds", {0.0025: 2}, 0.004).items()


def test_what_is_not_there_has_no_head():
    assert "lane" not in exposition(RECORD)
    assert "first_item" not in exposition(FULL)
