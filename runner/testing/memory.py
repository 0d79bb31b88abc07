"""The client's transports without a network: straight into a service that runs on a loop in another thread."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

from runner.client.failures import Unreachable, from_grpc
from runner.client.transport import AsyncReplies, CallOptions, Replies
from runner.errors import CallError
from runner.server.request_ids import brought_id
from runner.server.rpcs import CallInfo
from runner.server.status import rpc_status
from runner.signature.dialect import Dialect
from runner.testing.inline_server import InlineServer
from runner.testing.memory_call import Delivered, MemoryCall, Opener, deadline_exceeded
from runner.wire.statistics import decode_times

__all__ = ["AsyncMemoryTransport", "MemoryTransport"]

_NATIVE = Dialect.NATIVE


class _Gate:
    """What both transports need of the service: its calls, opened from outside of its loop.

    Errors go through the status that a network would carry: a test sees what callers see, and no more.
    """

    def __init__(self, server: InlineServer) -> None:
        self.service = server.service
        self.loop = server.loop
        self._hide_model_errors = server.config.hide_model_errors
        self.calls: weakref.WeakSet[MemoryCall] = weakref.WeakSet()
        self._numbers = itertools.count(1)

    def info(self, options: CallOptions) -> CallInfo:
        """Return what a transport tells the service about a call.

        Raises:
            Unreachable: the service is closed, and its loop with it.
        """
        if self.loop.is_closed():
            raise Unreachable("the server in this process is closed: its `with` block was left")
        deadline = None if options.timeout is None else time.monotonic() + options.timeout
        request_id = brought_id(options.metadata) or f"memory-{next(self._numbers)}"
        return CallInfo(deadline, options.metadata, request_id, trailers=[])

    async def unary(self, rpc: str, request: bytes, options: CallOptions, info: CallInfo) -> bytes:
        """Make a unary call; runs on the service's loop."""
        try:
            async with asyncio.timeout(options.timeout):
                reply = await self.service.unary(_NATIVE, rpc, request, info)
            if options.trailers is not None:
                options.trailers.update(info.trailers or ())
            return reply
        except TimeoutError:
            raise deadline_exceeded(options.timeout) from None
        except CallError as error:
            raise self._told(error, info) from error

    def server_stream(self, rpc: str, request: bytes, info: CallInfo) -> Opener:
        """Return what opens a server-stream call."""
        return lambda _: self._replies(self.service.server_stream(_NATIVE, rpc, request, info), info)

    def bidi(self, rpc: str, info: CallInfo) -> Opener:
        """Return what opens a bidi call."""
        return lambda requests: self._replies(self.service.bidi(_NATIVE, rpc, requests, info), info)

    def client_stream(self, rpc: str, info: CallInfo) -> Opener:
        """Return what opens a client-stream call: a stream of one reply."""

        async def only(requests: AsyncIterator[bytes]) -> AsyncGenerator[Sequence[bytes], None]:
            yield (await self.service.client_stream(_NATIVE, rpc, requests, info),)

        return lambda requests: self._replies(only(requests), info)

    def close(self) -> None:
        """Cancel what is in flight."""
        for call in list(self.calls):
            call.cancel()

    async def _replies(self, replies: AsyncIterator[Sequence[bytes]], info: CallInfo) -> AsyncGenerator[bytes, None]:
        try:
            async for together in replies:
                for reply in together:
                    yield reply
        except CallError as error:
            raise self._told(error, info) from error
        finally:
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()

    def _told(self, error: CallError, info: CallInfo) -> CallError:
        code, text, details = rpc_status(error, hide_model_errors=self._hide_model_errors)
        told = from_grpc(code, text, details, target="the server in this process")
        told.times = decode_times(dict(info.trailers or ()))
        return told


class MemoryTransport:
    """For `Model`. Implements `runner.client.transport.Transport`."""

    def __init__(self, server: InlineServer) -> None:
        self._gate = _Gate(server)

    def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        call = self._gate.unary(rpc, request, options, self._gate.info(options))
        waiting = asyncio.run_coroutine_threadsafe(call, self._gate.loop)
        try:
            return waiting.result()
        finally:
            waiting.cancel()  # Ctrl-C while waiting

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> Replies:
        """Send one request; the call has started when this returns."""
        info = self._gate.info(options)
        return _MemoryReplies(self._gate, self._gate.server_stream(rpc, request, info), options.timeout, info)

    def bidi(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> Replies:
        """Send requests from a thread of our own while replies are read."""
        info = self._gate.info(options)
        return _MemoryReplies(self._gate, self._gate.bidi(rpc, info), options.timeout, info, requests)

    def client_stream(self, rpc: str, requests: Iterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        info = self._gate.info(options)
        replies = _MemoryReplies(self._gate, self._gate.client_stream(rpc, info), options.timeout, info, requests)
        try:
            reply = next(replies)
            if options.trailers is not None:
                options.trailers.update(replies.trailers())
            return reply
        finally:
            replies.close()

    def close(self) -> None:
        """Cancel what is in flight."""
        self._gate.close()


class _MemoryReplies:
    def __init__(
        self,
        gate: _Gate,
        opener: Opener,
        timeout: float | None,
        info: CallInfo,
        requests: Iterator[bytes] | None = None,
    ) -> None:
        self._info = info
        self._delivered: queue.SimpleQueue[Delivered] = queue.SimpleQueue()
        self._call = MemoryCall(gate.loop, opener, self._delivered.put, timeout)
        gate.calls.add(self._call)
        if requests is not None:
            # A daemon: the caller's iterator may wait for ever, and the process has to end all the same.
            threading.Thread(target=_feed, args=(self._call, requests), name="requests", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        delivered = self._delivered.get()
        if isinstance(delivered, bytes):
            self._call.taken()
            return delivered
        self._delivered.put(None)  # whoever asks again is at the end
        if delivered is None:
            raise StopIteration
        raise delivered

    def trailers(self) -> dict[str, str]:
        return dict(self._info.trailers or ())  # the service fills them before it ends the stream

    def close(self) -> None:
        self._call.cancel()

    def __del__(self) -> None:
        self._call.cancel()


def _feed(call: MemoryCall, requests: Iterator[bytes]) -> None:
    try:
        for request in requests:
            if not call.send(request).result():
                return
        call.send(None)
    except Exception as error:  # the caller's iterator raised: the stream must not end as if all had been sent
        call.cancel(error)


class AsyncMemoryTransport:
    """For `AsyncModel`. Implements `runner.client.transport.AsyncTransport`."""

    def __init__(self, server: InlineServer) -> None:
        self._gate = _Gate(server)

    async def unary(self, rpc: str, request: bytes, options: CallOptions) -> bytes:
        """Send one request and wait for its reply."""
        call = self._gate.unary(rpc, request, options, self._gate.info(options))
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._gate.loop))

    def server_stream(self, rpc: str, request: bytes, options: CallOptions) -> AsyncReplies:
        """Send one request; the call has started when this returns."""
        info = self._gate.info(options)
        return _AsyncMemoryReplies(self._gate, self._gate.server_stream(rpc, request, info), options.timeout, info)

    def bidi(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> AsyncReplies:
        """Send requests from a task of our own while replies are read."""
        info = self._gate.info(options)
        return _AsyncMemoryReplies(self._gate, self._gate.bidi(rpc, info), options.timeout, info, requests)

    async def client_stream(self, rpc: str, requests: AsyncIterator[bytes], options: CallOptions) -> bytes:
        """Send all requests and wait for the one reply."""
        info = self._gate.info(options)
        replies = _AsyncMemoryReplies(self._gate, self._gate.client_stream(rpc, info), options.timeout, info, requests)
        async with contextlib.aclosing(replies):
            reply = await anext(replies)
            if options.trailers is not None:
                options.trailers.update(replies.trailers())
            return reply

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        self._gate.close()


class _AsyncMemoryReplies:
    def __init__(
        self,
        gate: _Gate,
        opener: Opener,
        timeout: float | None,
        info: CallInfo,
        requests: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._info = info
        loop = asyncio.get_running_loop()
        delivered: asyncio.Queue[Delivered] = asyncio.Queue()
        self._delivered = delivered

        def deliver(item: Delivered) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
                loop.call_soon_threadsafe(delivered.put_nowait, item)

        self._call = MemoryCall(gate.loop, opener, deliver, timeout)
        gate.calls.add(self._call)
        self._feeding = None if requests is None else loop.create_task(_feed_async(self._call, requests))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        delivered = await self._delivered.get()
        if isinstance(delivered, bytes):
            self._call.taken()
            return delivered
        self._delivered.put_nowait(None)  # whoever asks again is at the end
        await self.aclose()
        if delivered is None:
            raise StopAsyncIteration
        raise delivered

    def trailers(self) -> dict[str, str]:
        return dict(self._info.trailers or ())

    async def aclose(self) -> None:
        self._call.cancel()
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)

    def __del__(self) -> None:
        self._call.cancel()
        if self._feeding is not None and not self._feeding.get_loop().is_closed():
            self._feeding.cancel()


async def _feed_async(call: MemoryCall, requests: AsyncIterator[bytes]) -> None:
    try:
        async for request in requests:
            if not await asyncio.wrap_future(call.send(request)):
                return
        await asyncio.wrap_future(call.send(None))
    except Exception as error:  # see `_feed`
        call.cancel(error)
