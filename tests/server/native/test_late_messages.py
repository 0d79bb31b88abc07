"""Calls whose message is long in coming: their deadlines are kept all the same. The clock is the tests'."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runner.grpc_protocol.messages import frame
from runner.http2.frames import DATA, END_STREAM, HEADERS, PING, RST_STREAM
from runner.server.native import unfinished
from tests.http2.peer import Frame, word
from tests.running import Timers, on_loop
from tests.server.native.serving import Client, served

pytestmark = pytest.mark.real

MESSAGE = frame(b"hello")
SECONDS = 1000
TIMEOUT = (b"grpc-timeout", b"%dS" % SECONDS)
PATHS = (b"/t/Echo", b"/t/Begun", b"/t/Repeat", b"/t/Chat", b"/t/Collect")


async def seen(client: Client) -> None:
    """Wait until the server has seen all that was sent, and a turn of its loop is over."""
    for _ in range(2):
        client.write(Frame(PING, 0, 0, bytes(8)))
        assert await client.next(PING) is not None


@pytest.mark.parametrize("sent", [0, 3, 5, 7])
@pytest.mark.parametrize("path", PATHS)
@on_loop
async def test_a_message_that_does_not_come_in_time(monkeypatch, path, sent):
    async with served() as server:
        timers = Timers(monkeypatch, SECONDS)
        client = await Client.connect(server.port)
        client.ask(1, path, end=False, more=(TIMEOUT,))
        client.write(Frame(DATA, 0, 1, MESSAGE[:sent]))
        await seen(client)
        assert timers.running == 1
        timers.go_off()
        head = await client.next(HEADERS)
        assert head is not None
        assert head.flags & END_STREAM
        assert client.fields(head)[b"grpc-status"] == b"4"
        reset = await client.next(RST_STREAM)
        assert reset is not None
        assert reset.stream == 1
        assert not server.transport.calls.unfinished.arriving_bytes
        assert not server.transport.calls.unfinished
        assert not timers.running
        client.write(Frame(DATA, END_STREAM, 1, MESSAGE[sent:]))  # what was under way meanwhile hurts nobody
        client.ask(3, b"/t/Echo", b"hello")
        answer = await client.next(DATA)
        assert answer == Frame(DATA, 0, 3, MESSAGE)
        client.close()


@on_loop
async def test_a_message_that_comes_with_its_head_needs_no_timer(monkeypatch):
    async with served() as server:
        timers = Timers(monkeypatch, SECONDS)
        client = await Client.connect(server.port)
        for stream, path in ((1, b"/t/Echo"), (3, b"/t/Begun")):
            client.ask(stream, path, b"hello", more=(TIMEOUT,))
            await seen(client)
        assert timers.count == 0
        client.close()


@pytest.mark.parametrize("path", [b"/t/Echo", b"/t/Begun", b"/t/Chat"])
@on_loop
async def test_who_leaves_before_leaves_no_timer(monkeypatch, path):
    async with served() as server:
        timers = Timers(monkeypatch, SECONDS)
        client = await Client.connect(server.port)
        client.ask(1, path, end=False, more=(TIMEOUT,))
        await seen(client)
        assert timers.running == 1
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        client.ask(3, path, end=False, more=(TIMEOUT,))
        client.write(Frame(RST_STREAM, 0, 3, word(8)))
        await seen(client)
        assert not timers.running
        client.close()


@on_loop
async def test_the_time_that_a_message_takes_is_not_given_back(monkeypatch):
    """The deadline counts from the head of the call on, and is the service's once the message is there."""
    now = 100.0
    monkeypatch.setattr(unfinished, "time", SimpleNamespace(monotonic=lambda: now))
    async with served() as server:
        timers = Timers(monkeypatch, SECONDS)
        client = await Client.connect(server.port)
        client.ask(1, b"/t/Echo", end=False, more=(TIMEOUT,))
        client.write(Frame(DATA, 0, 1, MESSAGE[:7]))
        await seen(client)
        now += 5
        client.write(Frame(DATA, END_STREAM, 1, MESSAGE[7:]))
        assert await client.next(DATA) == Frame(DATA, 0, 1, MESSAGE)
        assert [info.deadline for info in server.rpcs.infos] == [100.0 + SECONDS]
        assert timers.count == 1
        assert not timers.running
        client.close()
