"""Unary calls that one piece of a socket brings are begun together, when all of it has been read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from runner.http2.frames import HEADERS, PING, RST_STREAM
from runner.server.native import gathering
from runner.server.native.calls import Calls
from runner.server.rpcs import CallInfo, UnaryRpc
from runner.server.status import rpc_status
from tests.http2.peer import Frame, word
from tests.running import on_loop, turns
from tests.server.native.serving import Client, Served, served


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Served, Client]]:
    """Serve, and connect to it. No call is to be left."""
    async with served() as server:
        client = await Client.connect(server.port)
        yield server, client
        assert server.transport.calls.active == 0
        client.close()


async def answers(client: Client) -> dict[int, bytes]:
    """Return the status of each call that has ended by now."""
    statuses: dict[int, bytes] = {}
    for _ in range(2):  # a read's own PING is answered before its calls are
        client.write(Frame(PING, 0, 0, bytes(8)))
        while (each := await client.next(HEADERS, PING)) is not None and each.kind != PING:
            status = client.fields(each).get(b"grpc-status")
            if status is not None:
                statuses[each.stream] = status
    return statuses


@on_loop
async def test_all_that_one_read_brings():
    async with connected() as (server, client):
        for stream in (1, 3, 5):
            client.ask(stream, b"/t/Begun", b"%d" % stream)
        assert await answers(client) == {1: b"0", 3: b"0", 5: b"0"}
        assert server.rpcs.begun == [[b"1", b"3", b"5"]]


@on_loop
async def test_what_needs_a_coroutine_has_one_and_what_is_wrong_fails_alone():
    async with connected() as (_server, client):
        for stream, message in enumerate((b"cannot", b"fail", b"well")):
            client.ask(2 * stream + 1, b"/t/Begun", message)
        statuses = await answers(client)
        while len(statuses) < 3:  # the coroutine
            statuses |= await answers(client)
        assert statuses == {1: b"0", 3: b"3", 5: b"0"}


@on_loop
async def test_calls_of_several_rpcs_keep_their_order():
    async with connected() as (server, client):
        for stream, path in ((1, b"/t/Begun"), (3, b"/t/AlsoBegun"), (5, b"/t/AlsoBegun"), (7, b"/t/Begun")):
            client.ask(stream, path, b"%d" % stream)
        await answers(client)
        assert server.rpcs.begun == [[b"1"], [b"3", b"5"], [b"7"]]


@on_loop
async def test_one_that_left_before_all_was_read_is_not_begun():
    async with connected() as (server, client):
        client.ask(1, b"/t/Begun", b"left")
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        client.ask(3, b"/t/Begun", b"stays")
        assert await answers(client) == {3: b"0"}
        assert server.rpcs.begun == [[b"stays"]]


@on_loop
async def test_one_that_leaves_later_is_stopped_and_no_other():
    async with connected() as (server, client):
        client.ask(1, b"/t/Begun", b"later")
        client.ask(3, b"/t/Begun", b"later")
        assert await answers(client) == {}
        client.write(Frame(RST_STREAM, 0, 1, word(8)))
        assert await answers(client) == {}
        assert server.rpcs.cancelled == ["begun"]
        server.rpcs.tell(b"well")
        assert await answers(client) == {3: b"0"}


@on_loop
async def test_a_bug_is_told_to_all_that_were_begun_with_it_and_to_nobody_else():
    async with connected() as (_server, client):
        client.ask(1, b"/t/Begun", b"bug")
        client.ask(3, b"/t/Begun", b"well")
        client.ask(5, b"/t/AlsoBegun", b"well")
        assert await answers(client) == {1: b"13", 3: b"13", 5: b"0"}


class Come:
    """A call as `Gathering` has it."""

    def __init__(self) -> None:
        self.waits = True
        self.meaning = SimpleNamespace(timeout=None, metadata=(), request_id="")
        self.deadline = self.trailers = None
        self.peer = ""
        self.info: CallInfo | None = None

    def begun(self, rpc: UnaryRpc) -> None: ...


@on_loop
async def test_connections_that_have_something_in_one_turn_have_it_begun_together():
    begun: list[list[Any]] = []
    rpc = UnaryRpc(cast(Any, None), lambda calls: begun.append(list(calls)))
    under_test = gathering.Gathering(Calls({}, max_message_bytes=100, status_of=rpc_status).info)

    def read(reader: object, now: float) -> Any:
        call: Any = Come()
        under_test.add(rpc, call)
        under_test.has_read(reader, now)
        return call

    one, two, three = (read(reader, 1.0) for reader in ("a", "b", "c"))
    assert begun == [[one]]  # nobody knew of the others
    await turns()
    assert begun.pop(0) == [one]
    assert begun.pop(0) == [two, three]
    calls = [read(reader, 2.0) for reader in ("b", "a")]
    assert not begun  # as there were several in the turn before
    await turns()
    assert begun.pop() == calls
    late = read("a", 3.0)
    assert not begun
    await turns()
    assert begun.pop() == [late]
    for _ in range(2):  # one connection waits for no other
        call = read("a", 4.0)
        assert begun.pop() == [call]
    assert len(one.info) == len(CallInfo._fields)


@on_loop
async def test_no_more_than_so_many_are_begun_at_once(monkeypatch):
    monkeypatch.setattr(gathering, "MAX_GATHERED", 2)
    async with connected() as (server, client):
        for stream in (1, 3, 5):
            client.ask(stream, b"/t/Begun", b"%d" % stream)
        assert await answers(client) == {1: b"0", 3: b"0", 5: b"0"}
        assert server.rpcs.begun == [[b"1", b"3"], [b"5"]]
