"""The value of `grpc-timeout`: at most eight digits, and a unit."""

from __future__ import annotations

from runner.grpc_protocol.status import CallFailure, StatusCode

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_DIGITS = 8


def parse_timeout(value: bytes) -> float:
    """Return the seconds that a client gives its call.

    Raises:
        CallFailure: it is no time.
    """
    digits, seconds = value[:-1], _SECONDS.get(value[-1:])
    if seconds is None or not digits.isdigit() or len(digits) > _DIGITS:
        raise CallFailure(StatusCode.INTERNAL, f"grpc-timeout: {value.decode('latin-1')!r} is no time")
    return int(digits) * seconds
