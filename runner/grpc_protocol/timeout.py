"""The value of `grpc-timeout`: at most eight digits, and a unit."""

from __future__ import annotations

from runner.grpc_protocol.status import CallFailure, StatusCode

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_NANOSECONDS = ((b"n", 1), (b"u", 1000), (b"m", 10**6), (b"S", 10**9), (b"M", 60 * 10**9), (b"H", 3600 * 10**9))
_DIGITS = 8
_LIMIT = 10**_DIGITS


def parse_timeout(value: bytes) -> float:
    """Return the seconds that a client gives its call.

    Raises:
        CallFailure: it is no time.
    """
    digits, seconds = value[:-1], _SECONDS.get(value[-1:])
    if seconds is None or not digits.isdigit() or len(digits) > _DIGITS:
        raise CallFailure(StatusCode.INTERNAL, f"grpc-timeout: {value.decode('latin-1')!r} is no time")
    return int(digits) * seconds


def format_timeout(seconds: float) -> bytes:
    """Return a time as exactly as eight digits can say it, rounded up. Less than nothing is nothing."""
    nanoseconds = max(round(seconds * 1e9), 0)
    for unit, length in _NANOSECONDS:
        number = -(-nanoseconds // length)
        if number < _LIMIT:
            return b"%d%s" % (number, unit)
    return b"%dH" % (_LIMIT - 1)
