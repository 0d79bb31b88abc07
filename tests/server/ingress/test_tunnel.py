"""HTTP/1.1 on connections of an ingress process, answered at the other end of the link."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from runner.server.ingress.messages import WINDOW_BYTES
from runner.server.native.transport import NativeTransport
from runner.server.status import rpc_status
from tests.running import on_loop, turns
from tests.server.ingress.hop import Hop, hop
from tests.server.native.serving import Rpcs, Served

GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def behind(**options: Any) -> AsyncIterator[tuple[Served, Hop]]:
    """A native transport on a free port whose calls are answered over a link."""
    rpcs = Rpcs()
    async with hop(rpcs.table(), **options) as between:
        transport = NativeTransport(
            between.remote.rpcs, max_message_bytes=1 << 20, status_of=rpc_status, http1=between.remote.tunnel
        )
        port = await transport.listen("127.0.0.1", 0)
        try:
            yield Served(transport, rpcs, port), between
        finally:
            rpcs.release.set()
            await transport.close()


class Talker(asyncio.Protocol):
    """Speaks on a connection what a test has it say. `heard`: what the other side has said."""

    def __init__(self, closed: Callable[[asyncio.Protocol], None]) -> None:
        self.heard = b""
        self.events: list[str] = []
        self.changed = asyncio.Event()
        self.ends = False  # close when the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.changed.set()

    def _event(self, name: str) -> None:
        self.events.append(name)
        self.changed.set()

    def eof_received(self) -> bool:
        self._event("eof")
        return not self.ends

    def connection_lost(self, exc: Exception | None) -> None:
        self._event("lost")

    def pause_writing(self) -> None:
        self._event("pause")

    def resume_writing(self) -> None:
        self._event("resume")

    async def until(self, met: Callable[[], bool]) -> None:
        while not met():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Talker, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A talker at the other end, and a client that has said `GET ` to it."""
    talkers: list[Talker] = []

    def make(closed: Callable[[asyncio.Protocol], None]) -> Talker:
        talkers.append(Talker(closed))
        return talkers[-1]

    async with behind(make_http1=make) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET ")
        while not talkers or not talkers[0].heard:
            await turns()
        yield talkers[0], reader, writer
        writer.close()
        talkers[0].transport.close()
        await talkers[0].until(lambda: "lost" in talkers[0].events)
        assert talkers[0].events.count("lost") == 1
        while server.transport.connections:
            await turns()


@on_loop
async def test_the_application_answers_as_if_there_were_nothing_between():
    async with behind() as (server, _):
        answer = await server.raw(b"GE", b"T /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"ok\n")
        answers = await server.raw(GET + GET, b"nonsense\r\n\r\n")  # one after the other, then it is closed
        assert [answers.count(status) for status in (b"HTTP/1.1 200 ", b"HTTP/1.1 400 ")] == [2, 1]
        assert await server.raw(b"\0") == b""


@on_loop
async def test_a_client_that_ends_is_heard_and_one_that_leaves_too():
    async with talking() as (talker, reader, writer):
        assert talker.transport.get_extra_info("peername") == ("127.0.0.1", 0)
        assert talker.transport.get_extra_info("socket", 7) == 7
        writer.write_eof()
        await talker.until(lambda: talker.events == ["eof"])
        talker.transport.write(b"bye")
        talker.transport.close()
        talker.transport.write(b"never said")
        assert talker.transport.is_closing()
        assert await reader.read() == b"bye"
        assert talker.heard == b"GET "
    async with talking() as (talker, _, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await talker.until(lambda: talker.events == ["lost"])


@on_loop
async def test_who_ends_with_its_client_closes():
    async with talking() as (talker, reader, writer):
        talker.ends = True
        writer.write_eof()
        assert await reader.read() == b""


@on_loop
async def test_an_abort_cuts_it_off():
    async with talking() as (talker, reader, _):
        talker.transport.abort()
        talker.transport.abort()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass


@on_loop
async def test_a_client_that_does_not_read_stops_the_writer():
    async with talking() as (talker, reader, writer):
        talker.transport.set_write_buffer_limits(high=100_000)
        writer.transport.pause_reading()
        said = 0
        while "pause" not in talker.events:
            talker.transport.write(b"x" * 50_000)
            said += 50_000
            await turns()
        assert 100_000 < talker.transport.get_write_buffer_size() <= 150_000
        talker.transport.close()  # all of it is still said
        writer.transport.resume_reading()
        assert len(await reader.read()) == said
        assert talker.events[:2] == ["pause", "resume"]


@on_loop
async def test_a_talker_that_does_not_read_stops_the_client():
    async with talking() as (talker, _, writer):
        talker.transport.pause_reading()
        assert not talker.transport.is_reading()
        total = 40 * WINDOW_BYTES
        writer.write(bytes(total))
        waiting = -1
        while waiting != len(talker.transport._unread):  # type: ignore[attr-defined]
            waiting = len(talker.transport._unread)  # type: ignore[attr-defined]
            await turns()
        assert talker.heard == b"GET "
        # A window and one read of the socket.
        assert sum(map(len, talker.transport._unread)) < 2 * WINDOW_BYTES  # type: ignore[attr-defined]
        talker.transport.resume_reading()
        await talker.until(lambda: len(talker.heard) == total + 4)
