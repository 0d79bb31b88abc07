"""Calls of all kinds over the native transport, from the client of grpcio."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.grpc_protocol.compression import choose, compress, decompressor
from runner.grpc_protocol.messages import MessageReader, Packed, frame
from runner.http2.frames import DATA, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE
from runner.http2.limits import Limits
from runner.http2.sender import HIGH_WATER
from runner.server.native import calls
from runner.server.rpcs import CallInfo, UnaryRpc
from tests.http2.peer import Frame, word
from tests.running import on_loop, resident_bytes, run_on_fresh_loop
from tests.server.native.serving import Client, served

pytestmark = pytest.mark.real


@on_loop
async def test_unary() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Echo")
        metadata = (("x-id", "7"), ("x-request-id", "abc"), ("x-raw-bin", b"\0\xff"))
        assert await call(b"hello", timeout=10, metadata=metadata) == b"hello"
        info = server.rpcs.infos[0]
        assert info.request_id == "abc"
        assert info.peer == "127.0.0.1"
        assert ("x-id", "7") in info.metadata
        assert ("x-raw-bin", b"\0\xff") in info.metadata
        assert info.deadline is not None
        assert await call(b"") == b""
        assert server.rpcs.infos[1].deadline is None
        assert server.rpcs.infos[1].request_id


@on_loop
async def test_calls_that_differ_in_deadline_and_metadata_alone() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Echo")
        for number in range(6):
            timeout = None if number == 5 else 10 + 10 * number
            assert await call(b"x", timeout=timeout, metadata=(("x-same", "s"), ("x-trace", f"t{number}"))) == b"x"
        seen = [dict(info.metadata) for info in server.rpcs.infos]
        assert [each["x-trace"] for each in seen] == [f"t{number}" for number in range(6)]
        assert all(each["x-same"] == "s" and each["user-agent"].startswith("grpc-python") for each in seen)
        *deadlines, last = [info.deadline for info in server.rpcs.infos]
        assert last is None
        assert all(5 < later - earlier < 15 for earlier, later in itertools.pairwise(deadlines))


@on_loop
async def test_messages_of_all_sizes() -> None:
    async with served() as server, server.channel(("grpc.max_receive_message_length", -1)) as channel:
        call = channel.unary_unary("/t/Echo")
        for size in (0, 1, 16_000, 16_384, 16_385, 65_536, 300_000, 1_048_576, 2_000_000):
            message = bytes(range(256)) * (size // 256) + bytes(size % 256)
            assert await call(message) == message
        assert await asyncio.gather(*(call(bytes(n * 1000)) for n in range(100))) == [
            bytes(n * 1000) for n in range(100)
        ]


@on_loop
async def test_compressed_requests() -> None:
    async with served() as server:
        for coding in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", compression=coding) as channel:
                assert await channel.unary_unary("/t/Echo")(bytes(100_000)) == bytes(100_000)


@pytest.mark.parametrize("takes", ["identity", "gzip", "deflate, zstd"])
def test_replies_are_compressed_for_who_takes_it_where_it_is_worth_it(takes: str) -> None:
    async def run() -> None:
        async with served(compress_replies=True) as server:
            client = await Client.connect(server.port)
            coding = choose(takes)
            replies: dict[int, bytes] = {}
            for number, path in enumerate((b"/t/Echo", b"/t/Begun", b"/t/Chat")):
                for size in (100, 1023, 1024, 200_000, 300_000):
                    stream = 2 * len(replies) + 1
                    client.ask(stream, path, bytes(size), takes=takes.encode())
                    client.write(*(Frame(WINDOW_UPDATE, 0, each, word(1 << 20)) for each in (0, stream)))
                    head = await client.next(HEADERS)
                    assert head is not None
                    assert client.fields(head).get(b"grpc-encoding", b"identity").decode() == coding
                    body = bytearray()
                    while (each := await client.next(HEADERS, DATA)) is not None and each.kind == DATA:
                        body += each.payload
                    assert each is not None
                    assert client.fields(each)[b"grpc-status"] == b"0"
                    replies[stream] = bytes(body)
                    worth = coding != "identity" and 1024 <= size <= 256 * 1024
                    assert body[0] == worth
                    length = int.from_bytes(body[1:5], "big")
                    assert (length < size) == worth
                    message = bytes(body[5 : 5 + length])
                    if worth:
                        decompress = decompressor(coding)
                        assert decompress is not None
                        message = decompress(message, size)
                    assert message == bytes(size)
                    assert len(body) == 5 + length + (8 if number == 2 else 0)  # and "end"
            client.close()

    run_on_fresh_loop(run())


@on_loop
async def test_a_client_of_grpcio_reads_compressed_replies() -> None:
    async with served(compress_replies=True) as server, server.channel() as channel:
        assert await channel.unary_unary("/t/Echo")(bytes(100_000)) == bytes(100_000)


@on_loop
async def test_replies_are_not_compressed_unless_that_was_asked_for() -> None:
    async with served() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Echo", bytes(5_000), takes=b"gzip")
        head = await client.next(HEADERS)
        assert head is not None
        assert b"grpc-encoding" not in client.fields(head)
        data = await client.next(DATA)
        assert data is not None
        assert data.payload[:5] == b"\0" + (5_000).to_bytes(4, "big")
        client.close()


@on_loop
async def test_messages_of_a_stream_stay_compressed_until_they_are_taken() -> None:
    async with served() as server, server.channel() as channel:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Chat", b"hold", end=False, coding=b"gzip")
        bomb = frame(compress("gzip", bytes(1 << 20)), compressed=True)
        most = Limits().initial_window // len(bomb) - 1
        before = resident_bytes()
        for _ in range(most):  # each becomes more than two hundred times as much
            client.write(Frame(DATA, 0, 1, bomb))
        client.write(Frame(PING, 0, 0, bytes(8)))
        await client.next(PING)
        assert most > 100
        assert resident_bytes() - before < 32e6
        client.close()
        assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"


class Held:
    """Has threads wait before they read a compressed message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.release = threading.Event()
        self.whole = Packed.plain
        monkeypatch.setattr(Packed, "plain", lambda packed: self.plain(packed))

    def plain(self, packed: Packed) -> bytes:
        self.loop.call_soon_threadsafe(self.reached.set)
        assert self.release.wait(10.0), "the loop stood still for it"
        return self.whole(packed)


LONG = random.Random(1).randbytes(2 * calls.UNPACKED_APART)


@pytest.mark.parametrize("path", ["/t/Chat", "/t/Echo", "/t/Begun"])
def test_a_long_compressed_message_holds_up_nobody_else(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @on_loop
    async def scenario() -> None:
        held = Held(monkeypatch)
        async with served() as server, server.channel() as channel:
            client = await Client.connect(server.port)
            client.ask(1, path.encode(), end=False, coding=b"gzip", more=[(b"grpc-timeout", b"1H")])
            client.write(Frame(DATA, END_STREAM, 1, frame(compress("gzip", LONG), compressed=True)))
            await held.reached.wait()
            assert server.transport.calls.active == 1
            assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"
            held.release.set()
            data = await client.next(DATA)
            assert data is not None
            assert data.payload == frame(LONG)
            client.close()

    scenario()


@on_loop
async def test_who_leaves_while_a_message_is_read_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    async with served() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Begun", end=False, coding=b"gzip")
        client.write(Frame(DATA, END_STREAM, 1, frame(compress("gzip", LONG), compressed=True)))
        await held.reached.wait()
        assert server.transport.calls.unfinished.arriving_bytes > len(LONG)
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        await server.transport.calls.idle()
        assert server.transport.calls.unfinished.arriving_bytes == 0
        assert server.rpcs.begun == []
        held.release.set()
        client.close()


@on_loop
async def test_the_deadline_of_a_call_counts_from_before_its_message_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    async with served() as server:
        client = await Client.connect(server.port)
        before = time.monotonic()
        client.ask(1, b"/t/Echo", end=False, coding=b"gzip", more=[(b"grpc-timeout", b"100S")])
        client.write(Frame(DATA, END_STREAM, 1, frame(compress("gzip", LONG), compressed=True)))
        await held.reached.wait()
        reached = time.monotonic()
        held.release.set()
        await client.next(DATA)
        (info,) = server.rpcs.infos
        assert info.deadline is not None
        assert before + 100.0 <= info.deadline <= reached + 100.0
        client.close()


@pytest.mark.parametrize("path", [b"/t/Chat", b"/t/Collect", b"/t/Repeat", b"/t/Echo"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_message_that_cannot_be_decompressed_ends_its_call_only(path: bytes, before: int) -> None:
    @on_loop
    async def scenario() -> None:
        async with served() as server, server.channel() as channel:
            client = await Client.connect(server.port)
            streams = path in (b"/t/Chat", b"/t/Collect")
            client.ask(1, path, *[b"well"] * (before if streams else 0), end=False, coding=b"gzip")
            client.write(Frame(DATA, 0, 1, frame(b"no gzip", compressed=True)))
            while (found := await client.next(HEADERS)) is not None and not found.flags & END_STREAM:
                pass
            assert found is not None
            assert client.fields(found)[b"grpc-status"] == b"13"
            client.close()
            assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"

    scenario()


@on_loop
async def test_a_message_that_is_refused_by_its_length_is_not_copied_for_it() -> None:
    taken: list[type] = []

    async def answer(request: bytes, call: CallInfo) -> bytes:
        taken.append(type(request))
        return b""

    async with served() as server, server.channel() as channel:
        server.transport.calls._heads._rpcs = {"/t/Type": UnaryRpc(answer)}
        for size in (1 << 20, (1 << 20) + 1):
            await channel.unary_unary("/t/Type")(bytes(size))
    assert taken == [bytes, memoryview]


@on_loop
async def test_a_message_beyond_the_limit() -> None:
    async with served(max_message_bytes=1000) as server, server.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/t/Echo")(bytes(2001))
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary("/t/Echo")(bytes(2000)) == bytes(2000)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (b"call", grpc.StatusCode.INVALID_ARGUMENT, "the input is wrong"),
        (b"retry", grpc.StatusCode.RESOURCE_EXHAUSTED, "too much"),
        (b"rpc", grpc.StatusCode.NOT_FOUND, "there is no such thing: é"),
        (b"bug", grpc.StatusCode.INTERNAL, "internal error"),
    ],
)
def test_errors(request_: bytes, code: grpc.StatusCode, text: str) -> None:
    @on_loop
    async def scenario() -> None:
        async with served() as server, server.channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary("/t/Fail")(request_)
            assert failed.value.code() is code
            assert text in (failed.value.details() or "")
            details = dict(failed.value.trailing_metadata() or ())
            assert ("grpc-status-details-bin" in details) == (request_ != b"rpc")

    scenario()


@on_loop
async def test_an_unknown_path() -> None:
    async with served() as server, server.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/t/Nothing")(b"x")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert failed.value.details() == "there is no RPC /t/Nothing"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.stream_stream("/nothing/at.all")().read()
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


@on_loop
async def test_server_stream() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_stream("/t/Repeat")
        assert [each async for each in call(b"500")] == [b"%d" % number for number in range(500)]
        assert [each async for each in call(b"0")] == []


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("window", [(), (("grpc.http2.lookahead_bytes", 16_384),)])
@given(st.lists(st.sampled_from((0, 1, 100, 5000, 16_374, 16_379, 16_380, 70_000)), min_size=1, max_size=20))
@settings(max_examples=10, deadline=None)
def test_replies_that_are_ready_together(compression: Any, window: Any, sizes: list[int]) -> None:
    async def test() -> None:
        async with served(compress_replies=True) as server, server.channel(*window) as channel:
            call = channel.unary_stream("/t/Together")(" ".join(map(str, sizes)).encode(), compression=compression)
            replies = [reply async for reply in call]
            assert replies == [bytes([number % 251]) * size for number, size in enumerate(sizes)]

    on_loop(test)()


@on_loop
async def test_short_replies_that_are_ready_together_share_a_frame() -> None:
    async with served() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Together", b"10 0 " + b"4000 " * 5 + b"20000 7")
        bodies: list[bytes] = []
        while sum(map(len, bodies)) < 40_017 + 9 * 5:
            each = await client.next(DATA)
            assert each is not None
            bodies.append(each.payload)
        # Those behind a long one wait with it, in the stream's queue, from which frames are filled.
        assert [len(body) for body in bodies[:2]] == [10 + 4 * 4000 + 6 * 5, 4000 + 5]
        reader = MessageReader(1 << 20, None)
        assert [len(each) for body in bodies for each in reader.feed(body, 0, len(body))] == [
            *(10, 0, 4000, 4000, 4000, 4000, 4000, 20_000, 7)
        ]
        client.close()


@on_loop
async def test_bidi() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.stream_stream("/t/Chat")()
        for text in (b"one", b"two"):
            await call.write(text)
            assert await call.read() == text
        await call.done_writing()
        assert await call.read() == b"end"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


@on_loop
async def test_bidi_that_ends_before_its_requests() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.stream_stream("/t/Chat")()
        await call.write(b"stop")
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        call = channel.stream_stream("/t/Chat")()
        await call.write(b"fail")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@on_loop
async def test_client_stream() -> None:
    async with served() as server, server.channel() as channel:
        assert await channel.stream_unary("/t/Collect")(iter([b"a", b"b", b"c"])) == b"a+b+c"


@on_loop
async def test_a_caller_that_leaves() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Wait")(b"")
        await server.rpcs.started.wait()
        call.cancel()
        await server.rpcs.stopped.wait()
        assert server.rpcs.cancelled == ["wait"]
        server.rpcs.stopped.clear()
        stream = channel.unary_stream("/t/Forever")(b"once")
        await stream.read()
        stream.cancel()
        await server.rpcs.stopped.wait()
        assert server.rpcs.cancelled == ["wait", "forever"]


@on_loop
async def test_a_connection_that_is_lost() -> None:
    async with served() as server:
        async with server.channel() as channel:
            call = channel.unary_unary("/t/Wait")(b"")
            await server.rpcs.started.wait()
        await server.rpcs.stopped.wait()
        assert server.rpcs.cancelled == ["wait"]
        with pytest.raises(asyncio.CancelledError):
            await call


@on_loop
async def test_deadlines() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.stream_stream("/t/Chat")(timeout=0.2)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
        assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@on_loop
async def test_a_slow_reader_stops_the_writer() -> None:
    async with served() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Forever", b"")
        received = 0
        while received < 65_535:  # the window that a client has without a word
            piece = await client.next(DATA)
            assert piece is not None
            received += len(piece.payload)
        assert server.rpcs.sent * 10_000 <= 65_535 + HIGH_WATER + 2 * 10_005
        client.write(Frame(WINDOW_UPDATE, 0, 0, word(500_000)), Frame(WINDOW_UPDATE, 0, 1, word(500_000)))
        while received < 565_535:
            piece = await client.next(DATA)
            assert piece is not None
            received += len(piece.payload)
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        await server.rpcs.stopped.wait()
        client.close()


@on_loop
async def test_a_slow_method_stops_the_client() -> None:
    async with served() as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Chat", b"hold", end=False)
        message = frame(bytes(16_379))
        for _ in range(Limits().initial_window // 16_384 - 1):  # all but a part of the stream's window
            client.write(Frame(DATA, 0, 1, message))
        client.write(Frame(PING, 0, 0, bytes(8)))
        assert 1 not in await client.granted_until_ping()
        client.write(Frame(WINDOW_UPDATE, 0, 0, word(1_000_000)), Frame(WINDOW_UPDATE, 0, 1, word(1_000_000)))
        server.rpcs.release.set()
        while (update := await client.next(WINDOW_UPDATE)) is not None and update.stream != 1:
            pass
        client.close()


@pytest.mark.parametrize("size", [1000, 100_000, 400_000, 1_000_000])
def test_a_client_is_ahead_by_a_window_and_a_message(size: int) -> None:
    @on_loop
    async def scenario() -> None:
        async with served() as server:
            client = await Client.connect(server.port)
            client.ask(1, b"/t/Chat", b"hold", end=False)
            client.write(Frame(WINDOW_UPDATE, 0, 0, word(2**30)), Frame(SETTINGS, 0, 0, b"\0\4" + word(2**30)))
            count = 4_000_000 // size
            body = memoryview(frame(bytes(size)) * count)
            sent, window, connection_window = 0, Limits().initial_window - 9, Limits().connection_window - 9
            while True:  # for as long as the windows let it
                while length := min(16_384, window, connection_window, len(body) - sent):
                    client.write(Frame(DATA, 0, 1, body[sent : sent + length]))
                    sent, window, connection_window = sent + length, window - length, connection_window - length
                client.write(Frame(PING, 0, 0, bytes(8)))
                more = 0
                while (update := await client.next(WINDOW_UPDATE, PING)) is not None and update.kind != PING:
                    if update.stream == 1:
                        window += update.number
                        more += update.number
                    else:
                        connection_window += update.number
                if not more and not server.rpcs.release.is_set():
                    assert sent <= Limits().initial_window + size + 5
                    server.rpcs.release.set()
                if sent == len(body):
                    break
            client.close()

    scenario()


@on_loop
async def test_calls_that_are_reset_at_once_are_not_counted() -> None:
    async with served() as server:
        client = await Client.connect(server.port)
        for number in range(1, 40, 2):
            client.ask(number, (b"/t/Wait", b"/t/Chat", b"/t/Forever", b"/t/Begun")[number // 2 % 4], b"")
            client.write(Frame(RST_STREAM, 0, number, word(8)))
        client.write(Frame(PING, 0, 0, bytes(8)))
        await client.next(PING)
        await server.transport.drain(20.0)
        assert server.transport.calls.active == 0
        client.close()


@on_loop
async def test_calls_without_a_task() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Begun")
        assert await call(b"at once") == b"at once"
        for size in (16_383, 16_384, 150_000, 2_000_000):
            long = bytes(index % 251 for index in range(size))
            assert await call(long) == long
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(b"fail")
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(b"bug")
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert await call(b"cannot") == b"by a coroutine"
        later = asyncio.ensure_future(call(b"later"))
        await server.rpcs.started.wait()
        assert server.transport.calls.active == 1
        server.rpcs.tell(b"told")
        assert await later == b"told"
        server.rpcs.started.clear()
        left = call(b"later")
        await server.rpcs.started.wait()
        left.cancel()
        await server.rpcs.stopped.wait()
        assert server.rpcs.cancelled == ["begun"]
        server.rpcs.tell(b"too late")
        assert server.transport.calls.active == 0
