"""The RPCs that the server answers, whatever carries them: by path, in bytes, with one function each.

A function gets the bytes of a request, or an iterator of them, and returns the bytes of a reply, or an iterator of
replies. It fails with a `CallError` or with `RpcFailed`; cancelling it, or closing its iterator, cancels the call.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from runner.errors import CallError, InternalError
from runner.wire.payload import LongReply, Payload

logger = logging.getLogger("runner.server")


class CallInfo(NamedTuple):
    """What a transport knows about a call beside its bytes."""

    deadline: float | None = None
    """Instant on the `time.monotonic` clock; None without one."""
    metadata: Sequence[tuple[str, str | bytes]] = ()
    """Keys in lower case; the values of one key in the order of arrival."""
    request_id: str = ""
    """The id under which logs speak of the call."""
    peer: str = ""
    """The host that calls. Calls without a key share by it."""
    trailers: list[tuple[str, str]] | None = None
    """Filled before the only reply is returned, the stream of them ends, or the call fails: metadata to send behind
    that. None: the transport cannot send any."""


class Arrival(Protocol):
    """A unary call that has come, as a whole."""

    request: Payload
    info: CallInfo
    stop: Callable[[], None] | None
    """Set by the RPC that begins to answer it: cancels that."""

    def told(self, reply: Payload | LongReply | CallError | RpcFailed) -> None:
        """Take the reply, or the error that it failed with. Called once, perhaps at once; must not raise."""


class UnaryRpc(NamedTuple):
    """One request, one reply."""

    answer: Callable[[bytes, CallInfo], Awaitable[bytes]]
    begin: BeginUnary | None = None
    """Answers without a coroutine; None: it cannot."""
    times: bool = False
    """It can say where its time went, in the trailing metadata."""


class ServerStreamRpc(NamedTuple):
    """One request, many replies."""

    answer: Callable[[bytes, CallInfo], AsyncIterator[Sequence[bytes]]]
    """Yields replies that are ready together."""
    lasting: bool = False
    """It goes on until the client leaves: nobody waits for it when the server stops."""
    times: bool = False
    """As for `UnaryRpc`."""


class BidiRpc(NamedTuple):
    """Many requests, many replies."""

    answer: Callable[[AsyncIterator[bytes], CallInfo], AsyncIterator[Sequence[bytes]]]
    """As for `ServerStreamRpc`."""
    lasting: bool = False
    """As for `ServerStreamRpc`."""
    times: bool = False
    """As for `UnaryRpc`."""


class ClientStreamRpc(NamedTuple):
    """Many requests, one reply."""

    answer: Callable[[AsyncIterator[bytes], CallInfo], Awaitable[bytes]]
    times: bool = False
    """As for `UnaryRpc`."""


Rpc: TypeAlias = UnaryRpc | ServerStreamRpc | BidiRpc | ClientStreamRpc
Rpcs: TypeAlias = Mapping[str, Rpc]
"""By path, such as `/runner.v1.Inference/PostModelOutputs`."""


class RpcFailed(Exception):
    """An RPC ends with a gRPC status that is none of our errors."""

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details  # for `grpc-status-details-bin`


TellReply: TypeAlias = Callable[[Payload | LongReply | CallError | RpcFailed], None]
"""Told the reply of a unary call, or the error that it failed with, once. Must not raise."""

BeginUnary: TypeAlias = Callable[[Sequence[Arrival]], None]
"""Begins to answer calls that have come together. Those that it neither tells nor gives a `stop` have to be answered
by coroutines."""

StatusOf: TypeAlias = Callable[[CallError], tuple[int, str, bytes]]
"""Returns an error of ours as a gRPC status: code, message, and details if there are any. As `status.rpc_status`."""


def told_as(error: BaseException, status_of: StatusOf) -> RpcFailed:
    """Return the status that the caller of a failed call is told. What is not meant for callers is a bug: logged."""
    if isinstance(error, RpcFailed):
        return error
    if not isinstance(error, CallError):
        logger.error("internal error in a call", exc_info=error)
        error = InternalError("internal error; the server's log has more")
    return RpcFailed(*status_of(error))
