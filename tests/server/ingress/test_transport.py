"""A transport whose connections are in processes of their own. What it serves is in this one."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from runner.config import Tls
from runner.http2.frames import DATA, GOAWAY, PREFACE, SETTINGS
from runner.processes.child_process import ChildProcess
from runner.server.certificates import Certificates
from runner.server.ingress import process as process_module
from runner.server.ingress import transport as transport_module
from runner.server.ingress.messages import Encrypt
from runner.server.ingress.process import IngressProcess
from runner.server.ingress.transport import IngressTransport
from runner.server.status import rpc_status
from tests.authority import Authority
from tests.http2.peer import Frame
from tests.running import Timers, on_loop, turns
from tests.server.native.serving import Client, Rpcs, http1

pytestmark = pytest.mark.real


class Served:
    """A transport that listens, and its RPCs."""

    def __init__(self, transport: IngressTransport, rpcs: Rpcs, port: int) -> None:
        self.transport = transport
        self.rpcs = rpcs
        self.port = port

    @property
    def processes(self) -> list[IngressProcess]:
        return sorted(self.transport._living, key=lambda each: each.pid)

    @property
    def connections(self) -> list[int]:
        return [each.connections for each in self.processes]

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until something is so, which some event of the loop brings about."""
        while not met():
            await turns(1)

    async def ready(self, count: int) -> None:
        await self.until(lambda: self.transport.statistics().processes == count)

    async def call(self, client: Client, payload: bytes) -> bytes:
        client.ask(1, b"/t/Echo", payload)
        answered = await client.next(DATA)
        assert answered is not None
        return answered.payload[5:]


@asynccontextmanager
async def served(
    count: int,
    host: str = "127.0.0.1",
    *,
    at_once: bool = False,
    certificates: Certificates | None = None,
    **options: Any,
) -> AsyncIterator[Served]:
    """Serve on a free port. `at_once`: while the processes start."""
    rpcs = Rpcs()
    options = {"status_of": rpc_status, "http1": http1, "max_message_bytes": 1 << 20, **options}
    transport = IngressTransport(count, rpcs.table(), **options)
    port = await transport.listen(host, 0, certificates)
    try:
        under_test = Served(transport, rpcs, port)
        if not at_once:
            await under_test.ready(count)
        yield under_test
    finally:
        rpcs.release.set()
        await transport.close()
        assert not transport._living


@on_loop
async def test_each_process_gets_as_many_connections_and_one_that_has_lost_some_the_next():
    async with served(2) as server:
        clients = [await Client.connect(server.port) for _ in range(6)]
        for number, client in enumerate(clients):
            assert await server.call(client, b"%d" % number) == b"%d" % number
        assert server.connections == [3, 3]
        assert {info.peer for info in server.rpcs.infos} == {"127.0.0.1"}
        assert len({info.request_id for info in server.rpcs.infos}) == 6
        for client in clients[::2]:  # all of one process
            client.close()
        await server.until(lambda: sum(server.connections) == 3)
        assert sorted(server.connections) == [0, 3]
        more = [await Client.connect(server.port) for _ in range(3)]
        for client in more:
            assert await server.call(client, b"x") == b"x"
        assert server.connections == [3, 3]
        statistics = server.transport.statistics()
        assert (statistics.processes, statistics.connections, statistics.restarts_total) == (2, 6, 0)
        for client in (*clients, *more):
            client.close()


@on_loop
async def test_who_comes_before_the_processes_is_spread_over_them_too():
    async with served(2, at_once=True) as server:
        clients = [await Client.connect(server.port) for _ in range(4)]
        for client in clients:
            assert await server.call(client, b"x") == b"x"
        assert server.connections == [2, 2]
        for client in clients:
            client.close()


@on_loop
async def test_where_one_process_does_not_start_the_other_serves(monkeypatch):
    spawn, failures = ChildProcess.spawn, iter([OSError("no memory")] * 100)
    first = []

    async def sometimes(*args: Any) -> ChildProcess:
        if first:
            raise next(failures)
        first.append(args)
        return await spawn(*args)

    monkeypatch.setattr(ChildProcess, "spawn", sometimes)
    async with served(2, at_once=True) as server:
        client = await Client.connect(server.port)
        assert await server.call(client, b"x") == b"x"
        assert server.connections == [1]
        client.close()


@on_loop
async def test_short_connections_go_to_the_processes_in_turn():
    async with served(2) as server:
        for _ in range(4):
            client = await Client.connect(server.port)
            assert await server.call(client, b"x") == b"x"
            client.close()
            await server.until(lambda: server.connections == [0, 0])
        assert [each._given for each in server.processes] == [2, 2]


@on_loop
async def test_a_process_that_is_killed_takes_its_connections_along_and_is_replaced(caplog):
    async with served(2) as server:
        clients = [await Client.connect(server.port) for _ in range(4)]
        for client in clients:
            client.ask(1, b"/t/Wait", b"")
        await server.until(lambda: sum(len(each._answers._calls) for each in server.processes) == 4)
        victim, other = server.processes
        os.kill(victim.pid, signal.SIGKILL)
        await server.until(lambda: len(server.rpcs.cancelled) == 2)
        server.rpcs.release.set()
        answered, lost = 0, 0
        for client in clients:
            try:
                found = await client.next(DATA)
            except ConnectionResetError:
                found = None
            answered += found is not None
            lost += found is None
        assert (answered, lost) == (2, 2)
        await server.ready(2)
        assert victim not in server.processes
        assert other in server.processes
        assert server.transport.statistics().restarts_total == 1
        assert "an ingress process killed by SIGKILL" in caplog.text
        again = await Client.connect(server.port)
        assert await server.call(again, b"x") == b"x"
        assert other.connections == 2  # the new one had none
        for client in (*clients, again):
            client.close()


@on_loop
async def test_a_drain_waits_for_calls_and_tells_clients_to_go():
    async with served(2) as server:
        clients = [await Client.connect(server.port) for _ in range(2)]
        for client in clients:
            client.ask(1, b"/t/Wait", b"")
        await server.until(lambda: sum(len(each._answers._calls) for each in server.processes) == 2)
        draining = asyncio.ensure_future(server.transport.drain(20.0))
        for client in clients:
            assert await client.next(GOAWAY) is not None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert not draining.done()
        server.rpcs.release.set()
        for client in clients:
            answered = await client.next(DATA)
            assert answered is not None
            assert answered.payload.endswith(b"waited")
            client.close()
        await draining
        assert not server.rpcs.cancelled
        assert server.transport.statistics().restarts_total == 0


@on_loop
async def test_what_does_not_end_within_the_grace():
    async with served(1) as server:
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Wait", b"")
        await server.rpcs.started.wait()
        await server.transport.drain(0.05)
        assert server.rpcs.cancelled == ["wait"]
        client.close()


@on_loop
async def test_a_process_that_does_not_drain_is_ended(monkeypatch):
    monkeypatch.setattr(transport_module, "_FAREWELL", 0.05)
    async with served(1) as server:
        (process,) = server.processes
        os.kill(process.pid, signal.SIGSTOP)
        await server.transport.drain(0.0)
        assert process._process is not None
        assert await process._process.wait() == "killed by SIGKILL"


@on_loop
async def test_a_process_that_hangs_is_killed_and_replaced(monkeypatch, caplog):
    monkeypatch.setattr(transport_module, "_BEAT_SECONDS", 0.2)
    async with served(2) as server:
        victim, other = server.processes
        await server.until(lambda: other._unanswered == 1)
        await server.until(lambda: other._unanswered == 0)  # answered
        os.kill(victim.pid, signal.SIGSTOP)
        await server.until(lambda: server.transport.statistics().restarts_total == 1)
        await server.ready(2)
        assert victim not in server.processes
        assert "has not answered 3 times, and is killed" in caplog.text


@on_loop
async def test_processes_that_hang_before_they_are_ready_are_killed_and_replaced(monkeypatch, caplog):
    spawn, left = ChildProcess.spawn, iter(range(3))

    async def hanging(*args: Any) -> ChildProcess:
        process = await spawn(*args)
        for _ in left:  # the first three
            os.kill(process.pid, signal.SIGSTOP)
            break
        return process

    monkeypatch.setattr(ChildProcess, "spawn", hanging)
    monkeypatch.setattr(transport_module, "restart_delay", lambda deaths, dice: 0.0)
    timers = Timers(monkeypatch, process_module.READY_SECONDS)
    async with served(2, at_once=True) as server:
        await server.until(lambda: len(server.processes) == 2)
        client = await Client.connect(server.port)
        timers.go_off()
        await server.until(lambda: timers.count == 4)
        await server.ready(1)
        assert await server.call(client, b"x") == b"x"
        assert caplog.text.count("not ready after 30 s, and is killed") == 2
        assert caplog.text.count("killed by SIGKILL, and another is started; until one is ready, clients wait") == 2
        timers.go_off()
        await server.ready(2)
        assert server.transport.statistics().restarts_total == 3
        assert caplog.text.endswith("killed by SIGKILL, and another is started\n")
        assert timers.running == 0
        client.close()


@on_loop
async def test_connections_for_which_no_process_has_room_wait():
    async with served(2) as server:
        for process in server.processes:
            process.room = 1
        clients = [await Client.connect(server.port) for _ in range(3)]
        for client in clients[:2]:
            assert await server.call(client, b"x") == b"x"
        clients[2].ask(1, b"/t/Echo", b"at last")
        assert server.connections == [1, 1]
        clients[0].close()
        answered = await clients[2].next(DATA)
        assert answered is not None
        assert answered.payload.endswith(b"at last")
        for client in clients:
            client.close()


@on_loop
async def test_a_connection_too_many_is_closed_at_once(monkeypatch):
    monkeypatch.setattr(transport_module, "MAX_CONNECTIONS", 2)
    async with served(2) as server:
        clients = [await Client.connect(server.port) for _ in range(2)]
        for client in clients:
            assert await server.call(client, b"x") == b"x"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(PREFACE + bytes(Frame(SETTINGS)))
        with suppress(ConnectionError):
            assert await reader.read(1) == b""
        writer.close()
        for client in clients:
            client.close()


@on_loop
async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch, caplog):
    delays: list[int] = []

    def delay(deaths: int, dice: float) -> float:
        delays.append(deaths)
        return 0.0

    spawn, failures = ChildProcess.spawn, iter([OSError("no memory"), OSError("no memory")])

    async def sometimes(*args: Any) -> ChildProcess:
        for failure in failures:
            raise failure
        return await spawn(*args)

    monkeypatch.setattr(transport_module, "restart_delay", delay)
    monkeypatch.setattr(ChildProcess, "spawn", sometimes)
    async with served(1) as server:
        assert delays == [1, 2]
        assert caplog.text.count("no memory") == 2
        assert server.transport.statistics().restarts_total == 2


@on_loop
async def test_a_socket_in_the_file_system(tmp_path: Path):
    path = tmp_path / "s"
    async with served(2, f"unix:{path}") as server:
        assert server.port == 0
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with (
            grpc.aio.insecure_channel(f"unix:{path}", options=options) as one,
            grpc.aio.insecure_channel(f"unix:{path}", options=options) as two,
        ):
            for channel in (one, two):
                assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"
            assert server.connections == [1, 1]
        assert server.rpcs.infos[0].peer == "unix"


@on_loop
async def test_the_processes_encrypt(tmp_path: Path):
    authority = Authority(tmp_path)
    signed = authority.sign("server")
    async with served(1, certificates=Certificates(Tls(certificate=signed.certificate, key=signed.key))) as server:
        context = ssl.create_default_context(cafile=str(authority.ca))
        reader, writer = await asyncio.open_connection("localhost", server.port, ssl=context)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"ok\n")
        writer.close()
        await writer.wait_closed()
        credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert await channel.unary_unary("/t/Echo")(b"hello") == b"hello"
        reader, writer = await asyncio.open_connection("localhost", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""  # no handshake
        writer.close()
        await server.until(lambda: server.connections == [0])


@on_loop
async def test_a_process_that_is_started_anew_has_the_last_certificate_that_was_right(tmp_path: Path, caplog):
    """It serves with it while the files are wrong, and with the next one as all others do."""
    now = 0.0
    authorities = [Authority(tmp_path / name) for name in ("first", "second", "third")]
    files = tmp_path / "tls.crt", tmp_path / "tls.key"

    def put(authority: Authority) -> None:
        for source, target in zip(authority.sign("server"), files, strict=True):
            target.write_bytes(source.read_bytes())

    def clock() -> float:
        nonlocal now
        now += 10.0  # the files are looked at each time
        return now

    async def seen(authority: Authority) -> bool:
        context = ssl.create_default_context(cafile=str(authority.ca))
        try:
            _, writer = await asyncio.open_connection("localhost", server.port, ssl=context)
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def seen_by_all(authority: Authority) -> None:
        while not await seen(authority):  # the first may come before the news
            pass
        for _ in range(2):
            assert await seen(authority)

    put(authorities[0])
    certificates = Certificates(Tls(certificate=files[0], key=files[1]), clock)
    async with served(2, certificates=certificates) as server:
        await seen_by_all(authorities[0])
        put(authorities[1])
        await seen_by_all(authorities[1])
        files[0].write_text("half of a certi")
        victim, other = server.processes
        os.kill(victim.pid, signal.SIGKILL)
        await server.until(lambda: server.transport.statistics().restarts_total == 1)
        await server.ready(2)
        assert other in server.processes
        await seen_by_all(authorities[1])
        assert "the certificate stays as it was" in caplog.text
        put(authorities[2])
        await seen_by_all(authorities[2])


def test_a_message_with_a_key_in_it_does_not_show_it():
    assert "secret" not in repr(Encrypt(b"certificate", b"secret", None))
