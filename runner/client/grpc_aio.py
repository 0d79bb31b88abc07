"""gRPC for asyncio programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import grpc
import grpc.aio

from runner.client.address import Address, Trust
from runner.client.grpc_channel import (
    NO_TRUST,
    FailedCall,
    call_error_of,
    channel_options,
    credentials,
    deadline_of,
    path_of,
    texts_of,
)
from runner.client.transport import AsyncReplies, CallOptions
from runner.errors import Cancelled

__all__ = ["AioGrpcTransport"]


class AioGrpcTransport:
    """A channel to one server, bound to the event loop that runs when it is made.

    grpc.aio serves one event loop of a process well, and several badly: make clients in one loop only.
    """

    def __init__(self, address: Address, trust: Trust = NO_TRUST) -> None:
        self._address = address
        # The stubs are generic in message types, which nothing names here: all messages are bytes.
        self._channel: Any
        arguments = channel_options(address)
        if address.secure:
            self._channel = grpc.aio.secure_channel(address.target, credentials(trust), arguments)
        else:
            self._channel = grpc.aio.insecure_channel(address.target, arguments)

    async def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        stub = self._channel.unary_unary(path_of(rpc))
        deadline = deadline_of(options.timeout)
        try:
            call: Any = stub(request, timeout=options.timeout, metadata=options.metadata)
            reply = cast(bytes, await call)
            if options.trailers is not None:
                options.trailers.update(texts_of(await call.trailing_metadata()))
            return reply
        except grpc.aio.AioRpcError as error:
            raise call_error_of(cast(FailedCall, error), self._address, deadline) from None

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> AsyncReplies:
        """Send one request; the call has started when this returns."""
        stub = self._channel.unary_stream(path_of(rpc))
        call: Any = stub(request, timeout=options.timeout, metadata=options.metadata)
        return _AioReplies(call, self._address, deadline_of(options.timeout))

    def bidi(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> AsyncReplies:
        """Send requests from a task of our own while replies are read."""
        stub = self._channel.stream_stream(path_of(rpc))
        call: Any = stub(timeout=options.timeout, metadata=options.metadata)
        return _AioReplies(call, self._address, deadline_of(options.timeout), _Feed(call, requests))

    async def client_stream(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        stub = self._channel.stream_unary(path_of(rpc))
        deadline = deadline_of(options.timeout)
        call: Any = stub(timeout=options.timeout, metadata=options.metadata)
        feed = _Feed(call, requests)
        try:
            reply = cast(bytes, await call)
            if options.trailers is not None:
                options.trailers.update(texts_of(await call.trailing_metadata()))
            return reply
        except grpc.aio.AioRpcError as error:
            raise feed.failure or call_error_of(cast(FailedCall, error), self._address, deadline) from None
        except asyncio.CancelledError:
            if _task_is_cancelled():
                raise
            raise feed.failure or Cancelled("the call was cancelled") from None
        finally:
            call.cancel()
            await feed.stop()

    async def aclose(self) -> None:
        """Cancel what is in flight and let the connection go."""
        await self._channel.close()


def _task_is_cancelled() -> bool:
    """Tell whether it is this task that is cancelled; grpc.aio raises the same exception for a cancelled call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Feed:
    """The task that sends a caller's requests. The replies own it: it is over when they are closed.

    grpc.aio can iterate by itself, but goes on waiting for the next request when the server has ended the call.
    """

    def __init__(self, call: Any, requests: AsyncIterator[bytes]) -> None:
        self.failure: Exception | None = None
        self._call = call
        self._requests = requests
        self._task = asyncio.get_running_loop().create_task(self._send(), name="runner client: requests")

    async def _send(self) -> None:
        try:
            async for request in self._requests:
                if not await self._sent(self._written(request)):
                    return
        except Exception as error:
            # The stream must not end as if all had been sent: the reader is told the caller's own error.
            self.failure = error
            self._call.cancel()
        else:
            await self._sent(self._call.done_writing())

    async def _written(self, request: bytes) -> None:
        """Do what `call.write` does, but for one thing: when that fails, it says that the call ended with INTERNAL.

        It fails where the server has ended the call and its status is on its way; the call's real end would be lost.
        """
        await self._call.wait_for_connection()
        if not self._call.done():
            await self._call._cython_call.send_serialized_message(request)

    @staticmethod
    async def _sent(writing: Awaitable[None]) -> bool:
        """Wait until it is written. False: the call is over, and says why where replies are read."""
        try:
            await writing
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            return False
        return True

    async def stop(self) -> None:
        """Stop sending. An asynchronous generator that is waiting for its next item is cancelled there."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def abandon(self) -> None:
        """Stop sending without waiting for it, from where nobody can wait."""
        if not self._task.get_loop().is_closed():
            self._task.cancel()


class _AioReplies:
    def __init__(self, call: Any, address: Address, deadline: float, feed: _Feed | None = None) -> None:
        self._call = call
        self._address = address
        self._deadline = deadline
        self._feed = feed
        self._trailers: dict[str, str] = {}

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        failure = None
        try:
            reply = await self._call.read()
        except grpc.aio.AioRpcError as error:
            failure = call_error_of(cast(FailedCall, error), self._address, self._deadline)
        except asyncio.CancelledError:
            if _task_is_cancelled():
                raise
            failure = Cancelled("the stream was closed while a reply was awaited")
        else:
            if isinstance(reply, bytes):  # otherwise it is grpc.aio.EOF
                return reply
            self._trailers = texts_of(await self._call.trailing_metadata())
        await self.aclose()
        if self._feed is not None and self._feed.failure is not None:
            raise self._feed.failure from None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback leads to this frame: they would keep each other, and the call
        raise StopAsyncIteration

    def trailers(self) -> dict[str, str]:
        return self._trailers

    async def aclose(self) -> None:
        self._call.cancel()
        if self._feed is not None:
            await self._feed.stop()

    def __del__(self) -> None:
        # A loop that was left by `break` closes nothing. The feed's task would go on, for nobody.
        self._call.cancel()
        if self._feed is not None:
            self._feed.abandon()
