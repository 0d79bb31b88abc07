"""Statuses that arrive become the exceptions of `runner.errors`. No I/O; gRPC's codes are plain integers here."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from runner.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    ErrorKind,
    FetchFailed,
    InternalError,
    InvalidInput,
    MessageTooLarge,
    MethodNotFound,
    ModelError,
    ModelFailing,
    ModelLoading,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    WorkerLost,
    call_error,
)
from runner.wire.pb import inference_pb2 as pb

__all__ = ["DETAILS_KEY", "SUCCESS", "Unreachable", "from_grpc", "from_status"]

DETAILS_KEY = "grpc-status-details-bin"
"""The trailer in which a gRPC server sends a google.rpc.Status beside code and text."""

SUCCESS = 10000

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class Unreachable(CallError):
    """No server answered at the address, or the connection broke before the answer was there."""


# Codes of gRPC itself, which say what happened where no server of ours had a word: a proxy, or the channel.
_BY_GRPC_CODE: dict[int, type[CallError]] = {
    1: Cancelled,
    3: InvalidInput,
    4: DeadlineExceeded,
    5: ModelNotFound,
    7: PermissionDenied,
    8: Overloaded,
    12: MethodNotFound,
    14: Unreachable,
    16: Unauthenticated,
}

# What a failed output says when it carries no kind: the codes which a status of this family can have.
_BY_STATUS_CODE: dict[int, type[CallError]] = {
    10030: Overloaded,
    10040: MethodNotFound,
    11002: Unauthenticated,
    11007: PermissionDenied,
    21200: ModelNotFound,
    21203: InvalidInput,
    21313: ModelError,
    21351: ModelLoading,
    21354: Overloaded,
    25608: WorkerLost,
    30002: FetchFailed,
    40032: DeadlineExceeded,
}


def from_grpc(code: int, text: str, details: bytes | None, *, target: str) -> CallError:
    """Return the exception for a gRPC status.

    Args:
        code: the gRPC status code, not 0.
        text: the status's own text.
        details: the bytes under `DETAILS_KEY`, if the server sent any.
        target: the server's address, for the person who has to look there.
    """
    told = _detailed(details) if details else None
    if told is not None:
        return told
    if code == 8 and "larger than max" in text:
        return MessageTooLarge(text)
    if code == 12:
        return MethodNotFound(f"{target} does not know this call ({text}); is it a runner server?")
    if code == 14:
        return Unreachable(f"no answer from {target} ({text}); is the server running?")
    return _BY_GRPC_CODE.get(code, InternalError)(text or f"{target} ended the call with gRPC status {code}")


def _detailed(details: bytes) -> CallError | None:
    detail = pb.ErrorDetail()
    try:
        status = pb.RpcStatus.FromString(details)
        if not any(packed.Unpack(detail) for packed in status.details):
            return None
        retry_after = next(
            (_seconds(packed.value) for packed in status.details if packed.type_url == _RETRY_INFO), None
        )
    except DecodeError:
        return None
    try:
        kind = ErrorKind(detail.kind)
    except ValueError:  # a server newer than this client has learned a new way to fail
        return InternalError(detail.message, details=detail.details, path=detail.path)
    error = call_error(kind, detail.message, details=detail.details, path=detail.path)
    if isinstance(error, Overloaded | ModelFailing):
        error.retry_after = retry_after
    return error


def _seconds(retry_info: bytes) -> float | None:
    """Return the delay in a google.rpc.RetryInfo, whose one field is a Duration."""
    if retry_info[:1] != b"\x0a":
        return None
    return Duration.FromString(retry_info[2:]).ToNanoseconds() / 1e9


def from_status(status: pb.Status) -> CallError:
    """Return the exception for a status inside a reply, whose code is not `SUCCESS`."""
    message = status.description or status.details or f"the server answered with status {status.code}"
    details = status.details if status.details != message else ""
    try:
        return call_error(ErrorKind(status.developer_notes), message, details=details, path=status.internal_details)
    except ValueError:
        kind = _BY_STATUS_CODE.get(status.code, InternalError)
        return kind(message, details=details, path=status.internal_details)
