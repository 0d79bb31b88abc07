"""How connections begin and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest

from runner.http2.frames import ACK, DATA, GOAWAY, PING, PREFACE, SETTINGS, WINDOW_UPDATE
from runner.server.native import transport
from runner.server.native.protocol import Patience
from runner.server.native.sockets import open_sockets
from runner.server.native.transport import NativeTransport
from runner.server.status import rpc_status
from tests.http2.peer import Frame, settings, word
from tests.running import on_loop
from tests.server.native.serving import Client, Rpcs, http1, served

pytestmark = pytest.mark.real


@on_loop
async def test_drain() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Wait")(b"")
        watch = channel.unary_stream("/t/Watch")(b"once")
        await watch.read()
        await server.rpcs.started.wait()
        draining = asyncio.ensure_future(server.transport.drain(20.0))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        server.rpcs.release.set()
        assert await call == b"waited"
        await draining  # does not wait for the watcher
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await watch.read()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


@on_loop
async def test_a_drain_waits_until_answers_have_left() -> None:
    """A call is over for its method while its answers still wait for a client that reads slowly."""
    async with served() as server:
        client = await Client.connect(server.port)
        client.write(settings((4, 1000)))
        client.ask(1, b"/t/Echo", bytes(60_000))
        received = 0
        while received < 1000:
            piece = await client.next(DATA)
            assert piece is not None
            received += len(piece.payload)
        assert server.transport.calls.active == 0
        draining = asyncio.ensure_future(server.transport.drain(20.0))
        ping = await client.next(PING)
        assert ping is not None
        client.write(Frame(PING, ACK, 0, ping.payload))
        client.write(Frame(WINDOW_UPDATE, 0, 0, word(500_000)), Frame(WINDOW_UPDATE, 0, 1, word(500_000)))
        while received < 60_005:
            piece = await client.next(DATA)
            assert piece is not None
            received += len(piece.payload)
        await draining
        client.close()


@on_loop
@pytest.mark.parametrize("leaves", ["client", "server"])
async def test_the_last_answer_arrives_whole_though_its_client_goes_on_talking(leaves: str, monkeypatch) -> None:
    """Clients open windows as they read. A socket that is closed drops what it has not sent when something comes."""
    monkeypatch.setattr(transport, "_FAREWELL", 0.0)
    async with served() as server:
        client = await Client.connect(server.port)
        client.write(settings((4, 2**30)), Frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.ask(1, b"/t/Wait" if leaves == "server" else b"/t/Together", b"8000000")
        if leaves == "client":
            client.write(Frame(GOAWAY, 0, 0, bytes(8)))
        else:
            client.ask(3, b"/t/Together", b"8000000")
            await server.rpcs.started.wait()
            draining = asyncio.ensure_future(server.transport.drain(20.0))
            server.rpcs.release.set()
        received = 0
        while (piece := await client.next(DATA, PING)) is not None:
            if piece.kind == PING:
                client.write(Frame(PING, ACK, 0, piece.payload))
            else:
                received += len(piece.payload)
                client.write(Frame(WINDOW_UPDATE, 0, 0, word(1)))
        assert received >= 8_000_005
        client.close()
        if leaves == "server":
            await draining


@on_loop
async def test_what_does_not_end_within_the_grace() -> None:
    async with served() as server, server.channel() as channel:
        call = channel.unary_unary("/t/Wait")(b"")
        await server.rpcs.started.wait()
        await server.transport.drain(0.05)
        assert server.rpcs.cancelled == ["wait"]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


@on_loop
async def test_a_connection_too_many_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_CONNECTIONS", 3)
    async with served() as server:
        clients = [await Client.connect(server.port) for _ in range(3)]
        for number, client in enumerate(clients):
            client.ask(1, b"/t/Echo", b"%d" % number)
            assert await client.next(DATA) is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(PREFACE + bytes(Frame(SETTINGS)))
        with contextlib.suppress(ConnectionError):
            assert await reader.read(1) == b""
        writer.close()
        draining = asyncio.ensure_future(server.transport.drain(20.0))
        for client in clients:
            assert await client.next(GOAWAY) is not None
            client.close()
        await draining


@pytest.mark.parametrize(
    ("limit", "fit"), [(1024, 928), (96, 1), (50, 1), (1 << 20, 16384), (resource.RLIM_INFINITY, 16384)]
)
def test_connections_leave_descriptors_to_workers(monkeypatch: pytest.MonkeyPatch, limit: int, fit: int) -> None:
    monkeypatch.setattr(transport.resource, "getrlimit", lambda _: (limit, limit))
    assert transport.connections_that_fit(96) == fit


@on_loop
async def test_a_silent_client_is_asked_whether_it_is_there() -> None:
    async with served(patience=Patience(silence=0.1)) as server:
        client = await Client.connect(server.port)
        for _ in range(2):
            ping = await client.next(PING)
            assert ping is not None
            client.writer.write(bytes(Frame(PING, ACK, 0, ping.payload)))
        assert await client.next(PING) is not None
        # No answer: the connection ends.
        with pytest.raises(ConnectionResetError):
            assert await client.next(99) is None
            raise ConnectionResetError
        client.writer.close()


@on_loop
async def test_a_connection_without_a_call_is_told_to_go_and_clients_do_not_notice() -> None:
    async with served(patience=Patience(silence=0.05, idle=0.1)) as server, server.channel() as channel:
        echo = channel.unary_unary("/t/Echo")
        assert await echo(b"1", timeout=10) == b"1"
        while channel.get_state() is grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert await echo(b"2", timeout=10) == b"2"


@on_loop
async def test_who_answers_pings_alone_keeps_its_place_for_a_while() -> None:
    async with served(patience=Patience(silence=0.05, idle=0.1)) as server:
        client = await Client.connect(server.port)
        told = False
        with contextlib.suppress(ConnectionResetError):
            while (frame := await client.next(PING, GOAWAY)) is not None:
                told = told or frame.kind == GOAWAY
                # Not the one that comes with GOAWAY: it means to stay.
                if frame.kind == PING and frame.payload != b"\0goaway\0":
                    client.write(Frame(PING, ACK, 0, frame.payload))
        assert told
        assert server.transport.connections == 0
        client.close()


@on_loop
async def test_a_connection_with_a_call_is_not_told_to_go() -> None:
    async with served(patience=Patience(silence=0.05, idle=0.05)) as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Wait", b"")
        for _ in range(5):
            ping = await client.next(PING, GOAWAY)
            assert ping is not None
            assert ping.kind == PING
            client.write(Frame(PING, ACK, 0, ping.payload))
        client.close()


@on_loop
async def test_connections_grow_old() -> None:
    async with served(patience=Patience(max_age=0.1)) as server:
        client = await Client.connect(server.port)
        goaway = await client.next(GOAWAY)
        assert goaway is not None
        assert goaway.number == 2**31 - 1
        ping = await client.next(PING)
        assert ping is not None
        client.writer.write(bytes(Frame(PING, ACK, 0, ping.payload)))
        final = await client.next(GOAWAY)
        assert final is not None
        assert final.number == 0
        assert await client.next(99) is None
        client.writer.close()


@on_loop
async def test_old_connections_keep_their_calls_for_a_while() -> None:
    async with served(patience=Patience(max_age=0.5, age_grace=0.05)) as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Wait", b"")
        await server.rpcs.started.wait()
        assert await client.next(GOAWAY) is not None
        assert server.rpcs.cancelled == []
        assert await client.next(99) is None
        await server.rpcs.stopped.wait()
        client.close()


@on_loop
async def test_a_client_that_says_nothing() -> None:
    async with served(patience=Patience(first_bytes=0.05)) as server:
        assert await server.raw() == b""


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\0\x01\0", b"get / HTTP/1.1\r\n", b"A" * 30, b"\0"])
def test_a_client_that_speaks_something_else_is_told_at_once(nonsense: bytes) -> None:
    """An official client tries TLS first where its base has no scheme, and waits for the refusal."""

    @on_loop
    async def scenario() -> None:
        async with served() as server:
            try:
                assert await server.raw(nonsense) == b""
            except ConnectionResetError:
                pass

    scenario()


@on_loop
async def test_http1_on_the_same_port() -> None:
    async with served() as server, server.channel() as channel:
        answer = await server.raw(b"GE", b"T /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"ok\n")
        assert await channel.unary_unary("/t/Echo")(b"still here") == b"still here"


@on_loop
async def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(2):  # the second time it is left over
        rpcs = Rpcs()
        transport = NativeTransport(rpcs.table(), max_message_bytes=1 << 20, status_of=rpc_status, http1=http1)
        assert await transport.listen(f"unix:{path}", 0) == 0
        try:
            # A connection of its own: gRPC would use that of the first server once more, which is about to close.
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
                assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"
            assert rpcs.infos[0].peer == "unix"
            with pytest.raises(OSError, match="a server listens there"):
                open_sockets(f"unix:{path}", 0)
        finally:
            await transport.close()


@on_loop
async def test_a_client_that_reads_nothing_does_not_hold_up_the_end_of_a_socket_in_the_file_system(tmp_path) -> None:
    under_test = NativeTransport(Rpcs().table(), max_message_bytes=1 << 20, status_of=rpc_status, http1=http1)
    await under_test.listen(f"unix:{tmp_path}/socket", 0)
    reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/socket")
    writer.write(PREFACE + bytes(Frame(SETTINGS)))
    await reader.readexactly(9)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(10.0):
        await under_test.drain(1000.0)
    writer.close()


@pytest.mark.parametrize(("name", "why"), [("", "needs a path"), ("file", "no socket")])
def test_a_path_that_cannot_be_had(name: str, why: str, tmp_path) -> None:
    (tmp_path / "file").write_text("of somebody")
    with pytest.raises(OSError, match=why):
        open_sockets(f"unix:{tmp_path / name if name else ''}", 0)
    assert (tmp_path / "file").read_text() == "of somebody"


@on_loop
async def test_who_is_told_that_this_was_all_and_does_not_leave_is_left() -> None:
    left = asyncio.Event()
    async with served(patience=Patience(silence=0.05), on_left=left.set) as server:
        client = await Client.connect(server.port)
        client.write(Frame(GOAWAY, 0, 0, bytes(8)))
        assert await client.next(99) is None  # and it keeps its own side open
        while server.transport.connections:
            left.clear()
            await left.wait()
        client.close()


def test_a_taken_port() -> None:
    (one,) = open_sockets("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        open_sockets("127.0.0.1", one.getsockname()[1])
    one.close()


def test_a_port_that_is_shared() -> None:
    (one,) = open_sockets("127.0.0.1", 0, reuse_port=True)
    (two,) = open_sockets("127.0.0.1", one.getsockname()[1], reuse_port=True)
    assert one.getsockname() == two.getsockname()
    one.close()
    two.close()


def test_a_name_with_two_addresses_has_one_port() -> None:
    sockets = open_sockets("localhost", 0)
    assert len({each.getsockname()[1] for each in sockets}) == 1
    for each in sockets:
        each.close()


def test_sockets_from_systemd() -> None:
    code = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
from runner.server.native.sockets import inherited_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
(found,) = inherited_sockets(os.environ)
print(found.getsockname()[1], os.get_inheritable(3), inherited_sockets({}))
"""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        number = opened.fileno()
        # Put to its place in there: between its fork and its exec `subprocess` may have something of its own at 3.
        done = subprocess.run(
            [sys.executable, "-c", code, str(number)],
            pass_fds=(number,),
            env={**os.environ, "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert done.stdout.split() == [str(opened.getsockname()[1]), "False", "[]"]
