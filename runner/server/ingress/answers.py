"""The calls that one ingress process brings, answered by the RPCs of the main process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol, cast

from runner.flow import Consumption, Window
from runner.server.inbox import Inbox
from runner.server.ingress.frames import new_item
from runner.server.ingress.heads import KEPT, LONGEST_KEPT, Pair, pack_trailers, read_head
from runner.server.ingress.messages import WINDOW, WINDOW_BYTES, Call, Credit, Failed, Item, Message, Result
from runner.server.ingress.tunnel import HTTP1, Outlet
from runner.server.native.transport import MakeHttp1
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
from runner.wire.payload import LongReply, Payload


class _Open(Protocol):
    """A call that is not over."""

    def item(self, payload: Payload) -> None:
        """One more request has come."""

    def end_input(self) -> None:
        """That was the last."""

    def grant(self, items: int, size: int) -> None:
        """So many more replies may be sent."""

    def cancel(self) -> None:
        """Nobody waits for it any more. It has been forgotten."""


class Answers:
    """See the module's text.

    Args:
        rpcs: what can be called.
        status_of: says how an error of ours is told.
        http1: makes the protocol of a connection that speaks HTTP/1.1.
        send: sends to the ingress process.
    """

    def __init__(self, rpcs: Rpcs, status_of: StatusOf, http1: MakeHttp1, send: Callable[[Message], None]) -> None:
        self.send = send
        self.answered = 0
        self._rpcs = rpcs
        self._status_of = status_of
        self._http1 = http1
        self._known: dict[bytes, _Known] = {}
        self._calls: dict[int, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: Call) -> None:
        """Begin to answer a call.

        Raises:
            ValueError: there is no such RPC: ingress processes refuse those themselves.
        """
        known = self._known.get(call.head)
        if known is None:
            known = self._learn(call.head)
        rpc, peer, metadata = known
        if isinstance(rpc, UnaryRpc):
            info = CallInfo(call.deadline, metadata, call.request_id, peer, [] if rpc.times else None)
            unary = self._calls[call.id] = _Unary(self, call.id, info)
            unary.begin(rpc, call.payload)
        elif rpc is None:
            tunnel = Outlet(call.id, peer, self.send, self._forget)
            self._calls[call.id] = tunnel
            tunnel.begin(self._http1)
        else:
            info = CallInfo(call.deadline, metadata, call.request_id, peer, [] if rpc.times else None)
            stream = self._calls[call.id] = _Stream(self, call.id, info)
            stream.task = self.start(stream.run(rpc, call.payload))

    def _learn(self, packed: bytes) -> _Known:
        """Return what a head means, which is remembered: callers repeat theirs."""
        path, peer, metadata = read_head(packed)
        rpc = self._rpcs.get(path)
        if rpc is None and path != HTTP1:
            raise ValueError(f"an ingress process asks for {path!r}")
        known = _Known(rpc, peer, metadata)
        if len(packed) <= LONGEST_KEPT:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[packed] = known
        return known

    def item(self, message: Item) -> None:
        """One more request of a stream has come."""
        if (call := self._calls.get(message.id)) is not None:
            call.item(message.payload)

    def end_input(self, call_id: int) -> None:
        """The last one has."""
        if (call := self._calls.get(call_id)) is not None:
            call.end_input()

    def grant(self, credit: Credit) -> None:
        """More replies may be sent."""
        if (call := self._calls.get(credit.id)) is not None:
            call.grant(credit.items, credit.size)

    def cancel(self, call_id: int) -> None:
        """Nobody waits for a call any more."""
        if (call := self._calls.pop(call_id, None)) is not None:
            call.cancel()

    async def close(self) -> None:
        """Cancel all calls, and wait for what can be waited for."""
        for call_id in list(self._calls):
            self.cancel(call_id)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What calls say.

    def start(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the task of a call."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def result(self, call_id: int, reply: Payload | LongReply, info: CallInfo) -> None:
        """A call has ended well."""
        if self._calls.pop(call_id, None) is None:
            return  # its caller has left
        self.answered += 1
        begin, rest = reply if isinstance(reply, LongReply) else (b"", reply)
        self.send(Result(call_id, begin, rest, pack_trailers(info.trailers) if info.trailers else b""))

    def failed(self, call_id: int, error: BaseException, info: CallInfo) -> None:
        """A call has not."""
        if self._calls.pop(call_id, None) is None:
            return
        self.answered += 1
        told = told_as(error, self._status_of)
        trailers = pack_trailers(info.trailers) if info.trailers else b""
        self.send(Failed(call_id, told.code, told.message, told.details, trailers))

    def _forget(self, call_id: int) -> None:
        self._calls.pop(call_id, None)

    def __repr__(self) -> str:
        return f"<Answers {len(self._calls)} open, {self.answered} given>"


class _Known(NamedTuple):
    """What a head means. `rpc`: None for a connection that speaks HTTP/1.1."""

    rpc: Rpc | None
    peer: str
    metadata: Sequence[Pair]


class _Unary:
    """One request, one reply; no task where the RPC can do without."""

    __slots__ = ("_answers", "_id", "_over", "_task", "info", "request", "stop")

    def __init__(self, answers: Answers, call_id: int, info: CallInfo) -> None:
        self._answers = answers
        self._id = call_id
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self.info = info
        self.request: Payload = b""  # until it was begun
        self.stop: Callable[[], None] | None = None

    def begin(self, rpc: UnaryRpc, request: Payload) -> None:
        """Begin to answer."""
        if rpc.begin is not None:
            self.request = request
            try:
                rpc.begin([self])
            except Exception as exc:  # a bug, and this call's only
                self.told(exc)
            self.request = b""
        if self.stop is None and not self._over:
            self._task = self._answers.start(self._run(rpc, bytes(request)))

    def told(self, reply: Payload | LongReply | Exception) -> None:
        """See `Arrival`."""
        self._over = True
        self.stop = None
        if isinstance(reply, Exception):
            self._answers.failed(self._id, reply, self.info)
        else:
            self._answers.result(self._id, reply, self.info)

    async def _run(self, rpc: UnaryRpc, request: bytes) -> None:
        try:
            reply = await rpc.answer(request, self.info)
        except Exception as exc:
            self.told(exc)
        else:
            self.told(reply)

    def cancel(self) -> None:
        """See `_Open`."""
        if self._task is not None:
            self._task.cancel()
        elif self.stop is not None:
            self.stop()

    def item(self, payload: Payload) -> None:
        """See `_Open`."""
        raise ValueError("a unary call has one request")

    def end_input(self) -> None:
        """See `_Open`."""
        raise ValueError("a unary call has one request")

    def grant(self, items: int, size: int) -> None:
        """See `_Open`."""
        raise ValueError("a unary call has one reply")


class _Stream:
    """A call with a stream on either side, or on both: one task. It is the iterator of its requests."""

    __slots__ = ("_answers", "_consumption", "_id", "_info", "_requests", "_room", "_window", "task")

    def __init__(self, answers: Answers, call_id: int, info: CallInfo) -> None:
        self._answers = answers
        self._id = call_id
        self._info = info
        self._requests: Inbox[Payload] = Inbox()  # a window of them at most
        self._consumption = Consumption(WINDOW, WINDOW_BYTES)
        self._window = Window(WINDOW, WINDOW_BYTES)
        self._room: asyncio.Future[None] | None = None  # to send
        self.task: asyncio.Task[None] | None = None

    async def run(self, rpc: ServerStreamRpc | BidiRpc | ClientStreamRpc, request: Payload) -> None:
        """Answer the call."""
        reply: Payload = b""
        try:
            match rpc:
                case ClientStreamRpc():
                    reply = await rpc.answer(self, self._info)
                case BidiRpc():
                    await self._write(rpc.answer(self, self._info))
                case ServerStreamRpc():
                    await self._write(rpc.answer(bytes(request), self._info))
        except Exception as exc:
            self._answers.failed(self._id, exc, self._info)
        else:
            self._answers.result(self._id, reply, self._info)

    async def _write(self, replies: AsyncIterator[Sequence[bytes]]) -> None:
        # Closed here and not by the garbage collector: the client may leave while the generator waits for room.
        window, send, call_id = self._window, self._answers.send, self._id
        async with aclosing(cast(Any, replies)):
            async for together in replies:
                for reply in together:
                    window.spend(len(reply))
                    send(new_item((call_id, reply)))
                    while not window.open:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        request = await self._requests.take()
        credit = self._consumption.consume(len(request))
        if credit is not None:
            self._answers.send(Credit(self._id, *credit))
        return bytes(request)

    def item(self, payload: Payload) -> None:
        """See `_Open`."""
        self._requests.put(payload)

    def end_input(self) -> None:
        """See `_Open`."""
        self._requests.end()

    def grant(self, items: int, size: int) -> None:
        """See `_Open`."""
        self._window.grant(items, size)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def cancel(self) -> None:
        """See `_Open`."""
        if self.task is not None:
            self.task.cancel()
