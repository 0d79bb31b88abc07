"""The same calls to both transports, down to the frame: what a client sees must not depend on what carries it.

Both serve the same RPCs, in this process. A client of a few lines sends what a script says, cut anywhere, and notes
what comes back. Scripts are made by Hypothesis.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import InvalidInput, ModelError, Overloaded
from runner.grpc_protocol.messages import MessageReader, frame
from runner.grpc_protocol.metadata import encode_binary
from runner.http2 import frames
from runner.http2.hpack import HeaderDecoder, HeaderEncoder
from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp
from runner.server.http_protocol import HttpProtocol
from runner.server.native.transport import NativeTransport
from runner.server.rpcs import BidiRpc, CallInfo, ClientStreamRpc, Rpc, RpcFailed, Rpcs, ServerStreamRpc, UnaryRpc
from runner.server.status import rpc_status
from runner.server.transport_grpcio import GrpcioTransport
from tests.running import fresh_loop
from tests.server.ingress.hop import Hop

pytestmark = pytest.mark.real

ANSWER_WITHIN = 20.0
LIMIT = 64 * 1024  # bytes of a message

UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM = "/t/Unary", "/t/ServerStream", "/t/Bidi", "/t/ClientStream"


# --- What is served ---------------------------------------------------------------------------------------------------


class Served:
    """RPCs that do what the first byte of a message says. `cancelled`: how many calls were."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.infos: list[CallInfo] = []
        self.waiting = asyncio.Event()
        self.stopped = asyncio.Event()

    def table(self) -> dict[str, Rpc]:
        return {
            UNARY: UnaryRpc(self.unary, times=True),
            SERVER_STREAM: ServerStreamRpc(self.server_stream, times=True),
            BIDI: BidiRpc(self.bidi, times=True),
            CLIENT_STREAM: ClientStreamRpc(self.client_stream, times=True),
        }

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

    async def unary(self, request: bytes, call: CallInfo) -> bytes:
        self.infos.append(call)
        self._tell(request, call)
        return await self._act(request)

    def _tell(self, request: bytes, call: CallInfo) -> None:
        if call.trailers is not None and b"t" in request[:2]:
            call.trailers.append(("x-times", "1.5;2"))

    async def server_stream(self, request: bytes, call: CallInfo) -> AsyncIterator[bytes]:
        self.infos.append(call)
        for number in range(len(request) % 4):
            yield b"%d" % number
        self._tell(request, call)
        yield await self._act(request)

    async def bidi(self, requests: AsyncIterator[bytes], call: CallInfo) -> AsyncIterator[bytes]:
        self.infos.append(call)
        async for request in requests:
            self._tell(request, call)
            yield await self._act(request)
            if request[:1] == b".":
                return  # before the client has ended

    async def client_stream(self, requests: AsyncIterator[bytes], call: CallInfo) -> bytes:
        self.infos.append(call)
        answers: list[bytes] = []
        async for request in requests:
            self._tell(request, call)
            answers.append(await self._act(request))
        return b"|".join(answers)


# --- What a client does -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A call.

    Attributes:
        path: of the RPC.
        body: what is sent, cut into DATA frames of these `sizes`, the rest in one.
        empty_end: the end is an empty frame of its own.
        reset: after the body, in place of an end, once the server waits.
        more: fields beside the usual ones.
    """

    path: str
    body: bytes
    sizes: tuple[int, ...] = ()
    empty_end: bool = False
    reset: bool = False
    more: tuple[tuple[bytes, bytes], ...] = ()
    method: bytes = b"POST"
    content_type: bytes = b"application/grpc"

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the payload of each DATA frame, and whether it is the last."""
        pieces: list[bytes] = []
        position = 0
        for size in self.sizes:
            pieces.append(self.body[position : position + size])
            position += size
        rest = self.body[position:]
        pieces += [rest[start : start + 16_000] for start in range(0, len(rest), 16_000)] or [b""]
        if self.empty_end:
            pieces.append(b"")
        for number, piece in enumerate(pieces, start=1):
            yield piece, number == len(pieces)


@dataclass
class Answer:
    """What a client sees of a call."""

    http_status: bytes = b""
    content_type: bytes = b""
    messages: list[bytes] = field(default_factory=list[bytes])
    status: bytes = b""
    message: bytes = b""
    details: bytes = b""
    metadata: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    cancelled: int = 0
    seen: tuple[object, ...] = ()


_OF_PROTOCOL = {
    b":status": "http_status",
    b"content-type": "content_type",
    b"grpc-status": "status",
    b"grpc-message": "message",
    b"grpc-status-details-bin": "details",
}
_OF_TRANSPORT = (b"grpc-accept-encoding", b"accept-encoding", b"grpc-encoding")


class Client:
    """One connection."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._encoder = HeaderEncoder()
        self._decoder = HeaderDecoder(max_list_bytes=1 << 20)
        self._next = 1

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        wide = (1 << 31) - 1
        self._writer.write(frames.PREFACE + frames.settings({4: wide}) + frames.window_update(0, wide - 65_535))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def call(self, script: Script) -> Answer:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await self._call(script)

    async def _call(self, script: Script) -> Answer:
        stream, self._next = self._next, self._next + 2
        served = self.served
        served.waiting.clear()
        served.stopped.clear()
        before, cancelled = len(served.infos), served.cancelled
        fields = [
            (b":method", script.method),
            (b":scheme", b"http"),
            (b":path", script.path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", script.content_type),
            (b"user-agent", b"a-test"),
            *script.more,
        ]
        block = self._encoder.encode(fields)
        out = [frames.head(frames.HEADERS, frames.END_HEADERS, stream, len(block)) + block]
        for piece, last in script.pieces():
            flags = frames.END_STREAM if last and not script.reset else 0
            out.append(frames.head(frames.DATA, flags, stream, len(piece)) + piece)
        self._writer.write(b"".join(out))
        answer = Answer()
        if script.reset:
            await served.waiting.wait()
            self._writer.write(frames.rst_stream(stream, 8))
            await served.stopped.wait()
        else:
            await self._read(stream, answer)
            if script.body.endswith(b"~"):  # it never ends by itself
                await served.stopped.wait()
        answer.cancelled = served.cancelled - cancelled
        for info in served.infos[before:]:
            metadata = [(name, value) for name, value in info.metadata if name not in ("grpc-accept-encoding", "te")]
            answer.seen += (tuple(metadata), info.deadline is None)
        return answer

    async def _read(self, stream: int, answer: Answer) -> None:
        reader = MessageReader(1 << 20)
        while True:
            head = await self._reader.readexactly(9)
            length, kind, flags, of = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await self._reader.readexactly(length)
            if kind == frames.SETTINGS and not flags & frames.ACK:
                self._writer.write(frames.SETTINGS_ACK)
            elif kind == frames.PING and not flags & frames.ACK:
                self._writer.write(frames.ping(payload, ack=True))
            elif kind == frames.GOAWAY:
                raise AssertionError(f"GOAWAY: {payload!r}")
            elif kind == frames.HEADERS:
                section = self._decoder.decode(payload)
                if of == stream:
                    self._take(section, answer)
            elif of == stream and kind == frames.DATA:
                answer.messages += [bytes(message) for message in reader.feed(payload, 0, len(payload))]
            if of == stream and (kind == frames.RST_STREAM or (kind in (0, 1) and flags & frames.END_STREAM)):
                if kind == frames.RST_STREAM and not answer.status:
                    answer.status = b"reset"
                return

    def _take(self, section: list[tuple[bytes, bytes]], answer: Answer) -> None:
        for name, value in section:
            if name in _OF_PROTOCOL:
                setattr(answer, _OF_PROTOCOL[name], value)
            elif name not in _OF_TRANSPORT:
                answer.metadata.append((name, value))


class Both:
    """The two transports, the first once more as an ingress process has it, and a client of each."""

    def __init__(self) -> None:
        self.transports: list[NativeTransport | GrpcioTransport] = []
        self.clients: list[Client] = []
        self.hop = Hop()

    async def start(self) -> None:
        natives, behind, others = Served(), Served(), Served()
        await self.hop.open(behind.table())
        transports = (
            native(natives.table()),
            native(self.hop.remote.rpcs),
            GrpcioTransport(others.table(), max_message_bytes=LIMIT // 2, hide_model_errors=False),
        )
        for transport, served in zip(transports, (natives, behind, others), strict=True):
            client = Client(served)
            await client.connect(await transport.listen("127.0.0.1", 0))
            self.transports.append(transport)
            self.clients.append(client)

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        for transport in self.transports:
            await transport.close()
        await self.hop.close()

    async def call_native(self, script: Script) -> Answer:
        return await self.clients[0].call(script)

    async def call(self, script: Script) -> tuple[Answer, Answer]:
        native, behind, grpcio = [await client.call(script) for client in self.clients]
        assert native == behind
        return native, grpcio


def native(rpcs: Rpcs) -> NativeTransport:
    return NativeTransport(
        rpcs,
        max_message_bytes=LIMIT // 2,
        status_of=rpc_status,
        http1=partial(HttpProtocol, HttpApp(Fitness())),
    )


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, Both]]:
    with fresh_loop() as runner:
        both = Both()
        runner.run(both.start())
        yield runner, both
        runner.run(both.stop())


@pytest.fixture(scope="module")
def call(running) -> Callable[[Script], tuple[Answer, Answer]]:
    runner, both = running
    return lambda script: runner.run(both.call(script))


@pytest.fixture(scope="module")
def call_native(running) -> Callable[[Script], Answer]:
    runner, both = running
    return lambda script: runner.run(both.call_native(script))


# --- Scripts ----------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from([b"", b"a", b"t", b".", b"!", b"!t", b"?", b"-t", b"#t", b"0", b"0t"])
MESSAGES = st.builds(lambda kind, rest: kind + rest, KINDS, st.binary(max_size=40) | st.just(b"x" * 20_000))
METADATA = st.lists(
    st.sampled_from(
        [
            (b"x-a", b"1"),
            (b"x-a", b"two, three"),
            (b"x-bin", encode_binary(b"\0\xff")),
            (b"x-bin", b"AAE="),
            (b"grpc-timeout", b"20S"),
            (b"x-request-id", b"r" * 10),
        ]
    ),
    max_size=3,
    unique_by=lambda each: each[0],
).map(tuple)
SIZES = st.lists(st.integers(0, 12) | st.integers(0, 10_000), max_size=6).map(tuple)


def body(*messages: bytes) -> bytes:
    return b"".join(map(frame, messages))


ONE = st.builds(
    Script, st.sampled_from([UNARY, SERVER_STREAM]), MESSAGES.map(body), SIZES, st.booleans(), more=METADATA
)
MANY = st.builds(
    Script,
    st.sampled_from([BIDI, CLIENT_STREAM]),
    st.lists(MESSAGES, max_size=3).map(lambda each: body(*each)),
    SIZES,
    st.booleans(),
    more=METADATA,
)


@settings(max_examples=100, deadline=None)
@given(ONE | MANY)
@example(Script(UNARY, body(b"t"), (1, 1, 1, 1, 1, 1)))
@example(Script(BIDI, body(b"a", b".b", b"c"), (7,)))
@example(Script(SERVER_STREAM, body(b"t")))
@example(Script(BIDI, body(b"t", b"a")))
@example(Script(CLIENT_STREAM, body(b"t", b"a")))
@example(Script(CLIENT_STREAM, b""))
@example(Script(BIDI, b""))
def test_answers_are_the_same(call, script):
    native, grpcio = call(script)
    assert native == grpcio


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM]), SIZES)
def test_a_call_that_is_reset_is_cancelled_once(call, path, sizes):
    native, grpcio = call(Script(path, body(b"~"), sizes, reset=True))
    assert native == grpcio
    assert native.cancelled == 1


@pytest.mark.parametrize("path", [UNARY, SERVER_STREAM, BIDI, CLIENT_STREAM])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_compressed_messages(call, path, encoding):
    compressed = frame(gzip.compress(b"abc"), compressed=True) if encoding == "gzip" else frame(b"abc")
    native, grpcio = call(Script(path, compressed, (3, 5), more=((b"grpc-encoding", encoding.encode()),)))
    assert native == grpcio
    assert native.status == b"0"


WRONG = {
    "no such rpc": Script("/t/Nothing", body(b"a")),
    "too long": Script(UNARY, frame(b"x" * (LIMIT + 1))),
    "compressed without a coding": Script(UNARY, frame(b"abc", compressed=True)),
    "not compressed": Script(UNARY, frame(b"abc", compressed=True), more=((b"grpc-encoding", b"gzip"),)),
    "a deadline": Script(BIDI, body(b"~"), more=((b"grpc-timeout", b"50m"),)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_gets_the_same_status(call, name):
    """Words may differ: grpcio's are its own."""
    native, grpcio = call(WRONG[name])
    assert (native.status, native.messages, native.http_status) == (grpcio.status, grpcio.messages, grpcio.http_status)
    assert native.status not in (b"", b"0")


DIFFERENT = {
    # grpcio never answers these three.
    "no message": (Script(UNARY, b""), b"13"),
    "no message for a stream": (Script(SERVER_STREAM, b""), b"13"),
    "cut off": (Script(UNARY, body(b"abc")[:-1]), b"13"),
    # It takes this for the end of the stream, and says that all is well.
    "cut off in a head": (Script(BIDI, body(b"abc")[:3]), b"13"),
    # It says 13, where the specification has 12.
    "an unknown coding": (Script(UNARY, frame(b"abc", compressed=True), more=((b"grpc-encoding", b"zstd"),)), b"12"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_the_native_transport_says_more(call_native, name):
    script, status = DIFFERENT[name]
    assert call_native(script).status == status
