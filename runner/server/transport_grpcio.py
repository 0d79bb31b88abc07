"""The grpcio transport: grpc.aio carries the bytes, and the RPCs know what they mean.

Messages are neither parsed nor built here, so that every handler is generic: bytes in, bytes out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias, assert_never, cast

import grpc
import grpc.aio

from runner.flow import STREAM_WINDOW_BYTES
from runner.server.certificates import Certificates, Pem
from runner.server.request_ids import RequestIds, brought_id
from runner.server.rpcs import (
    BidiRpc,
    CallInfo,
    ClientStreamRpc,
    Rpc,
    Rpcs,
    ServerStreamRpc,
    StatusOf,
    UnaryRpc,
    told_as,
)

logger = logging.getLogger("runner.server")

_LIMIT_MARGIN = 2
"""grpcio refuses a longer message by a gRPC error, which costs official stream clients 45 s. So its limit lies above
ours, and what is between the two gets a reply."""

MAX_METADATA_BYTES = 16 * 1024
"""Of one call. A longer block ends the call, and is not kept."""

MAX_STREAMS = 4096
"""Calls at once on one connection; a client holds back what is over it. More than wait and run here, as a rule, so that
refusing stays admission's business; fewer than can hurt, where they are opened and nothing is sent on them."""

HANDSHAKE_SECONDS = 10
"""For a connection to say that it speaks HTTP/2, TLS included. gRPC itself waits two minutes."""

IDLE_SECONDS = 300
"""A connection without a call is told to go. Clients connect again with their next call, and notice nothing."""

KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20
"""How often a connection that says nothing is asked whether it is still there, and how long it may take to answer. A
machine that is gone without a word would otherwise be missed after two hours."""

_FAREWELL = 0.25
"""seconds in which the last answers leave after the last call has ended."""

_TURNS = 3
"""of the loop, in which a cancellation that grpc.aio has been told of reaches the handler: it goes through one task."""

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_DETAILS = "grpc-status-details-bin"

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class GrpcioTransport:
    """See `Transport`.

    Args:
        rpcs: what is served.
        max_message_bytes: requests up to twice as long are received.
        status_of: says how an error of ours is told.
        compress_replies: send replies in a coding that the client takes.
    """

    def __init__(
        self, rpcs: Rpcs, *, max_message_bytes: int, status_of: StatusOf, compress_replies: bool = False
    ) -> None:
        self._handlers = _Handlers(rpcs, status_of)
        self._server = grpc.aio.server(
            compression=grpc.Compression.Gzip if compress_replies else None,
            options=[
                ("grpc.max_receive_message_length", min(max_message_bytes * _LIMIT_MARGIN, 2**31 - 1)),
                ("grpc.max_send_message_length", -1),
                # A second server on the same port is a mistake that should be told, not a way to share the load.
                ("grpc.so_reuseport", 0),
                # Official clients ping as often as every 10 s, without a call under way.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
                *_bounds(),
                # Otherwise gRPC lets a stream send up to 16 MiB ahead of its reader, the more the faster the network.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
            ],
        )
        self._server.add_generic_rpc_handlers((self._handlers,))
        logging.getLogger("grpc._cython.cygrpc").addFilter(_concerns_us)  # once, however often it is added

    async def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """See `Transport`."""
        address = f"{host}:{port}"
        try:
            if certificates is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(certificates))
        except RuntimeError as exc:
            raise OSError(str(exc)) from exc
        await self._server.start()
        return port

    async def drain(self, grace: float) -> None:
        """See `Transport`."""
        # This sends GOAWAY at once. It would wait for watchers of health too, which never leave by themselves.
        stopping = asyncio.get_running_loop().create_task(self._server.stop(grace))
        try:
            async with asyncio.timeout(grace):
                await self._handlers.idle()
        except TimeoutError:
            logger.warning(
                "%d calls did not end within the grace of %g s and are cancelled", self._handlers.active, grace
            )
        await self._server.stop(_FAREWELL)
        await stopping

    async def close(self) -> None:
        """See `Transport`."""
        await self._server.stop(None)


def _concerns_us(record: logging.LogRecord) -> bool:
    """Tell whether a line of grpcio's log says more than that a reply found nobody: its caller left as it was sent."""
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


async def _sent(requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
    """Yield what a caller sends, until it has said that there is no more.

    grpc.aio ends the iterator also for a caller that has gone, and cancels the handler a moment later; to a method,
    half of a stream must not look like all of it. How long that moment is depends on when gRPC's thread runs. But what
    gRPC does for one call is done in order, and the end of the call was on its way with the end of its messages. So
    whatever is asked after that is answered after that: one more message, which there is not.
    """
    async for request in requests:
        yield request
    try:
        await context.read()
    except grpc.aio.BaseError:  # the call is over, and whoever reads is about to be cancelled
        await asyncio.get_running_loop().create_future()
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class _Handlers(grpc.GenericRpcHandler):
    """The handlers of all RPCs, by path, and the number of calls they are serving."""

    def __init__(self, rpcs: Rpcs, status_of: StatusOf) -> None:
        self._status_of = status_of
        self._new_id = RequestIds().new
        self.active = 0  # calls being served, but for those that last
        self._idle: asyncio.Future[None] | None = None
        self._handlers = {path: self._handler(rpc) for path, rpc in rpcs.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """See grpcio."""
        return self._handlers.get(handler_call_details.method)

    async def idle(self) -> None:
        """Wait until no call is being served."""
        if self.active:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _count(self, calls: int) -> None:
        self.active += calls
        if not self.active and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _handler(self, rpc: Rpc) -> _Handler:
        match rpc:
            case UnaryRpc():
                return grpc.unary_unary_rpc_method_handler(self._unary(rpc))
            case ServerStreamRpc():
                return grpc.unary_stream_rpc_method_handler(self._server_stream(rpc))
            case BidiRpc():
                return grpc.stream_stream_rpc_method_handler(self._bidi(rpc))
            case ClientStreamRpc():
                return grpc.stream_unary_rpc_method_handler(self._client_stream(rpc))
            case _:
                assert_never(rpc)

    def _unary(self, rpc: UnaryRpc) -> Callable[..., Awaitable[bytes]]:
        answer = rpc.answer

        async def handle(request: bytes, context: _Context) -> bytes:
            self._count(1)
            info = self._info(context, times=rpc.times)
            try:
                reply = await answer(request, info)
                _tell_trailers(context, info)
                return reply
            except Exception as exc:
                return await self._abort(context, exc, info)
            finally:
                self._count(-1)

        return handle

    def _server_stream(self, rpc: ServerStreamRpc) -> Callable[..., Awaitable[None]]:
        async def handle(request: bytes, context: _Context) -> None:
            info = self._info(context, times=rpc.times)
            await self._write(rpc.answer(request, info), context, info, counted=not rpc.lasting)

        return handle

    def _bidi(self, rpc: BidiRpc) -> Callable[..., Awaitable[None]]:
        async def handle(requests: AsyncIterator[bytes], context: _Context) -> None:
            info = self._info(context, times=rpc.times)
            await self._write(rpc.answer(_sent(requests, context), info), context, info, counted=not rpc.lasting)

        return handle

    def _client_stream(self, rpc: ClientStreamRpc) -> Callable[..., Awaitable[bytes]]:
        async def handle(requests: AsyncIterator[bytes], context: _Context) -> bytes:
            self._count(1)
            info = self._info(context, times=rpc.times)
            try:
                reply = await rpc.answer(_sent(requests, context), info)
                _tell_trailers(context, info)
                return reply
            except Exception as exc:
                return await self._abort(context, exc, info)
            finally:
                self._count(-1)

        return handle

    async def _write(self, replies: Any, context: _Context, info: CallInfo, *, counted: bool) -> None:
        # Closed here and not by the garbage collector: the client may leave while the generator waits in a write.
        self._count(counted)
        try:
            async with aclosing(replies):
                async for together in replies:
                    for message in together:
                        await context.write(message)
            _tell_trailers(context, info)
        except grpc.aio.InternalError:
            # So a write ends that waited for room when the client left. That it has left is told a moment later.
            raise asyncio.CancelledError from None
        except Exception as exc:
            await self._abort(context, exc, info)
        finally:
            self._count(-counted)

    async def _abort(self, context: _Context, error: Exception, info: CallInfo) -> bytes:
        try:
            if isinstance(error, grpc.aio.InternalError):  # a write that failed
                raise error
            # gRPC itself would tell the client what an error of no kind of ours is called and says.
            told = told_as(error, self._status_of)
            details = ((_DETAILS, told.details),) if told.details else ()
            await context.abort(_CODES[told.code], told.message, (*details, *(info.trailers or ())))
        except grpc.aio.InternalError:
            # The caller left, or its deadline passed, at this very moment: nobody is there to be told, and grpcio would
            # log a traceback.
            raise asyncio.CancelledError from None
        raise AssertionError("abort raises")

    def _info(self, context: _Context, *, times: bool) -> CallInfo:
        left = cast("float | None", context.time_remaining())  # the stubs do not know of calls without a deadline
        metadata = cast("tuple[tuple[str, str | bytes], ...]", context.invocation_metadata() or ())
        return CallInfo(
            None if left is None else time.monotonic() + left,
            metadata,
            brought_id(metadata) or self._new_id(),
            context.peer().rpartition(":")[0],
            [] if times else None,
        )


def _tell_trailers(context: _Context, info: CallInfo) -> None:
    """Have what the service said of the call sent behind its last reply."""
    if info.trailers:
        context.set_trailing_metadata(tuple(info.trailers))


def _bounds() -> list[tuple[str, int]]:
    """Return gRPC's options against connections that cost and bring nothing.

    Not among them is `maximum_concurrent_rpcs`: what is over that is refused by a gRPC status, which makes official
    stream clients wait for 45 s. Admission is ours, and refuses in the way that each client understands.
    """
    return [
        # Between the two gRPC refuses at random, which is no way to tell somebody of a limit.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # a silent call of hours is asked all the same
    ]


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    def renewed() -> grpc.ServerCertificateConfiguration | None:
        # Called in a thread of gRPC's before every handshake.
        pem = certificates.renewed()
        return None if pem is None else _configuration(pem)

    first = _configuration(certificates.pem)
    # cast: the stubs do not know that None stands for no change
    renew = cast(Callable[[], grpc.ServerCertificateConfiguration], renewed)
    return grpc.dynamic_ssl_server_credentials(first, renew, certificates.of_clients)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)
