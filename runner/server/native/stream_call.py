"""A call with a stream on either side, or on both: one task for its whole life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from runner.grpc_protocol.messages import Message, Packed
from runner.grpc_protocol.response import response_trailers
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.sender import HIGH_WATER
from runner.http2.stream import Received
from runner.server.inbox import Inbox
from runner.server.native.call import WELL, Call
from runner.server.native.meaning import Meaning
from runner.server.rpcs import BidiRpc, CallInfo, ClientStreamRpc, ServerStreamRpc

if TYPE_CHECKING:
    from runner.server.native.calls import Calls


class StreamCall(Call):
    """A call with a stream on either side, or on both. It is the iterator of its requests."""

    __slots__ = ("_requests", "_room", "_rpc")

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        calls: Calls,
        rpc: ServerStreamRpc | BidiRpc | ClientStreamRpc,
        meaning: Meaning,
        peer: str,
    ) -> None:
        super().__init__(connection, stream_id, calls, meaning, peer)
        self._rpc = rpc
        # Bounded by the stream's window: what waits here is kept from it.
        self._requests: Inbox[Message | Packed] = Inbox()
        self._room: asyncio.Future[None] | None = None  # to write

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        if ended:
            self._requests.end()
        self.trailers = [] if self._rpc.times else None
        info = self._calls.info(self)
        if self.meaning.timeout is not None:
            # The engine has the same deadline, and answers a little before it; this one is for a call that is not there
            # yet, because its first message has not come.
            self._watch_deadline(self.meaning.timeout)
        self._task = self._calls.start(self._run(info))

    def on_data(self, data: Received, start: int, stop: int, ended: bool) -> None:
        """See `Stream`."""
        try:
            messages = self._feed(data, start, stop, ended)
        except CallFailure as failure:
            self._fail(failure)
            return
        if not self.local_open:
            return  # too much is under way, and what has just come made this call give way
        if messages:
            self._calls.unfinished.remove(self)
        else:
            self._calls.unfinished.heard(self)
        for message in messages:
            self._requests.put(message)
            self.connection.inflow.keep(self, len(message))
        self._expect()
        if ended:
            self._requests.end()

    def on_trailers(self, fields: Fields) -> None:
        """See `Stream`."""
        self._requests.end()

    def on_writable(self) -> None:
        """See `Stream`."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message = await self._requests.take()
        self.connection.inflow.consumed(self, len(message))
        self._expect()  # before, there was perhaps no room
        try:
            if isinstance(message, Packed):
                message = await self._calls.unpacked(message)
        except CallFailure as failure:
            self._fail(failure)
            await asyncio.get_running_loop().create_future()  # which cancels whoever reads
            raise AssertionError("the call's task was cancelled") from failure
        return bytes(message)  # short ones are already

    def dismiss(self) -> None:
        """End the call: the server stops."""
        self._fail(CallFailure(StatusCode.UNAVAILABLE, "the server is shutting down"))

    async def _run(self, info: CallInfo) -> None:
        rpc = self._rpc
        counted = isinstance(rpc, ClientStreamRpc) or not rpc.lasting
        self._calls.count(counted)
        try:
            if not counted:
                self._calls.last(self)
            match rpc:
                case ClientStreamRpc():
                    self._send(await rpc.answer(self, info))
                case BidiRpc():
                    await self._write(rpc.answer(self, info))
                case ServerStreamRpc():
                    request = await anext(self, None)
                    if request is None:
                        raise CallFailure(StatusCode.INTERNAL, "the request has no message")
                    await self._write(rpc.answer(request, info))
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._task = None
            self._fail(exc)
        else:
            if self.local_open:
                self._end(response_trailers(metadata=self.trailers) if self.trailers else WELL)
        finally:
            self._unwatch_deadline()
            self._calls.count(-counted)
            if self._arrived:
                self._count_arrived(0)
            self._calls.over(self)

    async def _write(self, replies: AsyncIterator[Sequence[bytes]]) -> None:
        # Closed here and not by the garbage collector: the client may leave while the generator waits for room.
        async with aclosing(cast(Any, replies)):
            async for together in replies:
                sent = 0
                while sent < len(together):
                    sent += self._send_some(together, sent)
                    if self.queued > HIGH_WATER:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
