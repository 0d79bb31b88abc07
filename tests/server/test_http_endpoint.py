"""HTTP on real connections: what well-behaved clients get, and what the others do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h11
import pytest

from runner.server import http_endpoint, http_protocol
from runner.server.fitness import Fitness
from runner.server.http_app import HttpApp, HttpRequest, HttpResponse
from runner.server.http_endpoint import HttpEndpoint
from tests.running import on_loop

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = h11.Connection(h11.CLIENT)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, bytes]:
        """Read one response by its length, as text."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read to the end of the connection, however it ends."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await self.reader.read(65536):
                data += chunk
        return data


class Endpoint:
    def __init__(self, endpoint: HttpEndpoint, port: int) -> None:
        self.endpoint = endpoint
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        return Client(reader, writer)

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def listening(app: HttpApp | None = None) -> AsyncIterator[Endpoint]:
    endpoint = HttpEndpoint(app or HttpApp(Fitness()))
    under_test = Endpoint(endpoint, await endpoint.listen("127.0.0.1", 0))
    try:
        yield under_test
    finally:
        under_test.leave()
        await endpoint.close()


@on_loop
async def test_requests_on_one_connection_one_by_one_and_ahead():
    async with listening() as under_test:
        client = await under_test.connect()
        for _ in range(3):
            client.send(GET)
            assert await client.response() == (200, b"ok\n")
        client.send(GET * 50 + b"GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(50):
            assert await client.response() == (200, b"ok\n")
        assert await client.response() == (503, b"the model is loading\n")


@on_loop
async def test_a_request_in_pieces():
    async with listening() as under_test:
        client = await under_test.connect()
        for position in range(len(GET)):
            client.send(GET[position : position + 1])
            await asyncio.sleep(0)
        assert (await client.response())[0] == 200


@on_loop
async def test_old_clients_and_those_that_ask_for_it_are_hung_up_on():
    async with listening() as under_test:
        for request in (b"GET /livez HTTP/1.0\r\n\r\n", GET.replace(b"Host", b"Connection: close\r\nHost")):
            client = await under_test.connect()
            client.send(request)
            data = await client.rest()
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(b"\r\n\r\nok\n")


@on_loop
async def test_a_head_has_no_body():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(GET.replace(b"GET", b"HEAD").replace(b"Host", b"Connection: close\r\nHost"))
        data = await client.rest()
        assert b"content-length: 3\r\n" in data.lower()
        assert data.endswith(b"\r\n\r\n")


@on_loop
async def test_a_body_is_read_and_no_longer_one_than_makes_sense():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert (await client.response())[0] == 405
        assert (await client.response())[0] == 200
        client.send(b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert b" 413 " in await client.rest()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",  # no Host
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /\r\nlivez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",  # TLS
    ],
)
@on_loop
async def test_what_is_no_request_is_refused(data):
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(data)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@on_loop
async def test_a_head_of_one_piece_may_be_no_longer_than_one_of_several():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(GET.replace(b"Host", b"A: %s\r\nHost" % (b"x" * http_protocol.MAX_HEAD_BYTES)))
        assert b"HTTP/1.1 431 " in await client.rest()


@on_loop
async def test_who_asks_before_a_body_is_told_to_go_on():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(b"POST /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert (await client.response())[0] == 405


@on_loop
async def test_the_target_may_be_a_whole_url():
    async with listening() as under_test:
        client = await under_test.connect()
        for target in (b"http://x/livez?a=1", b"https://x:1/livez"):
            client.send(GET.replace(b"/livez", target))
            assert await client.response() == (200, b"ok\n")


@on_loop
async def test_another_version_of_http_is_refused():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 505 ")


@on_loop
async def test_a_flood_of_headers_is_cut_off():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)))
        assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "start", [b"", b"GET /livez HT", GET[:-2], b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
@on_loop
async def test_who_takes_too_long_is_hung_up_on(start, monkeypatch):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.05)
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(start)
        assert await client.rest() == b""


@on_loop
async def test_a_slow_client_does_not_win_time_by_sending_more(monkeypatch):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.05)
    async with listening() as under_test:
        client = await under_test.connect()
        ended = asyncio.ensure_future(client.rest())
        client.send(b"GET /livez HTTP/1.1\r\n")
        while not ended.done():
            client.send(b"X: y\r\n")
            await asyncio.wait((ended,), timeout=0.005)
        assert await ended == b""


@on_loop
async def test_an_idle_connection_is_kept_for_a_while(monkeypatch):
    monkeypatch.setattr(http_protocol, "KEEP_ALIVE_SECONDS", 0.05)
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(GET)
        assert (await client.response())[0] == 200
        assert await client.rest() == b""


class Verbose(HttpApp):
    """Says much."""

    asked = 0

    def answer(self, request: HttpRequest) -> HttpResponse:
        self.asked += 1
        return HttpResponse(body=b"x" * 60_000)


@on_loop
async def test_who_does_not_read_is_asked_no_more_and_then_hung_up_on(monkeypatch):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.1)
    app = Verbose(Fitness())
    async with listening(app) as under_test:
        lost = asyncio.Event()
        monkeypatch.setattr(under_test.endpoint, "_lost", lambda protocol: lost.set())
        client = await under_test.connect()
        client.writer.transport.pause_reading()
        client.send(GET * 2000)  # 120 MB of answers
        await lost.wait()
        assert app.asked < 500  # what fits into the buffers of both kernels


@on_loop
async def test_the_oldest_connection_makes_room(monkeypatch):
    monkeypatch.setattr(http_endpoint, "MAX_CONNECTIONS", 3)
    async with listening() as under_test:
        clients = [await under_test.connect() for _ in range(3)]
        for client in clients:
            client.send(GET)
            await client.response()
        another = await under_test.connect()
        another.send(GET)
        assert (await another.response())[0] == 200
        assert await clients[0].rest() == b""
        clients[1].send(GET)
        assert (await clients[1].response())[0] == 200
        assert len(under_test.endpoint._connections) == 3


@on_loop
async def test_closing_hangs_up_on_everybody():
    async with listening() as under_test:
        client = await under_test.connect()
        client.send(GET)
        await client.response()
        await under_test.endpoint.close()
        assert await client.rest() == b""


@on_loop
async def test_a_port_that_is_taken():
    async with listening() as under_test:
        with pytest.raises(OSError):
            await HttpEndpoint(HttpApp(Fitness())).listen("127.0.0.1", under_test._port)
