"""A web server for the fetch tests, on a loopback port: well-behaved pages and hostile ones."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PICTURE = bytes(range(256)) * 40


@dataclass
class Web:
    """What the server saw, and what the tests may hold it with."""

    port: int = 0
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)  # a client hung up on an unfinished answer
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # something happened; see `until`
    requests: list[bytes] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # lets the answers of /gate go

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something to be true of this server."""
        while not happened():
            self.changed.clear()
            await self.changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                self.changed.set()
                await self.answer(head.split(b" ", 2)[1].decode(), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        finally:
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        page, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        match page:
            case "picture":
                reply(writer, PICTURE)
            case "text":
                reply(writer, "naïve café".encode())
            case "latin":
                reply(writer, "café".encode("latin-1"))
            case "status":
                reply(writer, b"no", status=int(rest))
            case "to":  # the rest of the path says where to, "~" standing for ":"
                reply(writer, b"", status=302, headers={"Location": rest.replace("~", ":")})
            case "nowhere":
                reply(writer, b"", status=302)
            case "loop":
                reply(writer, b"", status=301, headers={"Location": "/loop"})
            case "hops":
                left = int(rest)
                reply(writer, b"", status=307, headers={"Location": f"/hops/{left - 1}" if left else "/picture"})
            case "gzip":
                reply(writer, gzip.compress(b"\0" * 1_000_000), headers={"Content-Encoding": "gzip"})
            case "lying":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx")
            case "endless":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                    await writer.drain()
            case "never":
                await self.gate.wait()
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)  # the slowness itself is what is served
            case "headers":  # that never end
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while True:
                    writer.write(b"X-More: " + b"x" * 0x4000 + b"\r\n")
                    await writer.drain()
            case "continue":  # for ever
                while True:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
                    await writer.drain()
            case "short":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
                raise ConnectionError
            case "garbage":
                writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                raise ConnectionError
            case "gate":
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                self.changed.set()
                await self.gate.wait()
                self.at_once -= 1
                reply(writer, b"open")
            case _:
                reply(writer, b"", status=404)


def reply(
    writer: asyncio.StreamWriter, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@asynccontextmanager
async def running_web() -> AsyncIterator[Web]:
    web = Web()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await web.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # asyncio.streams logs a handler that ends cancelled
        finally:
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()
