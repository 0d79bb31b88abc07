"""Connections are accepted, and handed on."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runner.server.ingress import door as door_module
from runner.server.ingress.door import Door, hand_over
from runner.server.native.sockets import open_sockets
from tests.running import on_loop, turns


class Porter:
    """Takes connections for as long as there is `room`. `given`: those it has taken."""

    def __init__(self) -> None:
        self.room = 1000
        self.given: list[socket.socket] = []
        self.changed = asyncio.Event()

    def give(self, accepted: socket.socket) -> bool:
        self.changed.set()
        if len(self.given) >= self.room:
            return False
        self.given.append(accepted.dup())
        return True

    async def until(self, count: int) -> None:
        while len(self.given) < count:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def guarded() -> AsyncIterator[tuple[Door, Porter, int]]:
    porter = Porter()
    sockets = open_sockets("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    door = Door(sockets, porter.give)
    try:
        yield door, porter, port
    finally:
        door.close()
        for each in porter.given:
            each.close()


async def connect(port: int, count: int) -> list[asyncio.StreamWriter]:
    return [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]


@on_loop
async def test_nobody_is_let_in_until_it_opens_and_all_are_then():
    async with guarded() as (door, porter, port):
        writers = await connect(port, 100)
        await turns()
        assert not porter.given
        door.open()
        await porter.until(100)
        ports = {writer.get_extra_info("sockname")[1] for writer in writers}
        assert {each.getpeername()[1] for each in porter.given} == ports
        for writer in writers:
            writer.close()


@on_loop
async def test_where_there_is_no_room_they_wait_and_none_is_lost():
    async with guarded() as (door, porter, port):
        porter.room = 2
        door.open()
        writers = await connect(port, 5)
        await porter.until(2)
        while door._held is None:
            await turns()
        for room in (3, 4):
            porter.room = room
            door.open()  # as whoever has room sees to
            await porter.until(room)
        assert len(porter.given) == 4
        porter.room = 10
        door.open()
        await porter.until(5)
        for writer in writers:
            writer.close()


@on_loop
async def test_a_closed_door_lets_go_of_the_port_and_of_whom_it_held():
    async with guarded() as (door, porter, port):
        porter.room = 0
        door.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while door._held is None:
            await turns()
        door.close()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


class Full:
    """A listening socket whose process has no descriptor left, `times` times."""

    def __init__(self, listening: socket.socket, times: int) -> None:
        self._listening = listening
        self._times = times

    def fileno(self) -> int:
        return self._listening.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if self._times:
            self._times -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return self._listening.accept()

    def close(self) -> None:
        self._listening.close()


@on_loop
async def test_without_descriptors_it_tries_again_a_little_later(monkeypatch, caplog):
    monkeypatch.setattr(door_module, "_NO_ROOM_SECONDS", 0.001)
    porter = Porter()
    (listening,) = open_sockets("127.0.0.1", 0)
    port = listening.getsockname()[1]
    door = Door([Full(listening, 2)], porter.give)  # type: ignore[list-item]
    door.open()
    writers = await connect(port, 3)
    await porter.until(3)
    door.close()
    for each in (*writers, *porter.given):
        each.close()
    assert caplog.text.count("no connection can be accepted") == 2


def test_a_socket_goes_through_another():
    through, other = socket.socketpair()
    given, client = socket.socketpair()
    through.setblocking(False)
    assert hand_over(given, through)
    given.close()
    _, (number,), _, _ = socket.recv_fds(other, 1, 1)
    with socket.socket(fileno=number) as taken:
        taken.sendall(b"hello")
        assert client.recv(5) == b"hello"
        handed = 0
        while hand_over(client, through):  # nobody takes them
            handed += 1
        assert handed > 50
        other.close()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            hand_over(client, through)
    client.close()
    through.close()
