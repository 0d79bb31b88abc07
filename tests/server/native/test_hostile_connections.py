"""Connections that cost and bring nothing, on real sockets: half-said, flooding, never read. Others must not notice.

What each rule of HTTP/2 says to it is tested without sockets, in `tests/http2/test_limits.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runner.grpc_protocol.messages import frame
from runner.http2.errors import ErrorCode
from runner.http2.frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from runner.http2.limits import Limits
from runner.server.native import calls, transport, unfinished
from runner.server.native.protocol import Patience
from tests.http2.peer import Frame, settings, word
from tests.running import on_loop, resident_bytes
from tests.server.native.serving import Client, Served, served

pytestmark = pytest.mark.real

WIDE = word(2**30)


async def echo(server: Served) -> None:
    """Call as everybody does."""
    async with server.channel() as channel:
        assert await channel.unary_unary("/t/Echo")(b"hello", timeout=10) == b"hello"


@asynccontextmanager
async def beset(**options: Any) -> AsyncIterator[Served]:
    """Serve somebody else too, before and after."""
    async with served(**options) as server:
        await echo(server)
        yield server
        await echo(server)


async def last_words(client: Client) -> ErrorCode:
    """Wait until the connection was ended with a GOAWAY; return its code."""
    goaway = await client.next(GOAWAY)
    assert goaway is not None
    client.close()
    return goaway.code


@on_loop
async def test_a_slow_hello_wins_no_time():
    async with beset(patience=Patience(first_bytes=0.1)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        gone = asyncio.ensure_future(reader.read())
        for position in range(len(PREFACE)):
            if gone.done():
                break
            writer.write(PREFACE[position : position + 1])
            await asyncio.wait((gone,), timeout=0.02)
        assert position < len(PREFACE) - 1
        assert gone.exception() is not None or gone.result() == b""
        writer.close()


@on_loop
async def test_who_stops_after_hello_is_asked_and_then_gone():
    async with beset(patience=Patience(silence=0.5)) as server:
        assert PING in [frame[3] for frame in frames_of(await server.raw(PREFACE))]


def frames_of(said: bytes) -> list[bytes]:
    frames: list[bytes] = []
    while said:
        length = 9 + int.from_bytes(said[:3], "big")
        frames.append(said[:length])
        said = said[length:]
    return frames


@on_loop
async def test_floods_are_hung_up_on():
    limits = Limits(idle_frames_burst=100, idle_frames_per_second=1, resets_burst=100, resets_per_second=1)
    async with beset(limits=limits) as server:
        pinging = await Client.connect(server.port)
        pinging.write(*[Frame(PING, 0, 0, bytes(8))] * 200)
        assert await last_words(pinging) is ErrorCode.ENHANCE_YOUR_CALM
        resetting = await Client.connect(server.port)
        for number in range(1, 401, 2):
            resetting.ask(number, b"/t/Wait", b"")
            resetting.write(Frame(RST_STREAM, 0, number, word(8)))
        assert await last_words(resetting) is ErrorCode.ENHANCE_YOUR_CALM
        assert server.transport.calls.active == 0


@on_loop
async def test_headers_without_end_are_bounded():
    async with beset() as server:
        before = resident_bytes()
        client = await Client.connect(server.port)
        client.write(Frame(HEADERS, 0, 1, b""))
        client.write(*[Frame(CONTINUATION, 0, 1, bytes(16_000))] * 1000)  # 16 MB
        try:
            assert await last_words(client) is ErrorCode.ENHANCE_YOUR_CALM
        except ConnectionError:  # the rest of it met a closed socket
            client.close()
        assert resident_bytes() - before < 48e6  # what waits in this test's own socket among it


@on_loop
async def test_calls_that_are_opened_and_never_made():
    async with beset(limits=Limits(max_concurrent_streams=100)) as server:
        client = await Client.connect(server.port)
        for number in range(150):
            client.ask(2 * number + 1, (b"/t/Chat", b"/t/Echo")[number % 2], end=False)
        for _ in range(50):
            refused = await client.next(RST_STREAM)
            assert refused is not None
            assert refused.code is ErrorCode.REFUSED_STREAM
        await echo(server)
        client.close()


async def status_of(client: Client) -> tuple[int, bytes]:
    """Return which call ended next, and how. Read every head of a response by this."""
    head = await client.next(HEADERS)
    assert head is not None
    return head.stream, client.fields(head)[b"grpc-status"]


@on_loop
async def test_of_all_calls_that_are_never_made_the_one_silent_for_the_longest_gives_way(monkeypatch):
    monkeypatch.setattr(unfinished, "MAX_OPENED", 10)
    async with beset() as server:
        clients = [await Client.connect(server.port) for _ in range(2)]
        for client in clients:
            for number in range(5):
                client.ask(2 * number + 1, (b"/t/Chat", b"/t/Echo")[number % 2], end=False)
            client.write(Frame(PING, 0, 0, bytes(8)))
            assert await client.next(PING) is not None
        hostile, honest = clients
        for stream in (1, 3):  # something comes of these: half a message
            hostile.write(Frame(DATA, 0, stream, b"\0\0\0\0\2h"))
        hostile.write(Frame(PING, 0, 0, bytes(8)))
        assert await hostile.next(PING) is not None
        for stream in (11, 13, 15):
            honest.ask(stream, b"/t/Chat", end=False)
            assert await status_of(hostile) == (stream - 6, b"8")
        honest.ask(17, b"/t/Echo", b"whole")  # has come as a whole, and still takes a place for a moment
        assert await status_of(honest) == (1, b"8")
        assert (await honest.next(DATA)).payload[5:] == b"whole"
        for stream in (1, 3):
            hostile.write(Frame(DATA, END_STREAM, stream, b"i"))
        assert {(await hostile.next(DATA)).payload[5:] for _ in range(3)} == {b"hi", b"end"}
        for client in clients:
            client.close()


@on_loop
async def test_calls_that_begin_or_end_are_not_counted_as_never_made(monkeypatch):
    monkeypatch.setattr(unfinished, "MAX_OPENED", 1)
    async with beset() as server, server.channel() as channel:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Chat", b"first", end=False)
        assert (await client.next(DATA)).payload[5:] == b"first"
        client.ask(3, b"/t/Chat", end=False)
        client.write(Frame(RST_STREAM, 0, 3, word(8)))
        client.ask(5, b"/t/Chat")  # no message at all
        client.ask(7, b"/t/Echo")
        client.ask(9, b"/t/Chat", end=False)
        client.ask(11, b"/t/Echo", bytes(30_000))
        assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"
        client.write(Frame(DATA, END_STREAM, 1, frame(b"second")))
        while (each := await client.next(DATA, RST_STREAM)) is not None and each.stream != 1:
            assert each.kind == DATA or each.stream in (7, 9)
        assert each is not None
        assert each.payload[5:] == b"second"
        client.close()


@on_loop
async def test_of_clients_that_do_not_read_their_answers_the_one_with_the_most_is_cut_off(monkeypatch):
    monkeypatch.setattr(transport, "MAX_UNREAD_BYTES", 1_000_000)
    async with beset() as server:
        honest, hostile = [await Client.connect(server.port) for _ in range(2)]
        honest.ask(1, b"/t/Echo", bytes(300_000))
        for number in range(5):
            hostile.ask(2 * number + 1, b"/t/Echo", bytes(200_000))
        goaway = await hostile.next(GOAWAY)
        assert goaway is not None
        assert goaway.payload[4:8] == word(ErrorCode.ENHANCE_YOUR_CALM)
        assert await hostile.next(GOAWAY) is None  # it is closed
        assert 0 < server.transport.backlog.size <= 1_000_000
        honest.write(Frame(WINDOW_UPDATE, 0, 1, word(1 << 20)), Frame(WINDOW_UPDATE, 0, 0, word(1 << 20)))
        received = 0
        while received < 300_005:
            each = await honest.next(DATA)
            assert each is not None
            received += len(each.payload)
        assert server.transport.backlog.size == 0
        for client in (honest, hostile):
            client.close()


@on_loop
async def test_of_messages_that_never_end_the_one_that_stands_still_for_the_longest_gives_way(monkeypatch):
    monkeypatch.setattr(unfinished, "MAX_ARRIVING_BYTES", 100_000)
    async with beset() as server:
        clients = [await Client.connect(server.port) for _ in range(2)]
        hostile, honest = clients
        begun = (60_000).to_bytes(5, "big") + bytes(10_000)

        async def write(client: Client, stream: int, data: bytes) -> None:
            client.write(Frame(DATA, 0, stream, data), Frame(PING, 0, 0, bytes(8)))
            assert await client.next(PING) is not None

        for number in range(9):
            hostile.ask(2 * number + 1, (b"/t/Chat", b"/t/Echo")[number % 2], end=False)
            await write(hostile, 2 * number + 1, begun)
        honest.ask(1, b"/t/Echo", end=False)
        await write(honest, 1, begun)
        hostile.write(Frame(DATA, 0, 1, bytes(100)))  # the oldest, but not the one that stands still
        assert await status_of(hostile) == (3, b"8")
        hostile.write(Frame(RST_STREAM, 0, 5, word(8)))
        for _ in range(3):
            await write(honest, 1, bytes(16_000))
            assert server.transport.calls.unfinished.arriving_bytes <= 100_000
        honest.write(Frame(DATA, END_STREAM, 1, bytes(2_000)))
        assert (await honest.next(DATA)).payload[:5] == (60_000).to_bytes(5, "big")
        for client in clients:
            client.close()
    assert server.transport.calls.unfinished.arriving_bytes == 0


@on_loop
async def test_a_call_that_gives_way_by_its_own_message_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(unfinished, "MAX_ARRIVING_BYTES", 50)
    async with beset() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Chat", end=False)
        client.write(Frame(DATA, 0, 1, frame(b"whole") + (200).to_bytes(5, "big") + bytes(60)))
        assert await status_of(client) == (1, b"8")
        (protocol,) = server.transport._connections
        assert (protocol._connection.inflow.unread, protocol._connection.active) == (0, 0)
        assert server.transport.calls.unfinished.arriving_bytes == 0
        client.close()


@on_loop
async def test_only_so_many_watch(monkeypatch):
    monkeypatch.setattr(calls, "MAX_LASTING", 3)
    async with beset() as server:
        client = await Client.connect(server.port)
        for number in (1, 3, 5):
            client.ask(number, b"/t/Watch", b"once")
            assert (await client.next(DATA)).stream == number
        client.ask(7, b"/t/Watch", b"once")
        while (head := await client.next(HEADERS)).stream != 7:
            client.fields(head)
        assert client.fields(head)[b"grpc-status"] == b"8"
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        client.ask(9, b"/t/Watch", b"once")
        assert (await client.next(DATA)).stream == 9
        client.close()


@on_loop
async def test_who_gives_no_room_for_answers_is_answered_no_further():
    async with beset() as server:
        client = await Client.connect(server.port)
        client.write(settings((4, 0)))
        client.ask(1, b"/t/Forever", b"")
        assert await client.next(HEADERS) is not None
        for _ in range(20):
            await echo(server)
        assert server.rpcs.sent < 20  # 200 KB, and it would be endless
        client.close()


@on_loop
async def test_who_makes_calls_and_reads_no_answer_is_cut_off():
    async with beset(limits=Limits(max_unsent_frames=1000)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        client = Client(reader, writer)
        writer.write(PREFACE + bytes(Frame(SETTINGS)))
        with pytest.raises(ConnectionError):
            for number in range(1, 1_000_000, 2):
                client.ask(number, b"/t/no-such-rpc-" + b"x" * 1000, b"")
                await writer.drain()


async def asks_for_ever(port: int) -> Client:
    """A client with the widest windows, which reads next to nothing of an answer without end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    client = Client(reader, writer)
    writer.write(PREFACE + bytes(Frame(SETTINGS, 0, 0, b"\0\4" + word(2**31 - 1))))
    client.write(Frame(WINDOW_UPDATE, 0, 0, WIDE))
    client.ask(1, b"/t/Forever", b"")
    return client


@on_loop
async def test_who_never_reads_is_answered_no_further_and_then_gone():
    async with beset(patience=Patience(silence=0.5)) as server:
        client = await asks_for_ever(server.port)
        await server.rpcs.stopped.wait()
        assert server.rpcs.sent < 10_000  # 100 MB; the kernel's buffers take a few
        client.close()


@on_loop
async def test_who_talks_and_never_reads_is_gone_too():
    """It is never silent for long, and so never asked whether it is there."""
    async with beset(patience=Patience(silence=0.1)) as server:
        client = await asks_for_ever(server.port)
        gone = asyncio.ensure_future(server.rpcs.stopped.wait())
        while not gone.done():
            client.write(Frame(WINDOW_UPDATE, 0, 0, word(1)))
            await asyncio.wait((gone,), timeout=0.02)
        client.close()


@on_loop
async def test_many_idle_connections_cost_little():
    async with beset() as server:
        before = resident_bytes()
        clients = [await Client.connect(server.port) for _ in range(500)]
        for client in clients:
            assert await client.next(SETTINGS) is not None
        await echo(server)
        # Both ends of each, and they are ours too.
        assert resident_bytes() - before < 500 * 100_000
        for client in clients:
            client.close()
