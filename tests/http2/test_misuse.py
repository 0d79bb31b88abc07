from __future__ import annotations

import pytest

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits
from runner.http2.misuse import Misuse

LIMITS = Limits(resets_burst=3, resets_per_second=1.0, idle_frames_burst=5, idle_frames_per_second=1.0)


def test_resets_beyond_the_burst_end_it_and_time_brings_more():
    misuse = Misuse(LIMITS, 0.0)
    for _ in range(3):
        misuse.stream_reset(0.0)
    misuse.stream_reset(1.0)
    with pytest.raises(ConnectionFailure, match="too many streams reset") as ended:
        misuse.stream_reset(1.5)
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_idle_frames_beyond_the_burst_end_it():
    misuse = Misuse(LIMITS, 0.0)
    for _ in range(5):
        misuse.idle_frame(0.0, work=0)
    with pytest.raises(ConnectionFailure, match="do nothing") as ended:
        misuse.idle_frame(0.0, work=0)
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_work_allows_for_idle_frames_once():
    misuse = Misuse(LIMITS, 0.0)
    for _ in range(5):
        misuse.idle_frame(0.0, work=0)
    for _ in range(4):
        misuse.idle_frame(0.0, work=1)
    with pytest.raises(ConnectionFailure):
        misuse.idle_frame(0.0, work=1)
