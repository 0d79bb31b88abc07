from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.grpc_protocol.status import CallFailure
from runner.grpc_protocol.timeout import format_timeout, parse_timeout


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200.0), (b"3M", 180.0), (b"4S", 4.0), (b"5m", 5e-3), (b"6u", 6e-6), (b"7n", 7e-9), (b"00000000n", 0.0)],
)
def test_every_unit(value, seconds):
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"123456789n", "١S".encode(), b"1S\n", b"+1S"])
def test_what_is_no_time(value):
    with pytest.raises(CallFailure):
        parse_timeout(value)


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0.0, b"0n"),
        (-1.0, b"0n"),
        (0.05, b"50000000n"),
        (0.1, b"100000u"),
        (30.0, b"30000000u"),
        (86400.0, b"86400000m"),
        (1e12, b"99999999H"),
    ],
)
def test_the_finest_unit_that_fits(seconds, value):
    assert format_timeout(seconds) == value


@given(st.floats(0, 1e8))
def test_round_trip(seconds):
    again = parse_timeout(format_timeout(seconds))
    assert again == pytest.approx(seconds, rel=1e-5, abs=1e-9)
    assert again >= seconds - 1e-9
