"""The transports in this process, serving the same RPCs, and a client that says anything, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from runner.errors import DeadlineExceeded, InvalidInput, ModelError, Overloaded
from runner.grpc_protocol.messages import MessageReader, frame
from runner.http2 import frames
from runner.http2.hpack import HeaderDecoder, HeaderEncoder
from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp
from runner.server.http_protocol import HttpProtocol
from runner.server.native.transport import NativeTransport
from runner.server.rpcs import BidiRpc, CallInfo, ClientStreamRpc, Rpc, RpcFailed, Rpcs, ServerStreamRpc, UnaryRpc
from runner.server.status import rpc_status
from runner.server.transport_grpcio import GrpcioTransport
from tests.server.ingress.hop import Hop

LIMIT = 64 * 1024  # bytes of a message
WIDE = (1 << 31) - 1

UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM = "/t/Unary", "/t/ServerStream", "/t/Bidi", "/t/ClientStream"


class Served:
    """RPCs that do what the first byte of a message says.

    Attributes:
        infos: of each call, in order.
        running: calls that are being served; `idle` is set while there are none.
        cancelled: how many were.
        waiting: one does; `stopped`: it was told to end.
    """

    def __init__(self) -> None:
        self.infos: list[CallInfo] = []
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.cancelled = 0
        self.waiting = asyncio.Event()
        self.stopped = asyncio.Event()

    def table(self) -> dict[str, Rpc]:
        return {
            UNARY: UnaryRpc(self.unary, times=True),
            SERVER_STREAM: ServerStreamRpc(self.server_stream, times=True),
            BIDI: BidiRpc(self.bidi, times=True),
            CLIENT_STREAM: ClientStreamRpc(self.client_stream, times=True),
        }

    @contextlib.contextmanager
    def _served(self, call: CallInfo) -> Iterator[None]:
        self.infos.append(call)
        self.running += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    async def _act(self, request: bytes) -> bytes:
        request = bytes(request)
        match request[:1]:
            case b"!":
                raise InvalidInput("the input is wrong: é %", path="images[3]")
            case b"?":
                raise Overloaded("too much", retry_after=1.5)
            case b"-":
                raise ModelError("x" * 3000)
            case b"#":
                raise RpcFailed(5, "there is no such thing")
            case b"0":
                raise ZeroDivisionError("a bug")
            case b"~":
                try:
                    self.waiting.set()
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    self.stopped.set()
                    raise
        return request[::-1]

    def _tell(self, request: bytes, call: CallInfo) -> None:
        if call.trailers is not None and b"t" in request[:2]:
            call.trailers.append(("x-times", "1.5;2"))

    async def unary(self, request: bytes, call: CallInfo) -> bytes:
        with self._served(call):
            self._tell(request, call)
            # A service watches the deadlines of its calls by itself, and the native transport those of streams only.
            left = None if call.deadline is None else call.deadline - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    return await self._act(request)
            except TimeoutError:
                raise DeadlineExceeded("the deadline passed") from None

    async def server_stream(self, request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        with self._served(call):
            if first := [b"%d" % number for number in range(len(request) % 4)]:
                yield first
            self._tell(request, call)
            yield (await self._act(request),)

    async def bidi(self, requests: AsyncIterator[bytes], call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        with self._served(call):
            async for request in requests:
                self._tell(request, call)
                yield (await self._act(request),)
                if request[:1] == b".":
                    return  # before the client has ended

    async def client_stream(self, requests: AsyncIterator[bytes], call: CallInfo) -> bytes:
        with self._served(call):
            answers: list[bytes] = []
            async for request in requests:
                self._tell(request, call)
                answers.append(await self._act(request))
            return b"|".join(answers)


def body(*messages: bytes) -> bytes:
    return b"".join(map(frame, messages))


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return the payloads of the DATA frames in which a body is sent: of these sizes, and the rest."""
    pieces: list[bytes] = []
    position = 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    rest = data[position:]
    return pieces + [rest[start : start + 16_000] for start in range(0, len(rest), 16_000)]


@dataclass
class Answer:
    """What a client sees of a call.

    Attributes:
        status: the call's, `reset CODE` if it ended so, `lost` if with its connection, `refused` if the server had
            said before that it would not answer it.
    """

    http_status: bytes = b""
    content_type: bytes = b""
    messages: list[bytes] = field(default_factory=list[bytes])
    status: bytes = b""
    message: bytes = b""
    details: bytes = b""
    metadata: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])


_OF_PROTOCOL = {
    b":status": "http_status",
    b"content-type": "content_type",
    b"grpc-status": "status",
    b"grpc-message": "message",
    b"grpc-status-details-bin": "details",
}
_OF_TRANSPORT = (b"grpc-accept-encoding", b"accept-encoding", b"grpc-encoding")


class ClientCall:
    """One call of a `Client`."""

    def __init__(self, client: Client, stream: int) -> None:
        self.answer = Answer()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = client
        self._stream = stream
        self._messages = MessageReader(1 << 20)
        self._local_open = True
        self._sending: asyncio.Task[None] | None = None
        self._queue: list[tuple[bytes, bool]] = []

    def enqueue(self, piece: bytes, *, end: bool = False) -> None:
        """Send a piece once there is room for it, behind those that wait for room already."""
        self._queue.append((piece, end))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._queue:
            piece, end = self._queue.pop(0)
            await self.send(piece, end=end)
        self._sending = None

    async def send(self, piece: bytes, *, end: bool = False) -> None:
        """Send a piece of the body when there is room for it, unless the call is over."""
        await self._client.room(self._stream, len(piece), self.over)
        if self._local_open and not self.over.done():
            self._local_open = not end
            self._client.write(frames.DATA, frames.END_STREAM if end else 0, self._stream, piece)

    def grant(self, size: int) -> None:
        """Take so many more bytes of answers."""
        if size and not self.over.done():
            self._client.write(frames.WINDOW_UPDATE, 0, self._stream, size.to_bytes(4, "big"))

    def cancel(self) -> None:
        """Have no more of it, and read no more."""
        if not self.over.done():
            self._client.write(frames.RST_STREAM, 0, self._stream, (8).to_bytes(4, "big"))
            self.end(b"cancelled")

    def end(self, status: bytes) -> None:
        """It is over, and has this status unless it had one before."""
        if not self.over.done():
            self.answer.status = self.answer.status or status
            self.over.set_result(None)

    def take(self, kind: int, flags: int, payload: bytes, section: list[tuple[bytes, bytes]]) -> None:
        """A frame of the call has come."""
        answer = self.answer
        if self.over.done():
            return
        if kind == frames.DATA:
            answer.messages += [bytes(message) for message in self._messages.feed(payload, 0, len(payload))]
        elif kind == frames.RST_STREAM:
            self.end(b"reset %d" % int.from_bytes(payload, "big"))
        for name, value in section:
            if name in _OF_PROTOCOL:
                setattr(answer, _OF_PROTOCOL[name], value)
            elif name not in _OF_TRANSPORT:
                answer.metadata.append((name, value))
        if flags & frames.END_STREAM and kind in (frames.DATA, frames.HEADERS):
            self.end(b"without a status")


class Client:
    """One connection. It never sends more than it may, and opens no calls once it was told not to.

    Args:
        stream_window: bytes of answers that it takes of a call which has not granted more.
    """

    def __init__(self, *, stream_window: int = WIDE) -> None:
        self._stream_window = stream_window
        self._encoder = HeaderEncoder()
        self._decoder = HeaderDecoder(max_list_bytes=1 << 20)
        self._next = 1
        self._calls: dict[int, ClientCall] = {}
        self._initial_window = self._window = frames.DEFAULT_WINDOW
        self._windows: defaultdict[int, int] = defaultdict(int)  # what was granted beyond the initial window
        self._changed = asyncio.Event()
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.draining = False

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        greeting = frames.settings({4: self._stream_window}) + frames.window_update(0, WIDE - frames.DEFAULT_WINDOW)
        self._writer.write(frames.PREFACE + greeting)
        self._reading = asyncio.get_running_loop().create_task(self._read())
        await self._greeted

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def open(
        self,
        path: str,
        more: Sequence[tuple[bytes, bytes]] = (),
        *,
        method: bytes = b"POST",
        content_type: bytes = b"application/grpc",
    ) -> ClientCall:
        """Begin a call. `more`: fields beside the usual ones."""
        stream, self._next = self._next, self._next + 2
        call = ClientCall(self, stream)
        if self.draining:
            call.end(b"refused")
            return call
        fields = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", content_type),
            (b"user-agent", b"a-test"),
            *more,
        ]
        self._calls[stream] = call
        self.write(frames.HEADERS, frames.END_HEADERS, stream, self._encoder.encode(fields))
        return call

    def write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(frames.head(kind, flags, stream, len(payload)) + payload)

    async def room(self, stream: int, size: int, over: asyncio.Future[None]) -> None:
        """Wait until so many bytes may be sent on a stream, and count them as sent; or until its call is over."""
        while min(self._window, self._initial_window + self._windows[stream]) < size and not over.done():
            self._changed.clear()
            waiting = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait((waiting, over), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if not over.done():
            self._window -= size
            self._windows[stream] -= size

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                self._take(kind, flags, int.from_bytes(head[5:], "big"), await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            for call in self._calls.values():
                call.end(b"lost")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.SETTINGS and not flags & frames.ACK:
            self._initial_window = dict(frames.read_settings(payload)).get(4, self._initial_window)
            self._writer.write(frames.SETTINGS_ACK)
            if not self._greeted.done():
                self._greeted.set_result(None)
        elif kind == frames.PING and not flags & frames.ACK:
            self._writer.write(frames.ping(payload, ack=True))
        elif kind == frames.WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] += increment
            else:
                self._window += increment
        elif kind == frames.GOAWAY:
            self.draining = True
            for number, call in self._calls.items():
                if number > int.from_bytes(payload[:4], "big"):
                    call.end(b"refused")
        # Each block has to be read, also of a call that is over.
        section = self._decoder.decode(payload) if kind == frames.HEADERS else []
        if stream in self._calls:
            self._calls[stream].take(kind, flags, payload, section)
        self._changed.set()


class Side:
    """One of the transports, and what it serves."""

    def __init__(self, name: str, rpcs: Rpcs | None = None, limit: int = LIMIT // 2) -> None:
        """Make it: `native`, `behind` for the same as an ingress process has it, or `grpcio`.

        Args:
            name: which.
            rpcs: what it serves; None: what `Served` does.
            limit: bytes of a message.
        """
        self.served = Served()
        self.port = 0
        self._name = name
        self._rpcs = self.served.table() if rpcs is None else rpcs
        self._limit = limit
        self._hop = Hop()

    async def listen(self) -> None:
        rpcs = self._rpcs
        if self._name == "behind":
            await self._hop.open(rpcs)
            rpcs = self._hop.remote.rpcs
        self.transport: NativeTransport | GrpcioTransport
        if self._name == "grpcio":
            self.transport = GrpcioTransport(rpcs, max_message_bytes=self._limit, status_of=rpc_status)
        else:
            http1 = partial(HttpProtocol, HttpApp(Fitness()))
            self.transport = NativeTransport(rpcs, max_message_bytes=self._limit, status_of=rpc_status, http1=http1)
        self.port = await self.transport.listen("127.0.0.1", 0)

    async def close(self) -> None:
        await self.transport.close()
        if self._name == "behind":
            await self._hop.close()
