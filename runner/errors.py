"""What can go wrong, as one tree.

    RunnerError
    ├── SignatureError         a method cannot be published: raised when the class is loaded
    ├── ConfigError            a configuration value is wrong: raised when it is read
    ├── LoadError              the model cannot be imported or loaded: the server says why and exits
    └── CallError              a call ends with this; it crosses process and network boundaries
        ├── InvalidInput       the caller's fault: told in full, with the path to the value
        │   └── MessageTooLarge
        ├── MethodNotFound     no such method, or the wrong kind of RPC for it
        ├── ModelNotFound      another model, version or deployment than the one served (strict ids)
        ├── Unauthenticated    a key is wanted and this is not one
        ├── PermissionDenied   the key is good, but not for this model
        ├── FetchFailed        an input given by URL could not be fetched
        ├── ModelError         the model raised: its own text is told, its traceback only logged
        ├── WorkerLost         the worker died after the call had started
        ├── PoisonCall         three workers died while they ran the call; it is not run again
        ├── ModelLoading       nothing has run; try again later
        ├── ModelFailing       nothing has run: workers die before they answer; try again later
        ├── Overloaded         nothing has run; try again later
        ├── Draining           the server is shutting down; nothing has run
        ├── DeadlineExceeded   the caller's time was up
        ├── Cancelled          the caller went away
        └── InternalError      our bug

`ErrorKind` is the name under which a `CallError` travels; `server/status.py` is the only map from kinds to codes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

__all__ = [
    "CallError",
    "Cancelled",
    "ConfigError",
    "DeadlineExceeded",
    "Draining",
    "ErrorKind",
    "FetchFailed",
    "InternalError",
    "InvalidInput",
    "LoadError",
    "MessageTooLarge",
    "MethodNotFound",
    "ModelError",
    "ModelFailing",
    "ModelLoading",
    "ModelNotFound",
    "Overloaded",
    "PoisonCall",
    "PermissionDenied",
    "RunnerError",
    "SignatureError",
    "Unauthenticated",
    "WorkerLost",
    "call_error",
    "clip",
    "tail",
]

MAX_TEXT_BYTES = 2048
"""An error's message or details never travel longer than this: a model may raise with a whole tensor as its text."""


class ErrorKind(enum.Enum):
    """The name of a `CallError` on the link to a worker and in the details of a gRPC status."""

    INVALID_INPUT = "invalid_input"
    MESSAGE_TOO_LARGE = "message_too_large"
    METHOD_NOT_FOUND = "method_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    FETCH_FAILED = "fetch_failed"
    MODEL_ERROR = "model_error"
    WORKER_LOST = "worker_lost"
    POISON_CALL = "poison_call"
    MODEL_FAILING = "model_failing"
    MODEL_LOADING = "model_loading"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class RunnerError(Exception):
    """Everything this package raises on purpose."""


class SignatureError(RunnerError):
    """A method cannot be published. The text names class, method, parameter, hint and what would work."""


class ConfigError(RunnerError):
    """A configuration value is wrong. The text names the key path, the value and what is needed."""


class LoadError(RunnerError):
    """The model cannot be imported or loaded.

    Args:
        message: one line for the person at the terminal.
        details: the model's own traceback, without frames of ours.
    """

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class CallError(RunnerError):
    """A call ended without a result.

    Args:
        message: one sentence that names the thing, the value and the way out.
        details: longer text for the same reader; empty if the message says it all.
        path: where in the arguments the value sits, such as `images[3].bytes`; empty if it is not about one value.

    A client's errors have `times`: where the time of the call went until it failed, as far as the server knows, by
    names and in milliseconds as `timed` tells it; empty if the server did not say.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    times: Mapping[str, float] = MappingProxyType({})

    def __init__(self, message: str, *, details: str = "", path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidInput(CallError):
    """The caller's input is wrong."""

    kind = ErrorKind.INVALID_INPUT


class MessageTooLarge(InvalidInput):
    """A message is over the configured limit."""

    kind = ErrorKind.MESSAGE_TOO_LARGE


class MethodNotFound(CallError):
    """No such method, or the wrong kind of RPC for it."""

    kind = ErrorKind.METHOD_NOT_FOUND


class ModelNotFound(CallError):
    """Another user, app, model, version or deployment than the one served was asked for."""

    kind = ErrorKind.MODEL_NOT_FOUND


class Unauthenticated(CallError):
    """The server wants a key, and this call has none or a wrong one."""

    kind = ErrorKind.UNAUTHENTICATED


class PermissionDenied(CallError):
    """The call's key is known, and is not for this model."""

    kind = ErrorKind.PERMISSION_DENIED


class FetchFailed(CallError):
    """An input given by URL could not be fetched."""

    kind = ErrorKind.FETCH_FAILED


class ModelError(CallError):
    """The model's own code raised. The message is `Type: text`, as the model wrote it."""

    kind = ErrorKind.MODEL_ERROR


class WorkerLost(CallError):
    """The worker process died after the call had started on it."""

    kind = ErrorKind.WORKER_LOST


class PoisonCall(CallError):
    """Workers died each time they ran the call, the last time with nothing else to do. It is not run again."""

    kind = ErrorKind.POISON_CALL


class ModelFailing(CallError):
    """The model's workers die before they answer a call, and none is started for a while. Nothing has run.

    `retry_after`: seconds after which the next one is started, if that is known.
    """

    kind = ErrorKind.MODEL_FAILING

    def __init__(self, message: str, *, details: str = "", path: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, details=details, path=path)
        self.retry_after = retry_after


class ModelLoading(CallError):
    """The model is still loading. Nothing has run; the call may be sent again."""

    kind = ErrorKind.MODEL_LOADING


class Overloaded(CallError):
    """More calls are waiting than the server takes. Nothing has run; the call may be sent again.

    `retry_after`: seconds after which that may help, if they are known. `of_caller`: the caller itself has too many
    calls here, and there may be room for others.
    """

    kind = ErrorKind.OVERLOADED

    def __init__(
        self,
        message: str,
        *,
        details: str = "",
        path: str = "",
        retry_after: float | None = None,
        of_caller: bool = False,
    ) -> None:
        super().__init__(message, details=details, path=path)
        self.retry_after = retry_after
        self.of_caller = of_caller


class Draining(CallError):
    """The server is shutting down. Nothing has run; the call may be sent to another one."""

    kind = ErrorKind.DRAINING


class DeadlineExceeded(CallError):
    """The caller's deadline passed before the answer was ready."""

    kind = ErrorKind.DEADLINE_EXCEEDED


class Cancelled(CallError):
    """The caller went away, or asked to stop."""

    kind = ErrorKind.CANCELLED


class InternalError(CallError):
    """A bug of ours. The server's log has the traceback; the caller sees only that it happened."""

    kind = ErrorKind.INTERNAL


_BY_KIND: dict[ErrorKind, type[CallError]] = {
    cls.kind: cls
    for cls in (
        InvalidInput,
        MessageTooLarge,
        MethodNotFound,
        ModelNotFound,
        Unauthenticated,
        PermissionDenied,
        FetchFailed,
        ModelError,
        WorkerLost,
        PoisonCall,
        ModelFailing,
        ModelLoading,
        Overloaded,
        Draining,
        DeadlineExceeded,
        Cancelled,
        InternalError,
    )
}


def call_error(kind: ErrorKind, message: str, *, details: str = "", path: str = "") -> CallError:
    """Return the exception that a kind stands for, as it arrives from another process."""
    return _BY_KIND[kind](message, details=details, path=path)


def clip(text: str) -> str:
    """Return a text that may travel: valid UTF-8 of `MAX_TEXT_BYTES` at most, cut between characters."""
    encoded = text.encode("utf-8", "replace")  # a model may raise with half a surrogate pair in its text
    if len(encoded) > MAX_TEXT_BYTES:
        encoded = encoded[: MAX_TEXT_BYTES - 3] + "…".encode()
    return encoded.decode("utf-8", "ignore")


def tail(text: str) -> str:
    """Return the end of a text, where a traceback says most, as `clip` does the beginning."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > MAX_TEXT_BYTES:
        encoded = "…".encode() + encoded[len(encoded) - MAX_TEXT_BYTES + 3 :]
    return encoded.decode("utf-8", "ignore")
