"""How a call ends: the status codes of gRPC, and what may be said beside them."""

from __future__ import annotations

import enum
import re


class StatusCode(enum.IntEnum):
    """The codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallFailure(Exception):
    """What the peer sent is no call, or no longer one. It ends with this status."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_OF_HTTP = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}


def code_of_http(status: int) -> StatusCode:
    """Return what clients of gRPC make of an HTTP status that comes without a status of gRPC."""
    return _OF_HTTP.get(status, StatusCode.UNKNOWN)


_encoded = re.compile(rb"[^ -$&-~]")
"""What may not stand in `grpc-message` as it is: all but printable ASCII, and the percent sign."""


def encode_message(message: str) -> bytes:
    """Return a text as the value of `grpc-message`: UTF-8, with percent signs where the specification wants them.

    Lone surrogates, which are no text and which Python lets in, become question marks.
    """
    return _encoded.sub(lambda match: b"%%%02X" % match[0][0], message.encode(errors="replace"))
