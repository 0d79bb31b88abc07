"""A native transport on a free port, and RPCs whose every step the test sees."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from runner.errors import InvalidInput, Overloaded
from runner.grpc_protocol.messages import frame
from runner.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE
from runner.http2.hpack import HeaderDecoder, HeaderEncoder
from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp
from runner.server.http_protocol import HttpProtocol
from runner.server.native.transport import NativeTransport
from runner.server.rpcs import (
    Arrival,
    BidiRpc,
    CallInfo,
    ClientStreamRpc,
    Rpc,
    RpcFailed,
    ServerStreamRpc,
    TellReply,
    UnaryRpc,
)
from runner.server.status import rpc_status
from runner.wire.payload import VIEW_FROM, LongReply, Payload
from tests.http2.peer import Frame, split


class Rpcs:
    """What is served.

    `infos`: of each call, in order. `cancelled`: names of those that were. `begun`: requests that were begun together.
    """

    def __init__(self) -> None:
        self.infos: list[CallInfo] = []
        self.cancelled: list[str] = []
        self.begun: list[list[bytes]] = []
        self.stopped = asyncio.Event()
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.sent = 0
        self.tell: TellReply = self.infos.append  # type: ignore[assignment]  # until a call has begun

    def table(self) -> dict[str, Rpc]:
        return {
            "/t/Echo": UnaryRpc(self.echo, times=True),
            "/t/Wait": UnaryRpc(self.wait),
            "/t/Fail": UnaryRpc(self.fail),
            "/t/Begun": UnaryRpc(self.by_a_coroutine, self.begin),
            "/t/AlsoBegun": UnaryRpc(self.by_a_coroutine, self.begin),
            "/t/Repeat": ServerStreamRpc(self.repeat),
            "/t/Together": ServerStreamRpc(self.together),
            "/t/Forever": ServerStreamRpc(self.forever),
            "/t/Watch": ServerStreamRpc(self.forever, lasting=True),
            "/t/Chat": BidiRpc(self.chat),
            "/t/Collect": ClientStreamRpc(self.collect),
        }

    async def echo(self, request: bytes, call: CallInfo) -> bytes:
        self.infos.append(call)
        return bytes(request)

    async def wait(self, request: bytes, call: CallInfo) -> bytes:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append("wait")
            self.stopped.set()
            raise
        return b"waited"

    async def by_a_coroutine(self, request: bytes, call: CallInfo) -> bytes:
        return b"by a coroutine"

    def begin(self, arrivals: Sequence[Arrival]) -> None:
        self.begun.append([bytes(arrival.request) for arrival in arrivals])
        for arrival in arrivals:
            arrival.stop = self.begin_one(arrival.request, arrival.told)

    def begin_one(self, request: Payload, tell: TellReply) -> Callable[[], None] | None:
        match bytes(request):
            case b"cannot":
                return None
            case b"later":
                self.tell = tell
                self.started.set()
            case b"fail":
                tell(InvalidInput("wrong"))
            case b"bug":
                raise ZeroDivisionError("a bug")
            case whole if len(whole) >= VIEW_FROM:
                tell(LongReply(whole[:20], memoryview(whole)[20:]))
            case whole:
                tell(whole)
        return self.cancel

    def cancel(self) -> None:
        self.cancelled.append("begun")
        self.stopped.set()

    async def fail(self, request: bytes, call: CallInfo) -> bytes:
        match bytes(request):
            case b"call":
                raise InvalidInput("the input is wrong")
            case b"retry":
                raise Overloaded("too much", retry_after=1.5)
            case b"rpc":
                raise RpcFailed(5, "there is no such thing: é")
            case _:
                raise ZeroDivisionError("a bug")

    async def repeat(self, request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        self.infos.append(call)
        replies = [b"%d" % number for number in range(int(request))]
        for together in itertools.cycle((1, 2, 5)):
            if not replies:
                return
            yield replies[:together]
            del replies[:together]

    async def together(self, request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        """Yield replies of these lengths at once."""
        yield [bytes([number % 251]) * int(size) for number, size in enumerate(request.split())]

    async def forever(self, request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        try:
            while True:
                self.sent += 1
                yield (bytes(10_000),)
                self.started.set()
                if bytes(request) == b"once":
                    await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled.append("forever")
            self.stopped.set()

    async def chat(self, requests: AsyncIterator[bytes], call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        self.started.set()
        async for request in requests:
            if request == b"stop":
                return
            if request == b"fail":
                raise InvalidInput("no more")
            if request == b"hold":
                await self.release.wait()
            yield (bytes(request),)
        yield (b"end",)

    async def collect(self, requests: AsyncIterator[bytes], call: CallInfo) -> bytes:
        return b"+".join([bytes(request) async for request in requests])


def http1(closed: Callable[[Any], None]) -> HttpProtocol:
    return HttpProtocol(HttpApp(Fitness()), closed)


class Served:
    """A transport that listens, and its RPCs."""

    def __init__(self, transport: NativeTransport, rpcs: Rpcs, port: int) -> None:
        self.transport = transport
        self.rpcs = rpcs
        self.port = port

    def channel(self, *options: tuple[str, Any]) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options)

    async def raw(self, *pieces: bytes) -> bytes:
        """Send bytes to the port, and return all that comes back until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


class Client:
    """A socket that speaks HTTP/2 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._encoder = HeaderEncoder()
        self._decoder = HeaderDecoder()

    @classmethod
    async def connect(cls, port: int) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(PREFACE + bytes(Frame(SETTINGS)))
        return client

    def write(self, *frames: Frame) -> None:
        """Send frames."""
        self.writer.write(b"".join(map(bytes, frames)))

    def ask(
        self,
        stream: int,
        path: bytes,
        *messages: bytes,
        end: bool = True,
        coding: bytes = b"identity",
        takes: bytes = b"identity",
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Begin a call with some messages, whose replies may be in the codings `takes`. `more`: fields of its head."""
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
        fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
        fields += [(b"grpc-encoding", coding), (b"grpc-accept-encoding", takes), *more]
        head = Frame(HEADERS, END_HEADERS, stream, self._encoder.encode(fields))
        body = b"".join(map(frame, messages))
        rest = len(body) - min(len(body), 16_384)
        self.write(head, *(Frame(DATA, 0, stream, body[at : at + 16_384]) for at in range(0, rest, 16_384)))
        at = -(-rest // 16_384) * 16_384
        self.write(Frame(DATA, END_STREAM if end else 0, stream, body[at:]))

    def fields(self, head: Frame) -> dict[bytes, bytes]:
        """Return what is in a HEADERS frame. Each of them has to be read, in order."""
        return dict(self._decoder.decode(head.payload))

    async def granted_until_ping(self) -> set[int]:
        """Return the streams whose window was opened before the answer to a PING."""
        granted: set[int] = set()
        while (each := await self.next(WINDOW_UPDATE, PING)) is not None and each.kind != PING:
            granted.add(each.stream)
        return granted

    def close(self) -> None:
        self.writer.close()

    async def next(self, *kinds: int) -> Frame | None:
        """Return the next frame of one of these kinds; None at the end of the connection."""
        while True:
            head = await self.reader.read(9)
            if not head:
                return None
            while len(head) < 9:
                head += await self.reader.readexactly(9 - len(head))
            (found,) = split(head + await self.reader.readexactly(int.from_bytes(head[:3], "big")))
            if found.kind in kinds:
                return found


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Served]:
    """Serve on a free port."""
    rpcs = Rpcs()
    options = {"max_message_bytes": 1 << 20, "status_of": rpc_status, "http1": http1, **options}
    transport = NativeTransport(rpcs.table(), **options)
    port = await transport.listen("127.0.0.1", 0)
    try:
        yield Served(transport, rpcs, port)
    finally:
        rpcs.release.set()
        await transport.close()
