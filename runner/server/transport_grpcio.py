"""The grpcio transport: grpc.aio carries the bytes, `service.py` knows what they mean.

Messages are neither parsed nor built here, so that every handler is generic: bytes in, bytes out.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

from runner.errors import CallError
from runner.server.service import CallInfo, Service
from runner.server.status import rpc_status
from runner.signature.dialect import Dialect

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

_LIMIT_MARGIN = 2
"""grpcio refuses a longer message by a gRPC error, which costs official stream clients 45 s. So its limit lies above
ours, and what is between the two gets a reply."""

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_DETAILS = "grpc-status-details-bin"
_REQUEST_ID = "x-request-id"
_REQUEST_ID_LENGTH = 128

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class ServiceHandlers(grpc.GenericRpcHandler):
    """The handlers of both services, by path."""

    def __init__(self, service: Service, *, hide_model_errors: bool) -> None:
        self._service = service
        self._hide_model_errors = hide_model_errors
        self._id_prefix = secrets.token_hex(4)
        self._id_count = itertools.count(1)
        self.active = 0  # calls being served
        self._idle: asyncio.Future[None] | None = None
        self._handlers: dict[str, _Handler] = {}
        for dialect in Dialect:
            prefix = f"/{dialect.value}/"
            for rpc in (*UNARY, *(("GetStatistics",) if dialect is Dialect.NATIVE else ())):
                self._handlers[prefix + rpc] = grpc.unary_unary_rpc_method_handler(self._unary(dialect, rpc))
            self._handlers[prefix + "GenerateModelOutputs"] = grpc.unary_stream_rpc_method_handler(
                self._server_stream(dialect, "GenerateModelOutputs")
            )
            self._handlers[prefix + "StreamModelOutputs"] = grpc.stream_stream_rpc_method_handler(
                self._bidi(dialect, "StreamModelOutputs")
            )
        self._handlers[f"/{Dialect.NATIVE.value}/CollectModelOutputs"] = grpc.stream_unary_rpc_method_handler(
            self._client_stream(Dialect.NATIVE, "CollectModelOutputs")
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """See grpcio."""
        return self._handlers.get(handler_call_details.method)

    async def idle(self) -> None:
        """Wait until no call is being served."""
        if self.active:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _begin(self) -> None:
        self.active += 1

    def _end(self) -> None:
        self.active -= 1
        if not self.active and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _unary(self, dialect: Dialect, rpc: str) -> Callable[..., Awaitable[bytes]]:
        answer = self._service.unary

        async def handle(request: bytes, context: _Context) -> bytes:
            self._begin()
            trailers: list[tuple[str, str]] | None = [] if dialect is Dialect.NATIVE else None
            try:
                reply = await answer(dialect, rpc, request, self._info(context, trailers))
                if trailers:
                    context.set_trailing_metadata(tuple(trailers))
                return reply
            except CallError as exc:
                return await self._abort(context, exc)
            finally:
                self._end()

        return handle

    def _server_stream(self, dialect: Dialect, rpc: str) -> Callable[..., Awaitable[None]]:
        async def handle(request: bytes, context: _Context) -> None:
            await self._write(self._service.server_stream(dialect, rpc, request, self._info(context)), context)

        return handle

    def _bidi(self, dialect: Dialect, rpc: str) -> Callable[..., Awaitable[None]]:
        async def handle(requests: AsyncIterator[bytes], context: _Context) -> None:
            await self._write(self._service.bidi(dialect, rpc, aiter(requests), self._info(context)), context)

        return handle

    def _client_stream(self, dialect: Dialect, rpc: str) -> Callable[..., Awaitable[bytes]]:
        async def handle(requests: AsyncIterator[bytes], context: _Context) -> bytes:
            self._begin()
            try:
                return await self._service.client_stream(dialect, rpc, aiter(requests), self._info(context))
            except CallError as exc:
                return await self._abort(context, exc)
            finally:
                self._end()

        return handle

    async def _write(self, replies: Any, context: _Context) -> None:
        # Closed here and not by the garbage collector: the client may leave while the generator waits in a write.
        self._begin()
        try:
            async with aclosing(replies):
                async for message in replies:
                    await context.write(message)
        except CallError as exc:
            await self._abort(context, exc)
        finally:
            self._end()

    async def _abort(self, context: _Context, error: CallError) -> bytes:
        code, message, details = rpc_status(error, hide_model_errors=self._hide_model_errors)
        await context.abort(_CODES[code], message, ((_DETAILS, details),))
        raise AssertionError("abort raises")

    def _info(self, context: _Context, trailers: list[tuple[str, str]] | None = None) -> CallInfo:
        left = cast("float | None", context.time_remaining())  # the stubs do not know of calls without a deadline
        metadata = cast("tuple[tuple[str, str | bytes], ...]", context.invocation_metadata() or ())
        request_id = ""
        for key, value in metadata:
            if key == _REQUEST_ID and isinstance(value, str):
                request_id = value[:_REQUEST_ID_LENGTH]
        return CallInfo(
            None if left is None else time.monotonic() + left,
            metadata,
            request_id or f"{self._id_prefix}-{next(self._id_count)}",
            context.peer().rpartition(":")[0],
            trailers,
        )


def create_server(handlers: Sequence[grpc.GenericRpcHandler], *, max_message_bytes: int) -> grpc.aio.Server:
    """Return a server with these handlers, not yet listening."""
    ceiling = min(max_message_bytes * _LIMIT_MARGIN, 2**31 - 1)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", ceiling),
            ("grpc.max_send_message_length", -1),
            # A second server on the same port is a mistake that should be told, not a way to share the load.
            ("grpc.so_reuseport", 0),
            # Official clients ping as often as every 10 s, without a call under way.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    server.add_generic_rpc_handlers(tuple(handlers))
    return server
