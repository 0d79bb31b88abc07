"""Connections that cost and bring nothing: silent, half-open, flooding. Spoken to in raw frames of HTTP/2.

Each is made beside a well-behaved client, which must not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import grpc
import grpc.aio
import pytest

from runner.server import transport_grpcio
from runner.server.rpcs import CallInfo, ServerStreamRpc, UnaryRpc
from runner.server.status import rpc_status
from runner.server.transport_grpcio import GrpcioTransport
from tests.running import on_loop, resident_bytes

pytestmark = pytest.mark.real

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
RESOURCE_EXHAUSTED = b"\x00\x0bgrpc-status\x018"


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    body: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


HELLO = PREFACE + frame(SETTINGS) + frame(SETTINGS, ACK)


def literal(text: bytes) -> bytes:
    """Return a string of HPACK (RFC 7541, 5.2), not Huffman-coded."""
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, length = len(text) - 127, b"\x7f"
    while left >= 128:
        length += bytes((left % 128 + 128,))
        left //= 128
    return length + bytes((left,)) + text


def block(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the header block of a call."""
    fields = (
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc"), *more),
    )
    return b"".join(b"\x00" + literal(name) + literal(value) for name, value in fields)


class Peer:
    """The other end of one raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> Frame:
        head = await self._reader.readexactly(9)
        body = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), body)

    async def until(self, kind: int, stream: int | None = None) -> Frame:
        while True:
            found = await self.frame()
            if found.kind == kind and stream in (None, found.stream):
                return found

    async def last_words(self) -> bytes:
        """Wait for the end of the connection; return what its GOAWAY said."""
        said = b""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                found = await self.frame()
                if found.kind == GOAWAY:
                    said = found.body[8:]
        return said


class Served:
    def __init__(self, port: int) -> None:
        self.port = port
        self.streaming = 0
        self.peers: list[Peer] = []

    async def connect(self, data: bytes = HELLO) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        peer.send(data)
        return peer

    async def echo(self) -> None:
        """Call as everybody does."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            assert await channel.unary_unary("/x/Echo")(b"hello", timeout=10) == b"hello"


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    async def echo(request: bytes, call: CallInfo) -> bytes:
        return request

    async def flood(request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        while True:
            under_test.streaming += 1
            yield (b"x" * 10_000,)

    rpcs = {"/x/Echo": UnaryRpc(echo), "/x/Flood": ServerStreamRpc(flood)}
    transport = GrpcioTransport(rpcs, max_message_bytes=1 << 20, status_of=rpc_status)
    under_test = Served(await transport.listen("127.0.0.1", 0))
    try:
        yield under_test
        await under_test.echo()
    finally:
        for peer in under_test.peers:
            peer.writer.close()
        await transport.close()


@pytest.mark.parametrize(
    "said", [b"", PREFACE[:10], PREFACE, HELLO[:-12]], ids=["nothing", "half", "preface", "settings"]
)
@on_loop
async def test_who_does_not_say_what_it_speaks_is_hung_up_on(said, monkeypatch):
    monkeypatch.setattr(transport_grpcio, "HANDSHAKE_SECONDS", 0.1)
    monkeypatch.setattr(transport_grpcio, "IDLE_SECONDS", 0.2)
    async with served() as under_test:
        peer = await under_test.connect(said)
        assert (await peer.last_words()).startswith((b"Did not receive HTTP/2 settings", b"connection idle"))


@on_loop
async def test_a_slow_hello_wins_no_time(monkeypatch):
    monkeypatch.setattr(transport_grpcio, "HANDSHAKE_SECONDS", 0.1)
    async with served() as under_test:
        peer = await under_test.connect(b"")
        gone = asyncio.ensure_future(peer.last_words())
        for position in range(len(PREFACE)):
            if gone.done():
                break
            peer.send(PREFACE[position : position + 1])
            await asyncio.wait((gone,), timeout=0.02)
        assert position < len(PREFACE) - 1
        await gone


@on_loop
async def test_a_connection_without_a_call_is_told_to_go_and_clients_do_not_notice(monkeypatch):
    monkeypatch.setattr(transport_grpcio, "IDLE_SECONDS", 0.1)
    async with served() as under_test:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{under_test.port}") as channel:
            echo = channel.unary_unary("/x/Echo")
            assert await echo(b"1", timeout=10) == b"1"
            while channel.get_state() is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            assert await echo(b"2", timeout=10) == b"2"
        peer = await under_test.connect()
        assert await peer.last_words() == b"connection idle"


@on_loop
async def test_a_machine_that_is_gone_is_missed(monkeypatch):
    """It has a call open, and answers no ping."""
    monkeypatch.setattr(transport_grpcio, "KEEPALIVE_SECONDS", 0.1)
    monkeypatch.setattr(transport_grpcio, "KEEPALIVE_TIMEOUT_SECONDS", 0.1)
    async with served() as under_test:
        peer = await under_test.connect(HELLO + frame(HEADERS, END_HEADERS, 1, block(b"/x/Echo")))
        await peer.last_words()


@on_loop
async def test_pings_that_clients_send_of_themselves_are_not_punished():
    async with served() as under_test:
        options = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{under_test.port}", options) as channel:
            await channel.unary_unary("/x/Echo")(b"", timeout=10)
        # And a few at once, with a call under way.
        peer = await under_test.connect(HELLO + frame(HEADERS, END_HEADERS, 1, block(b"/x/Echo")))
        peer.send(frame(PING, 0, 0, b"12345678") * 2)
        for _ in range(2):
            while (found := await peer.until(PING)).flags != ACK:
                pass
            assert found.body == b"12345678"


@on_loop
async def test_a_flood_of_pings_is_hung_up_on():
    async with served() as under_test:
        peer = await under_test.connect(HELLO + frame(PING, 0, 0, b"12345678") * 1000)
        assert await peer.last_words() == b"too_many_pings"


@on_loop
async def test_metadata_up_to_the_bound_and_beyond():
    async with served() as under_test:
        for size, refused in ((14_000, False), (20_000, True), (60_000, True)):
            data = block(b"/x/Echo", (b"big", b"x" * size))
            pieces = [data[start : start + 16_000] for start in range(0, len(data), 16_000)]
            first, *others = pieces
            frames = frame(HEADERS, 0 if others else END_HEADERS, 1, first)
            for piece in others:
                frames += frame(CONTINUATION, END_HEADERS if piece is others[-1] else 0, 1, piece)
            peer = await under_test.connect(HELLO + frames + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"))
            answer = await peer.until(HEADERS, 1)
            assert (RESOURCE_EXHAUSTED in answer.body) is refused


@on_loop
async def test_headers_without_end_are_dropped_as_they_come():
    async with served() as under_test:
        peer = await under_test.connect(HELLO + frame(HEADERS, 0, 1, block(b"/x/Echo")))
        before = resident_bytes()
        more = b"\x00" + literal(b"name") + literal(b"x" * 16_000)
        with contextlib.suppress(ConnectionError):  # it may lose patience
            for _ in range(1500):  # 24 MB
                peer.send(frame(CONTINUATION, 0, 1, more))
                await peer.writer.drain()
        assert resident_bytes() - before < 16e6


@on_loop
async def test_calls_that_are_opened_and_never_made(monkeypatch):
    monkeypatch.setattr(transport_grpcio, "MAX_STREAMS", 100)
    async with served() as under_test:
        calls = b"".join(frame(HEADERS, END_HEADERS, 2 * number + 1, block(b"/x/Echo")) for number in range(150))
        peer = await under_test.connect(HELLO + calls)
        settings = await peer.until(SETTINGS)
        assert b"\x00\x03" + (100).to_bytes(4, "big") in settings.body
        for _ in range(50):
            refused = await peer.until(RST_STREAM)
            assert refused.stream > 1
        await under_test.echo()


@on_loop
async def test_who_gives_no_room_for_answers_is_answered_no_further():
    async with served() as under_test:
        no_window = frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00")
        call = frame(HEADERS, END_HEADERS, 1, block(b"/x/Flood")) + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")
        peer = await under_test.connect(PREFACE + no_window + frame(SETTINGS, ACK) + call)
        await peer.until(HEADERS, 1)
        for _ in range(20):
            await under_test.echo()
        assert under_test.streaming < 20  # 200 KB, and it would be endless


@on_loop
async def test_many_idle_connections_cost_little():
    async with served() as under_test:
        await under_test.echo()
        before = resident_bytes()
        for _ in range(500):
            await under_test.connect()
        for peer in under_test.peers:
            await peer.until(SETTINGS)
        await under_test.echo()
        # Both ends of each, and they are ours too.
        assert resident_bytes() - before < 500 * 100_000
