"""A unary call: one request, one reply, and no task where its RPC can do without.

Most of what a small call costs is the loop's turns that a task and its futures take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.errors import CallError
from runner.grpc_protocol.compression import IDENTITY
from runner.grpc_protocol.messages import HEAD as MESSAGE_HEAD
from runner.grpc_protocol.messages import Message, plain
from runner.grpc_protocol.response import response_trailers
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.stream import Received
from runner.server.native.call import COMPRESSED, JOIN_BELOW, WELL, Call, Meaning
from runner.server.rpcs import CallInfo, RpcFailed, UnaryRpc
from runner.wire.payload import LongReply

if TYPE_CHECKING:
    from runner.server.native.calls import Calls


class UnaryCall(Call):
    """One request, one reply."""

    __slots__ = ("_cancel", "_counted", "_deadline", "_rpc")

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
        self._rpc: UnaryRpc | None = rpc  # None: the call runs
        self._cancel: Callable[[], None] | None = None
        self._deadline: float | None = None  # known if the message is long in coming
        self._counted = 0  # the read of the connection after which what is there of the message was counted

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        if ended:
            self._fail(CallFailure(StatusCode.INTERNAL, "the request has no message"))
        elif self._meaning.timeout is not None:
            self._calls.expect_message(self)

    def watch(self, now: float) -> None:
        """The loop has turned since the call's head came: if its message has not, somebody has to watch its deadline.

        Once it has, the engine does, from the deadline that is set here.
        """
        timeout = self._meaning.timeout
        if timeout is not None and self._rpc is not None and self.local_open:
            self._deadline = now + timeout
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
                and data[start] == 0
                and int.from_bytes(data[start + 1 : start + MESSAGE_HEAD], "big") == size
            ):
                self._begin(rpc, bytes(data[start + MESSAGE_HEAD : stop]))
                return
        elif not ended and reader.middle(data, start, stop):  # most of a long message
            if self._counted != self.connection.reads:  # for the first frame of many
                self._counted = self.connection.reads
                self._calls.heard(self)
                self._count_arrived(reader.filled)
            return
        try:
            messages = self._feed(data, start, stop, ended, self._calls.memory_for)
            if ended and not messages:
                raise CallFailure(StatusCode.INTERNAL, "the request has no message")
            request = plain(messages[0]) if messages else None
        except CallFailure as failure:
            self._fail(failure)
        else:
            if request is None:
                self._calls.heard(self)
                self._expect()
            else:
                self._begin(rpc, request)

    def on_trailers(self, fields: Fields) -> None:
        """See `Stream`."""
        if self._rpc is not None:
            self._fail(CallFailure(StatusCode.INTERNAL, "the request ended before its message"))

    def _begin(self, rpc: UnaryRpc, request: Message) -> None:
        self._rpc = None
        calls = self._calls
        calls.asked(self)
        self._trailers = [] if rpc.times else None
        self._unwatch_deadline()
        info = calls.info(self._meaning, self._peer, self._trailers, self._deadline)
        if rpc.begin is not None:
            calls.count(1)
            self._cancel = _nothing  # it may be told before it knows how to cancel
            try:
                cancel = rpc.begin(request, info, self._told)
            except Exception as exc:  # a bug, and this call's only
                self._cancel = None
                calls.count(-1)
                self._fail(exc)
                return
            if cancel is not None:
                if self._cancel is not None:
                    self._cancel = cancel
                return
            self._cancel = None
            calls.count(-1)
        self._task = calls.start(self._run(rpc, bytes(request), info))

    def _told(self, reply: Message | LongReply | CallError | RpcFailed) -> None:
        if self._cancel is None:
            return  # the caller has left
        self._cancel = None
        self._calls.count(-1)
        if isinstance(reply, Exception):
            self._fail(reply)
        else:
            self._answer(reply)

    def on_reset(self, code: int) -> None:
        """See `Stream`."""
        super().on_reset(code)
        cancel = self._cancel
        if cancel is not None:
            self._cancel = None
            self._calls.count(-1)
            cancel()

    async def _run(self, rpc: UnaryRpc, request: bytes, info: CallInfo) -> None:
        # Counted here: a task that is cancelled before its first step never gets to its `finally`.
        self._calls.count(1)
        try:
            reply = await rpc.answer(request, info)
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
        pieces = reply if isinstance(reply, LongReply) else (reply,)
        size, meaning = sum(map(len, pieces)), self._meaning
        plain = meaning.coding is IDENTITY or size not in COMPRESSED
        if plain and size < JOIN_BELOW - MESSAGE_HEAD and not self._trailers:
            data = b"".join((b"\0", size.to_bytes(4, "big"), *pieces))
            self.connection.sender.respond(self, meaning.begin, data, WELL)
        else:
            self._send(*pieces)
            self._end(response_trailers(metadata=self._trailers) if self._trailers else WELL)


def _nothing() -> None:
    """Cancel a call that is not there yet."""
