from __future__ import annotations

import pytest

from runner.grpc_protocol.status import CallFailure
from runner.grpc_protocol.timeout import parse_timeout


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
