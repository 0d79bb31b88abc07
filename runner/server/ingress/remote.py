"""The RPCs of the main process, as an ingress process has them: calls go there over the link, and their ends back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Protocol

from runner.flow import Consumption, Window
from runner.server.inbox import Inbox
from runner.server.ingress.heads import HeadPacker, read_trailers
from runner.server.ingress.messages import (
    WINDOW,
    WINDOW_BYTES,
    Call,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Message,
    Result,
    RpcKind,
)
from runner.server.ingress.tunnel import Inlet
from runner.server.rpcs import (
    Arrival,
    BidiRpc,
    CallInfo,
    ClientStreamRpc,
    Rpc,
    RpcFailed,
    Rpcs,
    ServerStreamRpc,
    TellReply,
    UnaryRpc,
)
from runner.wire.payload import LongReply, Payload


class _Asked(Protocol):
    """A call that the main process is answering."""

    def item(self, payload: Payload) -> None:
        """One more reply has come."""

    def grant(self, items: int, size: int) -> None:
        """So many more requests may be sent."""

    def result(self, message: Result) -> None:
        """It ended well. It has been forgotten."""

    def failed(self, message: Failed) -> None:
        """It did not. It has been forgotten."""


class Remote:
    """The other end's RPCs.

    Args:
        kinds: what there is.
        send: sends to the main process.
    """

    def __init__(self, kinds: Sequence[RpcKind], send: Callable[[Message], None]) -> None:
        self.send = send
        self.rpcs: Rpcs = {kind.path: self._rpc(kind) for kind in kinds}
        self._calls: dict[int, _Asked] = {}
        self._ids = itertools.count(1)

    def on_message(self, message: Item | Credit | Result | Failed) -> None:
        """Take what the main process says of a call. Perhaps it was cancelled meanwhile."""
        match message:
            case Result():
                if (call := self._calls.pop(message.id, None)) is not None:
                    call.result(message)
            case Item():
                if (call := self._calls.get(message.id)) is not None:
                    call.item(message.payload)
            case Credit():
                if (call := self._calls.get(message.id)) is not None:
                    call.grant(message.items, message.size)
            case Failed():
                if (call := self._calls.pop(message.id, None)) is not None:
                    call.failed(message)

    def tunnel(self, closed: Callable[[asyncio.Protocol], None]) -> Inlet:
        """Return the protocol of a connection that speaks HTTP/1.1."""
        call_id = next(self._ids)

        def over(inlet: Inlet) -> None:
            self._calls.pop(call_id, None)
            closed(inlet)

        inlet = self._calls[call_id] = Inlet(call_id, self.send, over)
        return inlet

    # What calls say.

    def ask(self, call: _Asked, head: bytes, info: CallInfo, request: Payload) -> int:
        """Have a call answered; return its number."""
        call_id = next(self._ids)
        self._calls[call_id] = call
        self.send(Call(call_id, head, info.deadline, info.request_id, request))
        return call_id

    def cancel(self, call_id: int) -> None:
        """Nobody waits for a call any more. Harmless if it has ended."""
        if self._calls.pop(call_id, None) is not None:
            self.send(Cancel(call_id))

    def _rpc(self, kind: RpcKind) -> Rpc:
        pack = HeadPacker(kind.path)
        match kind.requests, kind.replies:
            case False, False:
                unary = _RemoteUnary(self, pack)
                return UnaryRpc(unary.answer, unary.begin, kind.times)
            case False, True:
                return ServerStreamRpc(partial(_server_stream, self, pack), kind.lasting, kind.times)
            case True, True:
                return BidiRpc(partial(_bidi, self, pack), kind.lasting, kind.times)
            case _:
                return ClientStreamRpc(partial(_client_stream, self, pack), kind.times)

    def __repr__(self) -> str:
        return f"<Remote {len(self._calls)} calls>"


class _RemoteUnary:
    """An RPC with one request and one reply."""

    def __init__(self, remote: Remote, pack: HeadPacker) -> None:
        self._remote = remote
        self._pack = pack

    def begin(self, arrivals: Sequence[Arrival]) -> None:
        """See `UnaryRpc`."""
        for arrival in arrivals:
            arrival.stop = self._begin(arrival.request, arrival.info, arrival.told)

    def _begin(self, request: Payload, info: CallInfo, tell: TellReply) -> Callable[[], None]:
        head = self._pack(info.peer, info.metadata)
        return partial(self._remote.cancel, self._remote.ask(_AskedUnary(tell, info), head, info, request))

    async def answer(self, request: bytes, info: CallInfo) -> bytes:
        """See `UnaryRpc`."""
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def tell(reply: object) -> None:
            if not told.done():
                told.set_result(reply)

        cancel = self._begin(request, info, tell)
        try:
            reply = await told
        finally:
            cancel()
        match reply:
            case Exception():
                raise reply
            case LongReply():
                return b"".join(reply)
            case _:
                return bytes(reply)  # pyright: ignore[reportArgumentType]: the rest of what a `TellReply` is told


class _AskedUnary:
    __slots__ = ("_info", "_tell")

    def __init__(self, tell: TellReply, info: CallInfo) -> None:
        self._tell = tell
        self._info = info

    def result(self, message: Result) -> None:
        _take_trailers(message, self._info)
        self._tell(LongReply(message.begin, message.payload) if message.begin else message.payload)

    def failed(self, message: Failed) -> None:
        _take_trailers(message, self._info)
        self._tell(RpcFailed(message.code, message.message, message.details))

    def item(self, payload: Payload) -> None:
        raise ValueError("a unary call has one reply")

    def grant(self, items: int, size: int) -> None:
        raise ValueError("a unary call has one request")


def _server_stream(remote: Remote, pack: HeadPacker, request: bytes, info: CallInfo) -> AsyncIterator[Sequence[bytes]]:
    return _AskedStream(remote, pack, info, request)


def _bidi(
    remote: Remote, pack: HeadPacker, requests: AsyncIterator[bytes], info: CallInfo
) -> AsyncIterator[Sequence[bytes]]:
    return _AskedStream(remote, pack, info, b"", requests)


async def _client_stream(remote: Remote, pack: HeadPacker, requests: AsyncIterator[bytes], info: CallInfo) -> bytes:
    call = _AskedStream(remote, pack, info, b"", requests)
    try:
        return await call.last()
    finally:
        await call.aclose()


class _AskedStream:
    """A call with a stream on either side, or on both. It is the iterator of its replies."""

    def __init__(
        self,
        remote: Remote,
        pack: HeadPacker,
        info: CallInfo,
        request: bytes,
        requests: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._remote = remote
        self._info = info
        self._replies: Inbox[Payload] = Inbox()  # a window of them at most
        self._consumption = Consumption(WINDOW, WINDOW_BYTES)
        self._window = Window(WINDOW, WINDOW_BYTES)
        self._room: asyncio.Future[None] | None = None  # to send requests
        self._end: Result | Exception | None = None
        self._id = remote.ask(self, pack(info.peer, info.metadata), info, request)
        self._pump: asyncio.Task[None] | None = None
        if requests is not None:
            self._pump = asyncio.get_running_loop().create_task(self._send(requests))

    def __aiter__(self) -> AsyncIterator[Sequence[bytes]]:
        return self

    async def __anext__(self) -> Sequence[bytes]:
        self._give_back(self._consumption.ask())
        try:
            replies = await self._replies.take_together(WINDOW // 2)
        except StopAsyncIteration:
            self._last()
            raise
        self._give_back(self._consumption.take(replies))
        return replies  # pyright: ignore[reportReturnType]: a long one is a view, which is sent from where it lies

    def _give_back(self, credit: tuple[int, int] | None) -> None:
        if credit is not None and self._end is None:
            self._remote.send(Credit(self._id, *credit))

    async def last(self) -> bytes:
        """Return the only reply."""
        async for _ in self:
            raise ValueError("a call with one reply has no stream of them")
        return bytes(self._last())

    def _last(self) -> Payload:
        """Return what came with the end, and raise what it was if it was bad."""
        end = self._end
        assert end is not None
        if isinstance(end, Exception):
            raise end
        return end.payload

    async def aclose(self) -> None:
        """Have it end, if it has not, and wait until nothing is sent any more."""
        self._remote.cancel(self._id)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def _send(self, requests: AsyncIterator[bytes]) -> None:
        try:
            async for request in requests:
                if self._end is not None:
                    return
                self._window.spend(len(request))
                self._remote.send(Item(self._id, request))
                while not self._window.open:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
            self._remote.send(EndInput(self._id))
        except Exception as exc:  # for whoever reads the replies
            self._over(exc)

    def item(self, payload: Payload) -> None:
        """See `_Asked`."""
        self._replies.put(payload)

    def grant(self, items: int, size: int) -> None:
        """See `_Asked`."""
        self._window.grant(items, size)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def result(self, message: Result) -> None:
        """See `_Asked`."""
        _take_trailers(message, self._info)
        self._over(message)

    def failed(self, message: Failed) -> None:
        """See `_Asked`."""
        _take_trailers(message, self._info)
        self._over(RpcFailed(message.code, message.message, message.details))

    def _over(self, end: Result | Exception) -> None:
        self._end = end
        self._replies.end()


def _take_trailers(message: Result | Failed, info: CallInfo) -> None:
    if message.trailers and info.trailers is not None:
        info.trailers.extend(read_trailers(message.trailers))
