"""The only map from our errors to the codes of the two services.

A code which clients take as "send it again" stands only for errors that promise that nothing has run. On a stream of
requests there is none: official clients would open a new call with an iterator which is already consumed, and lose the
items without a word. So those errors get the plain "try again" there, which clients raise.

Knows nothing of grpcio: codes of gRPC are those of its specification.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from runner.errors import CallError, ErrorKind, ModelFailing, Overloaded, clip
from runner.grpc_protocol.status import StatusCode
from runner.wire.pb import inference_pb2 as pb


class Code(enum.IntEnum):
    """Codes inside a reply of the Clarifai service."""

    SUCCESS = 10000
    MIXED_STATUS = 10010
    FAILURE = 10020
    TRY_AGAIN = 10030
    NOT_IMPLEMENTED = 10040
    CREDENTIALS_INVALID = 11002
    INSUFFICIENT_SCOPES = 11007
    MODEL_DOES_NOT_EXIST = 21200
    MODEL_INVALID_REQUEST = 21203
    MODEL_PREDICTION_FAILED = 21313
    MODEL_DEPLOYING = 21351
    MODEL_BUSY_PLEASE_RETRY = 21354
    RUNNER_PROCESSING_FAILED = 25608
    INPUT_DOWNLOAD_FAILED = 30002
    REQUEST_TIMEOUT = 40032
    INTERNAL_UNCATEGORIZED = 99009


_CODES: dict[ErrorKind, tuple[Code, StatusCode]] = {
    ErrorKind.INVALID_INPUT: (Code.MODEL_INVALID_REQUEST, StatusCode.INVALID_ARGUMENT),
    ErrorKind.MESSAGE_TOO_LARGE: (Code.MODEL_INVALID_REQUEST, StatusCode.INVALID_ARGUMENT),
    ErrorKind.METHOD_NOT_FOUND: (Code.NOT_IMPLEMENTED, StatusCode.UNIMPLEMENTED),
    ErrorKind.MODEL_NOT_FOUND: (Code.MODEL_DOES_NOT_EXIST, StatusCode.NOT_FOUND),
    ErrorKind.UNAUTHENTICATED: (Code.CREDENTIALS_INVALID, StatusCode.UNAUTHENTICATED),
    ErrorKind.PERMISSION_DENIED: (Code.INSUFFICIENT_SCOPES, StatusCode.PERMISSION_DENIED),
    ErrorKind.FETCH_FAILED: (Code.INPUT_DOWNLOAD_FAILED, StatusCode.FAILED_PRECONDITION),
    ErrorKind.MODEL_ERROR: (Code.MODEL_PREDICTION_FAILED, StatusCode.UNKNOWN),
    # The method may have run in part: whether to try again is the caller's decision, so not UNAVAILABLE.
    ErrorKind.WORKER_LOST: (Code.RUNNER_PROCESSING_FAILED, StatusCode.ABORTED),
    # Not known to be the caller's fault, but nothing that another try would mend.
    ErrorKind.POISON_CALL: (Code.RUNNER_PROCESSING_FAILED, StatusCode.FAILED_PRECONDITION),
    ErrorKind.MODEL_FAILING: (Code.MODEL_BUSY_PLEASE_RETRY, StatusCode.UNAVAILABLE),
    ErrorKind.MODEL_LOADING: (Code.MODEL_DEPLOYING, StatusCode.UNAVAILABLE),
    ErrorKind.OVERLOADED: (Code.MODEL_BUSY_PLEASE_RETRY, StatusCode.RESOURCE_EXHAUSTED),
    ErrorKind.DRAINING: (Code.MODEL_BUSY_PLEASE_RETRY, StatusCode.UNAVAILABLE),
    ErrorKind.DEADLINE_EXCEEDED: (Code.REQUEST_TIMEOUT, StatusCode.DEADLINE_EXCEEDED),
    ErrorKind.CANCELLED: (Code.FAILURE, StatusCode.CANCELLED),
    ErrorKind.INTERNAL: (Code.INTERNAL_UNCATEGORIZED, StatusCode.INTERNAL),
}

_RETRIED = frozenset({Code.MODEL_DEPLOYING, Code.MODEL_BUSY_PLEASE_RETRY})

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"

_HIDDEN = "the model raised an error; the server's log has it"


@dataclass(frozen=True, slots=True)
class ClarifaiStatus:
    """What a reply of the Clarifai service says. Both texts are filled: clients differ in which they show."""

    code: int
    description: str
    details: str


def code_of(
    error: CallError, *, streaming_input: bool = False, hide_model_errors: bool = False, debug: bool = False
) -> ClarifaiStatus:
    """Return an error as a status inside a reply.

    Args:
        error: what ended the call.
        streaming_input: the call is a stream of requests, on which no code may be one that clients retry.
        hide_model_errors: say that the model raised, but not what.
        debug: a model's error has details too, its traceback.
    """
    code, _ = _CODES[error.kind]
    if streaming_input and code in _RETRIED:
        code = Code.TRY_AGAIN
    if hide_model_errors and error.kind is ErrorKind.MODEL_ERROR:
        return ClarifaiStatus(code, _HIDDEN, _HIDDEN)
    description = clip(str(error))
    # A model's own text goes into both fields as it is; nothing longer than it may leave the server.
    details = error.details if debug or error.kind is not ErrorKind.MODEL_ERROR else ""
    return ClarifaiStatus(code, description, clip(details or str(error)))


def grpc_code_of(error: CallError) -> int:
    """Return the gRPC status code of an error on the native service."""
    return _CODES[error.kind][1]


def rpc_status(error: CallError, *, hide_model_errors: bool = False) -> tuple[int, str, bytes]:
    """Return an error as a gRPC status of the native service.

    Returns:
        The code, the message, and the bytes of `grpc-status-details-bin`: an RpcStatus holding one ErrorDetail, from
        which our client raises the same error again.
    """
    code = grpc_code_of(error)
    if hide_model_errors and error.kind is ErrorKind.MODEL_ERROR:
        message, details, path = _HIDDEN, "", ""
    else:
        message, details, path = clip(error.message), clip(error.details), clip(error.path)
    status = pb.RpcStatus(code=code, message=message)
    status.details.add().Pack(pb.ErrorDetail(kind=error.kind.value, message=message, details=details, path=path))
    if isinstance(error, Overloaded | ModelFailing) and error.retry_after is not None:
        status.details.add(type_url=RETRY_INFO, value=_retry_info(error.retry_after))
    return code, message, status.SerializeToString()


def _retry_info(seconds: float) -> bytes:
    """Return a google.rpc.RetryInfo: its one field is a Duration."""
    delay = Duration()
    delay.FromNanoseconds(int(max(seconds, 0.0) * 1e9))
    body = delay.SerializeToString()
    return b"\x0a" + bytes((len(body),)) + body
