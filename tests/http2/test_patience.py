from __future__ import annotations

import pytest

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits
from runner.http2.patience import Patience

LIMITS = Limits(resets_burst=3, resets_per_second=1.0, idle_frames_burst=5, idle_frames_per_second=1.0)


def test_resets_beyond_the_burst_end_it_and_time_brings_more():
    patience = Patience(LIMITS, 0.0)
    for _ in range(3):
        patience.stream_reset(0.0)
    patience.stream_reset(1.0)
    with pytest.raises(ConnectionFailure, match="too many streams reset") as ended:
        patience.stream_reset(1.5)
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_idle_frames_beyond_the_burst_end_it():
    patience = Patience(LIMITS, 0.0)
    for _ in range(5):
        patience.idle_frame(0.0, work=0)
    with pytest.raises(ConnectionFailure, match="do nothing") as ended:
        patience.idle_frame(0.0, work=0)
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_work_allows_for_idle_frames_once():
    patience = Patience(LIMITS, 0.0)
    for _ in range(5):
        patience.idle_frame(0.0, work=0)
    for _ in range(4):
        patience.idle_frame(0.0, work=1)
    with pytest.raises(ConnectionFailure):
        patience.idle_frame(0.0, work=1)
