"""The calls of all connections of a transport: what they have in common, and how many there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runner.grpc_protocol.messages import MemoryFor, Message, Packed
from runner.grpc_protocol.metadata import Pair
from runner.grpc_protocol.request import Refusal
from runner.grpc_protocol.response import response_trailers
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.stream import Stream
from runner.server.native.call import JOIN_BELOW, Call
from runner.server.native.gathering import Gathering
from runner.server.native.meaning import HeadReader, Meaning
from runner.server.native.stream_call import StreamCall
from runner.server.native.unary_call import UnaryCall
from runner.server.native.unfinished import Unfinished
from runner.server.request_ids import RequestIds
from runner.server.rpcs import CallInfo, Rpcs, StatusOf, UnaryRpc, told_as
from runner.tuples import maker

_new_info = maker(CallInfo)

_LIMIT_MARGIN = 2
"""A longer message than the service takes is received up to so many times its limit, and answered by the service: a
gRPC error costs official stream clients 45 s."""

UNPACKED_APART = 4 * 1024
"""bytes of a compressed message from which on a thread reads it: it may be a thousand times as long, and the loop would
stand still for seconds. One at a time, so that no more than one has memory that no queue knows of."""

MAX_LASTING = 4096
"""Calls of all connections that go on until their clients leave, such as those that watch the server's health."""


class Calls:
    """All calls of a transport: what they need, and how many there are.

    Args:
        rpcs: what can be called.
        max_message_bytes: requests up to twice as long are received.
        status_of: says how an error of ours is told.
        compress_replies: send replies in a coding that the client takes.
        memory_for: where long requests of unary calls lie; None: in memory of their own.
    """

    def __init__(
        self,
        rpcs: Rpcs,
        *,
        max_message_bytes: int,
        status_of: StatusOf,
        compress_replies: bool = False,
        memory_for: MemoryFor | None = None,
    ) -> None:
        self.max_message_bytes = max_message_bytes * _LIMIT_MARGIN
        self.max_short_bytes = min(self.max_message_bytes, JOIN_BELOW)
        self.memory_for = memory_for
        self.active = 0  # calls being served, but for those that last
        self.unfinished = Unfinished()
        self.gathering = Gathering(self.info)
        self._heads = HeadReader(rpcs, compress_replies=compress_replies)
        self._status_of = status_of
        self._new_id = RequestIds().new
        self._idle: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lasting: set[StreamCall] = set()
        self._unpacker: ThreadPoolExecutor | None = None

    def opener(self, peer: str) -> Callable[[Connection, int, RequestHead], Stream]:
        """Return what makes the streams of a connection.

        Args:
            peer: the host that calls.
        """
        read, begun = self._heads.read, self.unfinished.add

        def open_stream(connection: Connection, stream_id: int, head: RequestHead) -> Stream:
            meaning: Meaning | Refusal | None = head.meaning
            if meaning is None:
                meaning = head.meaning = read(head)
            if not isinstance(meaning, Meaning):
                return _Refused(connection, stream_id, meaning.fields)
            rpc = meaning.rpc
            call: UnaryCall | StreamCall
            if isinstance(rpc, UnaryRpc):
                call = UnaryCall(connection, stream_id, self, rpc, meaning, peer)
            else:
                call = StreamCall(connection, stream_id, self, rpc, meaning, peer)
            begun(call)
            return call

        return open_stream

    def info(self, call: Call) -> CallInfo:
        """Return what the service is told of a call beside its bytes."""
        meaning, deadline = call.meaning, call.deadline
        if deadline is None and meaning.timeout is not None:
            deadline = time.monotonic() + meaning.timeout
        request_id = meaning.request_id or self._new_id()
        return _new_info((deadline, meaning.metadata, request_id, call.peer, call.trailers))

    def start(self, run: Any) -> asyncio.Task[None]:
        """Start the task of a call."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def unpacked(self, packed: Packed) -> Message:
        """Return a message that came compressed.

        Raises:
            CallFailure: see `Packed.plain`.
        """
        if len(packed) < UNPACKED_APART:
            return packed.plain()
        if self._unpacker is None:
            self._unpacker = ThreadPoolExecutor(1, thread_name_prefix="unpacker")
        return await asyncio.get_running_loop().run_in_executor(self._unpacker, packed.plain)

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

    def last(self, call: StreamCall) -> None:
        """A call has begun that goes on until its client leaves.

        Raises:
            CallFailure: there are too many.
        """
        if len(self._lasting) >= MAX_LASTING:
            raise CallFailure(StatusCode.RESOURCE_EXHAUSTED, "too many calls like this are open")
        self._lasting.add(call)

    def over(self, call: StreamCall) -> None:
        """A call with streams has ended."""
        self._lasting.discard(call)
        self.unfinished.remove(call)

    def dismiss(self) -> None:
        """End the calls for which nobody waits."""
        for call in list(self._lasting):
            call.dismiss()

    async def ended(self) -> None:
        """Wait until the tasks of all calls have ended. Each was cancelled with its stream."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._unpacker is not None:
            self._unpacker.shutdown(wait=False, cancel_futures=True)
            self._unpacker = None

    def trailers(self, error: BaseException, metadata: Sequence[Pair] = ()) -> Fields:
        """Return what a call that failed ends with, and metadata behind it."""
        if isinstance(error, CallFailure):
            return response_trailers(error.code, error.message, metadata=metadata)
        told = told_as(error, self._status_of)
        return response_trailers(told.code, told.message, told.details, metadata)


class _Refused(Stream):
    """A request that is no call: it is answered at once."""

    __slots__ = ("_fields",)

    def __init__(self, connection: Connection, stream_id: int, fields: Fields) -> None:
        super().__init__(connection, stream_id)
        self._fields = fields

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """See `Stream`."""
        self.connection.sender.headers(self, self._fields, end_stream=True)
