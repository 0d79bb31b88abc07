"""The RPCs that the server answers, whatever carries them: by path, in bytes, with one function each.

A function gets the bytes of a request, or an iterator of them, and returns the bytes of a reply, or an iterator of
them. It fails with a `CallError` or with `RpcFailed`; cancelling it, or closing its iterator, cancels the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

from runner.server.service import CallInfo, Service, TellReply
from runner.signature.dialect import Dialect
from runner.wire.payload import Payload

UNARY = (
    "GetModel",
    "GetModelVersion",
    "ListModelVersions",
    "GetModelType",
    "GetUser",
    "GetDeployment",
    "GetNodepool",
    "PostModelOutputs",
)


class UnaryRpc(NamedTuple):
    """One request, one reply."""

    answer: Callable[[bytes, CallInfo], Awaitable[bytes]]
    begin: Callable[[Payload, CallInfo, TellReply], Callable[[], None] | None] | None = None
    """Answers without a coroutine, as `Service.begin_unary` does; None: it cannot."""
    times: bool = False
    """It can say where its time went, in the trailing metadata."""


class ServerStreamRpc(NamedTuple):
    """One request, many replies."""

    answer: Callable[[bytes, CallInfo], AsyncIterator[bytes]]
    lasting: bool = False
    """It goes on until the client leaves: nobody waits for it when the server stops."""
    times: bool = False
    """As for `UnaryRpc`."""


class BidiRpc(NamedTuple):
    """Many requests, many replies."""

    answer: Callable[[AsyncIterator[bytes], CallInfo], AsyncIterator[bytes]]
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

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def service_rpcs(service: Service) -> Rpcs:
    """Return the RPCs of both published services."""
    rpcs: dict[str, Rpc] = {}
    for dialect in Dialect:
        native = dialect is Dialect.NATIVE
        prefix = f"/{dialect.value}/"
        for rpc in (*UNARY, *(("GetStatistics",) if native else ())):
            begin = partial(service.begin_unary, dialect, rpc) if rpc == "PostModelOutputs" else None
            rpcs[prefix + rpc] = UnaryRpc(partial(service.unary, dialect, rpc), begin, native)
        rpc = "GenerateModelOutputs"
        rpcs[prefix + rpc] = ServerStreamRpc(partial(service.server_stream, dialect, rpc), times=native)
        rpc = "StreamModelOutputs"
        rpcs[prefix + rpc] = BidiRpc(partial(service.bidi, dialect, rpc), times=native)
    rpc, dialect = "CollectModelOutputs", Dialect.NATIVE
    rpcs[f"/{dialect.value}/{rpc}"] = ClientStreamRpc(partial(service.client_stream, dialect, rpc), times=True)
    return rpcs
