"""A unary call: one request, one reply, and no task where its RPC can do without.

Most of what a small call costs is the loop's turns that a task and its futures take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from runner.grpc_protocol.compression import IDENTITY
from runner.grpc_protocol.messages import HEAD as MESSAGE_HEAD
from runner.grpc_protocol.messages import Message, Packed
from runner.grpc_protocol.response import response_trailers
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.stream import Received
from runner.server.native.call import COMPRESSED, JOIN_BELOW, WELL, Call
from runner.server.native.meaning import Meaning
from runner.server.rpcs import CallInfo, UnaryRpc
from runner.wire.payload import LongReply, Payload

if TYPE_CHECKING:
    from runner.server.native.calls import Calls


_UNKNOWN: Final = CallInfo()


class UnaryCall(Call):
    """One request, one reply."""

    __slots__ = ("_counted", "_rpc", "_waits", "info", "request", "stop")

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        calls: Calls,
        rpc: UnaryRpc,
        meaning: Meaning,
        peer: str,
    ) -> None:
        super().__init__(connection, stream_id, calls, meaning, peer)
        self._rpc: UnaryRpc | None = rpc  # None: the message is there
        self._waits = False  # for an answer that does not come from a task
        self._counted = 0  # the read of the connection after which what is there of the message was counted
        self.request: Payload = b""  # until it was begun
        self.info = _UNKNOWN
        self.stop: Callable[[], None] | None = None

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        if ended:
            self._fail(CallFailure(StatusCode.INTERNAL, "the request has no message"))
        elif self.meaning.timeout is not None:
            self._calls.unfinished.expect_message(self)

    def watch(self, now: float) -> None:
        """The loop has turned since the call's head came: if its message has not, somebody has to watch its deadline.

        Once it has, the engine does, from the deadline that is set here.
        """
        timeout = self.meaning.timeout
        if timeout is not None and self._rpc is not None and self.local_open:
            self.deadline = now + timeout
            self._watch_deadline(timeout)

    def on_data(self, data: Received, start: int, stop: int, ended: bool) -> None:
        """See `Stream`."""
        rpc = self._rpc
        if rpc is None:
            return  # a second message, which nobody wants, or the end on its own
        reader = self._reader
        if reader is None:
            size = stop - start - MESSAGE_HEAD
            if (
                0 <= size <= self._calls.max_short_bytes
                and data[start : start + MESSAGE_HEAD]
                == size.to_bytes(MESSAGE_HEAD, "big")  # a flag of 0, and the size
            ):
                self._begin(rpc, bytes(data[start + MESSAGE_HEAD : stop]))
                return
        elif not ended and reader.middle(data, start, stop):  # most of a long message
            if self._counted != self.connection.reads:  # for the first frame of many
                self._counted = self.connection.reads
                self._calls.unfinished.heard(self)
                self._count_arrived(reader.filled)
            return
        try:
            messages = self._feed(data, start, stop, ended, self._calls.memory_for)
            if ended and not messages:
                raise CallFailure(StatusCode.INTERNAL, "the request has no message")
        except CallFailure as failure:
            self._fail(failure)
        else:
            if not messages:
                self._calls.unfinished.heard(self)
                self._expect()
            elif isinstance(messages[0], Packed):
                self._unpack(rpc, messages[0])
            else:
                self._begin(rpc, messages[0])

    def _unpack(self, rpc: UnaryRpc, packed: Packed) -> None:
        self._rpc = None
        self._calls.unfinished.remove(self)
        self._count_arrived(len(packed))  # until it is read
        if self.deadline is None and self.meaning.timeout is not None:
            self.deadline = time.monotonic() + self.meaning.timeout
        self._task = self._calls.start(self._begin_unpacked(rpc, packed))

    async def _begin_unpacked(self, rpc: UnaryRpc, packed: Packed) -> None:
        self._calls.count(1)
        try:
            request = await self._calls.unpacked(packed)
        except CallFailure as failure:
            self._task = None
            self._fail(failure)
        else:
            self._task = None
            self._count_arrived(0)
            self._begin(rpc, request)
            self._calls.gathering.begin()
        finally:
            self._calls.count(-1)

    def on_trailers(self, fields: Fields) -> None:
        """See `Stream`."""
        if self._rpc is not None:
            self._fail(CallFailure(StatusCode.INTERNAL, "the request ended before its message"))

    def _begin(self, rpc: UnaryRpc, request: Message) -> None:
        self._rpc = None
        calls = self._calls
        calls.unfinished.remove(self)
        if self._timer is not None:
            self._unwatch_deadline()
        if rpc.times:
            self.trailers = []
        self.request = request
        if rpc.begin is None:
            self.info = calls.info(self)
            self._start(rpc)
        else:
            self._waits = True
            calls.count(1)
            calls.gathering.add(rpc, self)

    @property
    def waits(self) -> bool:
        """False once it was told, or its caller has left."""
        return self._waits

    def begun(self, rpc: UnaryRpc) -> None:
        """The RPC was asked to begin."""
        if self._waits and self.stop is None:
            self._waits = False
            self._calls.count(-1)
            self._start(rpc)
        self.request = b""

    def told(self, reply: Message | LongReply | Exception) -> None:
        """See `Arrival`. Nothing is answered if the caller has left."""
        if not self._waits:
            return
        self._waits = False
        self.stop = None
        self._calls.count(-1)
        if isinstance(reply, Exception):
            self._fail(reply)
        else:
            self._answer(reply)

    def on_reset(self, code: int) -> None:
        """See `Stream`."""
        super().on_reset(code)
        if self._waits:
            self._waits = False
            self._calls.count(-1)
            stop, self.stop = self.stop, None
            if stop is not None:
                stop()

    def _start(self, rpc: UnaryRpc) -> None:
        request, self.request = self.request, b""
        if len(request) <= self._calls.max_message_bytes // 2:
            request = bytes(request)  # a longer one is refused by its length, and to copy it would hold up others
        self._task = self._calls.start(self._run(rpc, request, self.info))

    async def _run(self, rpc: UnaryRpc, request: Payload, info: CallInfo) -> None:
        # Counted here: a task that is cancelled before its first step never gets to its `finally`.
        self._calls.count(1)
        try:
            reply = await rpc.answer(cast(bytes, request), info)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._task = None
            self._fail(exc)
        else:
            self._answer(reply)
        finally:
            self._calls.count(-1)

    def _answer(self, reply: Message | LongReply) -> None:
        if not self.local_open:
            return
        trailers = self.trailers
        if type(reply) is bytes and not trailers and (size := len(reply)) < JOIN_BELOW - MESSAGE_HEAD:
            meaning = self.meaning
            if meaning.coding is IDENTITY or size not in COMPRESSED:
                head = size.to_bytes(MESSAGE_HEAD, "big")  # a flag of 0, and the length in four bytes
                self.connection.sender.respond(self, meaning.begin, reply, WELL, head)
                return
        self._send(*(reply if isinstance(reply, LongReply) else (reply,)))
        self._end(response_trailers(metadata=trailers) if trailers else WELL)
