"""What an exception in the middle of a call means to its caller."""

from __future__ import annotations

import asyncio
import traceback
from typing import Final

from runner.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    FetchFailed,
    InternalError,
    InvalidInput,
    ModelError,
    call_error,
    clip,
    tail,
)
from runner.sturdy_log import SturdyLog
from runner.wire.call import EncodeError

logger = SturdyLog("runner.model")

_TOLD: Final = "__runner_told__"

# What a model may raise, or let pass, as its own verdict on the call. Everything else it raises is `ModelError`.
_SPOKEN = (InvalidInput, FetchFailed, Cancelled, DeadlineExceeded)


def of_model(exc: BaseException, method: str, *, cancelled: bool, request_id: str = "") -> CallError:
    """Return the error for what a model's function raised or returned, and log its traceback.

    `SystemExit`, `KeyboardInterrupt` and the like end the call and not the worker: they come from the model's code.

    Args:
        exc: what was raised.
        method: the method's name, for the log.
        cancelled: the call had been told to stop, so that nobody is interested in how it did.
        request_id: the call's, for the log; of a batch that failed as one, that of its first call.
    """
    try:
        return _of_model(exc, method, cancelled, request_id)
    except BaseException as broken:  # what it raised is the model's code too, and even to look at it may fail
        name = type(exc).__name__
        logger.error("%s raised %s, of which nothing can be told: %s", method, name, type(broken).__name__)
        return ModelError(name)


def _of_model(exc: BaseException, method: str, cancelled: bool, request_id: str) -> CallError:
    if isinstance(exc, _SPOKEN):
        return _plain(exc)
    if cancelled:
        return Cancelled("the call was cancelled")
    told = _told(exc)
    of_request = f" (request {request_id})" if request_id else ""
    told_apart = {"method": method, "request_id": request_id}
    if isinstance(exc, EncodeError | ModelError):  # our own words about what the model returned
        if not told:
            logger.error("%s: %s%s", method, exc, of_request, extra=told_apart)
        return ModelError(clip(str(exc)))
    if not told:
        logger.error("%s raised %s%s", method, type(exc).__name__, of_request, exc=exc, extra=told_apart)
    text = text_of(exc)
    return _because(exc, ModelError(clip(f"{type(exc).__name__}: {text}" if text else type(exc).__name__)))


def of_ours(exc: BaseException, doing: str) -> CallError:
    """Return the error for what our own code raised before or after the model's."""
    if isinstance(exc, CallError):
        return exc
    if isinstance(exc, asyncio.CancelledError):
        return Cancelled("the call was cancelled")
    logger.error("internal error while %s", doing, exc=exc)
    return _because(exc, InternalError(f"internal error while {doing}; the server's log has more"))


def _told(exc: BaseException) -> bool:
    """Note that the log gets an exception; tell whether it has it already, as it fails a whole batch.

    One that a model keeps and raises again has another traceback then.
    """
    raised = id(exc.__traceback__)
    told = exc.__dict__.get(_TOLD) == raised
    exc.__dict__[_TOLD] = raised
    return told


def with_traceback(error: CallError) -> CallError:
    """Put the traceback of what caused an error into its details: for `debug`, where callers may see it.

    An error that is a plain answer, about an input say, stays as it is.
    """
    if error.__cause__ is not None and not error.details:
        error.details = tail("".join(traceback.format_exception(error.__cause__)))
    return error


def _because(exc: BaseException, error: CallError) -> CallError:
    error.__cause__ = exc
    return error


def _plain(exc: CallError) -> CallError:
    """Return an error that can travel: a model's may be of a class of its own, and may hold anything for a text."""
    message, details, path = (clip(text_of(getattr(exc, name, ""))) for name in ("message", "details", "path"))
    return call_error(exc.kind, message or type(exc).__name__, details=details, path=path)


def text_of(value: object) -> str:
    """Return an exception's own text, or another object's, even where its `__str__` raises."""
    try:
        return str(value)
    except BaseException as broken:  # that too is the model's code
        return f"<its text raised {type(broken).__name__}>"
