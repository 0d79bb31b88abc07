"""Calls of gRPC on the streams of a connection: requests become RPCs, replies become frames."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runner.grpc_protocol.compression import IDENTITY, choose
from runner.grpc_protocol.messages import MemoryFor, Message, Packed
from runner.grpc_protocol.metadata import Pair
from runner.grpc_protocol.request import Refusal, read_head, read_own
from runner.grpc_protocol.response import response_trailers, trailers_only
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields, RequestHead
from runner.http2.stream import Stream
from runner.server.native.call import JOIN_BELOW, Call, Meaning
from runner.server.native.stream_call import StreamCall
from runner.server.native.unary_call import UnaryCall
from runner.server.request_ids import RequestIds
from runner.server.rpcs import CallInfo, Rpcs, StatusOf, UnaryRpc, told_as
from runner.tuples import maker

_new_info = maker(CallInfo)

_LIMIT_MARGIN = 2
"""A longer message than the service takes is received up to so many times its limit, and answered by the service: a
gRPC error costs official stream clients 45 s."""

MAX_OPENED = 16_384
"""Calls of all connections of which no whole request has come. No worker and no queue knows of them, and their clients
may take as long as they like: to type the first words of a conversation, to send a long input over a slow line. So
beyond it none is refused, but the one gives way that has said nothing for the longest. Most never are among them for
longer than it takes to read one piece of a socket."""

MAX_ARRIVING_BYTES = 1 << 32
"""Bytes of messages of all connections that are not there as a whole. Beyond it, the call gives way of whose message
nothing has come for the longest: to begin long messages and end none costs a client as much as us, and we have more of
them."""

MAX_GATHERED = 64
"""Calls that are begun together. A worker may have the first ones of a long read while the others are still read."""

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
        self._rpcs = rpcs
        self._status_of = status_of
        self._compress_replies = compress_replies
        self._new_id = RequestIds().new
        self._idle: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lasting: set[StreamCall] = set()
        self._unpacker: ThreadPoolExecutor | None = None
        self._gathered: list[UnaryCall] = []  # calls that came in the piece that is read
        self._rpc: UnaryRpc | None = None  # what they ask for
        self._due = False  # they are begun when the turn of the loop ends
        self._others = False  # and come from several connections
        self._several = False  # those of the turn before did
        self._first = 0  # the connection that was read first in this turn
        self._read_at = -1.0
        self._expected: list[UnaryCall] = []  # with a deadline; their heads came in this turn of the loop
        self._opened: OrderedDict[Call, None] = OrderedDict()  # no request has come; who was heard of last is last
        self._arriving: OrderedDict[Call, int] = (
            OrderedDict()
        )  # bytes of messages that are not whole; in the same order
        self._arriving_bytes = 0

    def opener(self, peer: str) -> Callable[[Connection, int, RequestHead], Stream]:
        """Return what makes the streams of a connection.

        Args:
            peer: the host that calls.
        """
        opened = self._opened

        def open_stream(connection: Connection, stream_id: int, head: RequestHead) -> Stream:
            meaning: Meaning | Refusal | None = head.meaning
            if meaning is None:
                meaning = head.meaning = self._read(head)
            if not isinstance(meaning, Meaning):
                return _Refused(connection, stream_id, meaning.fields)
            if len(opened) >= MAX_OPENED:
                next(iter(opened)).give_way("too many calls are open without a request")
            rpc = meaning.rpc
            call: UnaryCall | StreamCall
            if isinstance(rpc, UnaryRpc):
                call = UnaryCall(connection, stream_id, self, rpc, meaning, peer)
            else:
                call = StreamCall(connection, stream_id, self, rpc, meaning, peer)
            opened[call] = None
            return call

        return open_stream

    def _read(self, head: RequestHead) -> Meaning | Refusal:
        common = head.common
        try:
            if common is not None:
                if common.meaning is None:
                    common.meaning = self._read_whole(common)
                known = common.meaning
                if isinstance(known, Meaning) and (call := read_own(known.head, head.own)) is not None:
                    return Meaning(call, known.rpc, known.coding)
            return self._read_whole(head)
        except Refusal as refusal:
            return refusal

    def _read_whole(self, head: RequestHead) -> Meaning | Refusal:
        try:
            call = read_head(head)
        except Refusal as refusal:
            return refusal
        rpc = self._rpcs.get(call.path)
        if rpc is None:
            message = f"there is no RPC {call.path}"
            return Refusal(trailers_only(response_trailers(StatusCode.UNIMPLEMENTED, message)), message)
        return Meaning(call, rpc, choose(call.accept_encoding) if self._compress_replies else IDENTITY)

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

    def gather(self, rpc: UnaryRpc, call: UnaryCall) -> None:
        """Have an RPC begin with a call, and with others that come with it, when `begin` is called or before."""
        self.active += 1
        if rpc is not self._rpc:
            self.begin()
            self._rpc = rpc
        self._gathered.append(call)
        if len(self._gathered) >= MAX_GATHERED:
            self.begin()

    def has_read(self, connection: object, now: float) -> None:
        """What there was to read on a connection has been read: have the calls begun that it brought.

        At once, where one connection has something at a time. Where several have something in one turn of the loop, at
        the turn's end, all together; and in the next turn too, in case there are several again.

        Args:
            connection: any object that stands for it.
            now: instant, by the loop's clock, which stands still for a turn (uvloop's does; by another, each connection
                has turns of its own).
        """
        if not self._gathered:
            return
        others = now == self._read_at and id(connection) != self._first
        if not others:
            self._first = id(connection)
            self._read_at = now
        if not (others or self._several):
            self.begin()
        elif self._due:
            self._others |= others
        else:
            self._due, self._others = True, others
            asyncio.get_running_loop().call_soon(self._turn_ended)

    def _turn_ended(self) -> None:
        self._due = False
        self._several = self._others
        self.begin()

    def begin(self) -> None:
        """Have the calls begun that have come."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        rpc = self._rpc
        assert rpc is not None
        assert rpc.begin is not None
        calls = [call for call in gathered if call.waits]
        for call in calls:
            call.info = self.info(call)
        try:
            rpc.begin(calls)
        except Exception as exc:  # a bug, and these calls' only
            for call in calls:
                call.told(exc)
        for call in calls:
            call.begun(rpc)

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

    def expect_message(self, call: UnaryCall) -> None:
        """The head of a call with a deadline has come. Most messages come with their heads, and need no timer."""
        if not self._expected:
            asyncio.get_running_loop().call_soon(self._watch_expected)
        self._expected.append(call)

    def _watch_expected(self) -> None:
        expected, self._expected = self._expected, []
        now = time.monotonic()
        for call in expected:
            call.watch(now)

    def heard(self, call: Call) -> None:
        """Something of a call's first request has come."""
        if call in self._opened:
            self._opened.move_to_end(call)

    def arrived(self, call: Call, size: int) -> None:
        """So much is there of a call's message that is not whole; 0: it has none."""
        self._arriving_bytes += size - self._arriving.pop(call, 0)
        if size:
            self._arriving[call] = size
            while self._arriving_bytes > MAX_ARRIVING_BYTES:
                stale, its = self._arriving.popitem(last=False)
                self._arriving_bytes -= its
                stale.give_way("too much is under way; send the call again later")

    def asked(self, call: Call) -> None:
        """A call's first request is there, or will not come. May be said again."""
        self._opened.pop(call, None)

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
        self._opened.pop(call, None)

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
