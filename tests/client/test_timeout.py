"""What a caller may say about a call's time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runner.client.timeout import read_limit, read_timeout


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(None, None), (2.5, 2.5), (3, 3.0), (np.float32(0.5), 0.5), (0, 0.0), (-1, -1.0), (math.inf, None), (1e300, None)],
)
def test_a_time_is_seconds_or_none(said, seconds):
    assert read_timeout(said) == seconds


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        ("5", TypeError, r"timeout: got '5', needs seconds, or None"),
        ([], TypeError, r"timeout: got \[\], needs seconds, or None"),
        (math.nan, ValueError, r"timeout: got nan, needs seconds, or None"),
    ],
)
def test_what_is_no_time(said, error, text):
    with pytest.raises(error, match=text):
        read_timeout(said)


def test_a_client_leaves_its_calls_some_time():
    assert read_limit(0.1) == 0.1
    assert read_limit(math.inf) is None
    with pytest.raises(ValueError, match="timeout: got 0, needs seconds above 0, or None"):
        read_limit(0)
