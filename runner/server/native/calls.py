"""Calls of gRPC on the streams of a connection: requests become RPCs, replies become frames.

A unary call is answered without a task where the RPC can do without (`UnaryRpc.begin`): most of what a small call costs
is the loop's turns that a task and its futures take. All others have one task for the call's whole life.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

from runner.errors import CallError, InternalError
from runner.grpc_protocol.compression import CODINGS, IDENTITY, choose, compress
from runner.grpc_protocol.messages import HEAD as MESSAGE_HEAD
from runner.grpc_protocol.messages import Message, MessageReader, Packed, frame, head, plain
from runner.grpc_protocol.metadata import Pair
from runner.grpc_protocol.request import CallHead, Refusal, read_head
from runner.grpc_protocol.response import OK, response_head, response_trailers, trailers_only
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.sender import HIGH_WATER, HeaderBlock
from runner.http2.stream import Stream
from runner.server.rpcs import BidiRpc, ClientStreamRpc, Rpc, RpcFailed, Rpcs, ServerStreamRpc, UnaryRpc
from runner.server.service import CallInfo
from runner.server.status import rpc_status

logger = logging.getLogger("runner.server")

_HEADS: Final = {
    coding: HeaderBlock(response_head(encoding=coding), end_stream=False) for coding in (IDENTITY, *CODINGS)
}
_OK: Final = HeaderBlock(OK, end_stream=True)

_LIMIT_MARGIN = 2
"""A longer message than the service takes is received up to so many times its limit, and answered by the service: a
gRPC error costs official stream clients 45 s."""

_JOIN_BELOW: Final = 16 * 1024
"""A shorter message is joined with its head; a longer one is sent where it lies."""

_COMPRESSED: Final = range(1024, 256 * 1024 + 1)
"""Lengths of the replies that are compressed, where they are. A shorter one gains nothing; to compress a longer one
would hold up everybody else's calls."""

_REQUEST_ID = "x-request-id"
_REQUEST_ID_LENGTH = 128


class _Meaning:
    """What a request's head asks for. Clients repeat their heads, and a repeated one is read once."""

    __slots__ = ("begin", "coding", "head", "metadata", "request_id", "rpc", "timeout")

    def __init__(self, head: CallHead, rpc: Rpc, coding: str) -> None:
        self.head = head
        self.rpc = rpc
        self.coding = coding  # of replies that are worth it
        self.begin = _HEADS[coding]
        self.timeout = head.timeout
        self.metadata: Sequence[Pair] = head.metadata
        self.request_id = ""
        for name, value in head.metadata:
            if name == _REQUEST_ID and isinstance(value, str):
                self.request_id = value[:_REQUEST_ID_LENGTH]


class Calls:
    """All calls of a transport: what they need, and how many there are.

    Args:
        rpcs: what can be called.
        max_message_bytes: requests up to twice as long are received.
        hide_model_errors: do not tell callers what the model's own exceptions say.
        compress_replies: send replies in a coding that the client takes.
    """

    def __init__(
        self, rpcs: Rpcs, *, max_message_bytes: int, hide_model_errors: bool, compress_replies: bool = False
    ) -> None:
        self.max_message_bytes = max_message_bytes * _LIMIT_MARGIN
        self.max_short_bytes = min(self.max_message_bytes, _JOIN_BELOW)
        self.active = 0  # calls being served, but for those that last
        self._rpcs = rpcs
        self._hide_model_errors = hide_model_errors
        self._compress_replies = compress_replies
        self._id_prefix = secrets.token_hex(4)
        self._id_count = itertools.count(1)
        self._idle: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lasting: set[_StreamCall] = set()

    def opener(self, peer: str) -> Callable[[Connection, int, RequestHead], Stream]:
        """Return what makes the streams of a connection.

        Args:
            peer: the host that calls.
        """

        def open_stream(connection: Connection, stream_id: int, head: RequestHead) -> Stream:
            meaning = head.meaning
            if meaning is None:
                meaning = head.meaning = self._read(head)
            if isinstance(meaning, Refusal):
                return _Refused(connection, stream_id, meaning.fields)
            rpc = cast(_Meaning, meaning).rpc
            if isinstance(rpc, UnaryRpc):
                return _UnaryCall(connection, stream_id, self, rpc, meaning, peer)
            return _StreamCall(connection, stream_id, self, rpc, meaning, peer)

        return open_stream

    def _read(self, head: RequestHead) -> _Meaning | Refusal:
        try:
            call = read_head(head)
        except Refusal as refusal:
            return refusal
        rpc = self._rpcs.get(call.path)
        if rpc is None:
            message = f"there is no RPC {call.path}"
            return Refusal(trailers_only(response_trailers(StatusCode.UNIMPLEMENTED, message)), message)
        return _Meaning(call, rpc, choose(call.accept_encoding) if self._compress_replies else IDENTITY)

    def info(self, meaning: _Meaning, peer: str, trailers: list[tuple[str, str]] | None) -> CallInfo:
        """Return what the service is told of a call beside its bytes."""
        return CallInfo(
            None if meaning.timeout is None else time.monotonic() + meaning.timeout,
            meaning.metadata,
            meaning.request_id or f"{self._id_prefix}-{next(self._id_count)}",
            peer,
            trailers,
        )

    def start(self, run: Any) -> asyncio.Task[None]:
        """Start the task of a call."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def count(self, calls: int) -> None:
        """So many calls more, or less."""
        self.active += calls
        if not self.active and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def idle(self) -> None:
        """Wait until no call is being served."""
        if self.active:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def last(self, call: _StreamCall, lasts: bool) -> None:
        """A call that goes on until its client leaves has begun, or has ended."""
        if lasts:
            self._lasting.add(call)
        else:
            self._lasting.discard(call)

    def dismiss(self) -> None:
        """End the calls for which nobody waits."""
        for call in list(self._lasting):
            call.dismiss()

    async def ended(self) -> None:
        """Wait until the tasks of all calls have ended. Each was cancelled with its stream."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def trailers(self, error: BaseException) -> Fields:
        """Return what a call that failed ends with."""
        if isinstance(error, RpcFailed | CallFailure):
            return response_trailers(error.code, error.message)
        if not isinstance(error, CallError):
            logger.error("internal error in a call", exc_info=error)
            error = InternalError("internal error; the server's log has more")
        return response_trailers(*rpc_status(error, hide_model_errors=self._hide_model_errors))


def _nothing() -> None:
    """Cancel a call that is not there yet."""


class _Refused(Stream):
    """A request that is no call: it is answered at once."""

    __slots__ = ("_fields",)

    def __init__(self, connection: Connection, stream_id: int, fields: Fields) -> None:
        super().__init__(connection, stream_id)
        self._fields = fields

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        self.connection.sender.headers(self, self._fields, end_stream=True)


class _Call(Stream):
    """What both kinds of calls share: their messages, and how they end."""

    __slots__ = ("_begun", "_calls", "_meaning", "_peer", "_reader", "_task")

    def __init__(self, connection: Connection, stream_id: int, calls: Calls, meaning: _Meaning, peer: str) -> None:
        super().__init__(connection, stream_id)
        self._calls = calls
        self._meaning = meaning
        self._peer = peer
        self._reader: MessageReader | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = False  # the head of the response was sent

    def _feed(self, data: bytes, start: int, stop: int, ended: bool) -> list[Message | Packed]:
        """Return the messages that end in a piece of the body.

        Raises:
            CallFailure: they are none.
        """
        reader = self._reader
        if reader is None:
            reader = self._reader = MessageReader(self._calls.max_message_bytes, self._meaning.head.decompress)
        messages = reader.feed(data, start, stop)
        if ended and not reader.between:
            raise CallFailure(StatusCode.INTERNAL, "the request ended in the middle of a message")
        return messages

    def _expect(self) -> None:
        """Make room for the rest of a message that has begun. It fits: the reader has looked at its length."""
        if self._reader is not None and (missing := self._reader.missing):
            self.connection.expect(self, missing)

    def _send(self, message: Message) -> None:
        """Send one message of the response."""
        sender = self.connection.sender
        meaning = self._meaning
        if not self._begun:
            self._begun = True
            sender.begin(self, meaning.begin)
        size = len(message)
        if meaning.coding is not IDENTITY and size in _COMPRESSED:
            sender.data(self, frame(compress(meaning.coding, message), compressed=True))
        elif size < _JOIN_BELOW:
            sender.data(self, b"".join((b"\0", size.to_bytes(4, "big"), message)))
        else:
            sender.data(self, head(size))
            sender.data(self, message)

    def _end(self, trailers: Fields | HeaderBlock) -> None:
        if self._begun:
            self.connection.sender.end(self, trailers)
        elif isinstance(trailers, HeaderBlock):
            self.connection.sender.headers(self, trailers_only(OK), end_stream=True)
        else:
            self.connection.sender.headers(self, trailers_only(trailers), end_stream=True)

    def _fail(self, error: BaseException) -> None:
        """End the call with an error, unless it is over."""
        if self.local_open:
            self._end(self._calls.trailers(error))
            self.local_open = False
        if self._task is not None:
            self._task.cancel()

    def on_reset(self, code: int) -> None:
        """See `Stream`."""
        if self._task is not None:
            self._task.cancel()


class _UnaryCall(_Call):
    """One request, one reply."""

    __slots__ = ("_cancel", "_rpc", "_trailers")

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        calls: Calls,
        rpc: UnaryRpc,
        meaning: _Meaning,
        peer: str,
    ) -> None:
        super().__init__(connection, stream_id, calls, meaning, peer)
        self._rpc: UnaryRpc | None = rpc  # None: the call runs
        self._cancel: Callable[[], None] | None = None
        self._trailers: list[tuple[str, str]] | None = None

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        if ended:
            self._fail(CallFailure(StatusCode.INTERNAL, "the request has no message"))

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        """See `Stream`."""
        rpc = self._rpc
        if rpc is None:
            return  # a second message, which nobody wants, or the end on its own
        size = stop - start - MESSAGE_HEAD
        if (
            0 <= size <= self._calls.max_short_bytes
            and data[start] == 0
            and self._reader is None
            and int.from_bytes(data[start + 1 : start + MESSAGE_HEAD], "big") == size
        ):
            self._begin(rpc, data[start + MESSAGE_HEAD : stop])
            return
        try:
            messages = self._feed(data, start, stop, ended)
            if ended and not messages:
                raise CallFailure(StatusCode.INTERNAL, "the request has no message")
            request = plain(messages[0]) if messages else None
        except CallFailure as failure:
            self._fail(failure)
        else:
            if request is None:
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
        self._trailers = [] if rpc.times else None
        info = calls.info(self._meaning, self._peer, self._trailers)
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

    def _told(self, reply: bytes | CallError) -> None:
        if self._cancel is None:
            return  # the caller has left
        self._cancel = None
        self._calls.count(-1)
        if isinstance(reply, CallError):
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

    def _answer(self, reply: Message) -> None:
        if not self.local_open:
            return
        size, meaning = len(reply), self._meaning
        plain = meaning.coding is IDENTITY or size not in _COMPRESSED
        if plain and size < _JOIN_BELOW - MESSAGE_HEAD and not self._trailers:
            data = b"".join((b"\0", size.to_bytes(4, "big"), reply))
            self.connection.sender.respond(self, meaning.begin, data, _OK)
        else:
            self._send(reply)
            self._end(response_trailers(metadata=self._trailers) if self._trailers else _OK)


class _StreamCall(_Call):
    """A call with a stream on either side, or on both. It is the iterator of its requests."""

    __slots__ = ("_ended", "_failure", "_requests", "_room", "_rpc", "_timer", "_waiter")

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        calls: Calls,
        rpc: ServerStreamRpc | BidiRpc | ClientStreamRpc,
        meaning: _Meaning,
        peer: str,
    ) -> None:
        super().__init__(connection, stream_id, calls, meaning, peer)
        self._rpc = rpc
        self._requests: deque[Message | Packed] = (
            deque()
        )  # bounded by the stream's window: what waits here is kept from it
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None  # of the next request
        self._room: asyncio.Future[None] | None = None  # to write
        self._timer: asyncio.TimerHandle | None = None

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        self._ended = ended
        info = self._calls.info(self._meaning, self._peer, [] if self._rpc.times else None)
        if self._meaning.timeout is not None:
            # The engine has the same deadline, and answers a little before it; this one is for a call that is not there
            # yet, because its first message has not come.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._meaning.timeout, self._expire)
        self._task = self._calls.start(self._run(info))

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        """See `Stream`."""
        try:
            messages = self._feed(data, start, stop, ended)
        except CallFailure as failure:
            self._fail(failure)
            return
        for message in messages:
            self._requests.append(message)
            self.connection.keep(self, len(message))
        self._expect()
        self._ended = ended
        self._wake()

    def on_trailers(self, fields: Fields) -> None:
        """See `Stream`."""
        self._ended = True
        self._wake()

    def on_writable(self) -> None:
        """See `Stream`."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._requests:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._requests.popleft()
        self.connection.consumed(self, len(message))
        self._expect()  # before, there was perhaps no room
        try:
            return bytes(plain(message))  # short ones are already
        except CallFailure as failure:
            self._fail(failure)
            await asyncio.get_running_loop().create_future()  # which cancels whoever reads
            raise AssertionError("the call's task was cancelled") from failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def dismiss(self) -> None:
        """End the call: the server stops."""
        self._fail(CallFailure(StatusCode.UNAVAILABLE, "the server is shutting down"))

    def _expire(self) -> None:
        self._fail(CallFailure(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"))

    async def _run(self, info: CallInfo) -> None:
        rpc = self._rpc
        counted = isinstance(rpc, ClientStreamRpc) or not rpc.lasting
        self._calls.count(counted)
        if not counted:
            self._calls.last(self, True)
        try:
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
                self._end(response_trailers(metadata=info.trailers) if info.trailers else _OK)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._calls.count(-counted)
            self._calls.last(self, False)

    async def _write(self, replies: AsyncIterator[bytes]) -> None:
        # Closed here and not by the garbage collector: the client may leave while the generator waits for room.
        async with aclosing(cast(Any, replies)):
            async for reply in replies:
                self._send(reply)
                if self.queued > HIGH_WATER:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
