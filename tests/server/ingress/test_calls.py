"""Calls that go from an ingress process to the main process, over a real link in this process."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import ErrorKind, InvalidInput
from runner.server.ingress import answers
from runner.server.ingress.messages import WINDOW, WINDOW_BYTES, Call, Cancel, Credit, EndInput, Failed, Item
from runner.server.rpcs import Arrival, CallInfo, RpcFailed, UnaryRpc
from runner.wire.payload import LongReply
from runner.wire.pb import inference_pb2 as pb
from tests.running import on_loop, one_by_one, turns
from tests.server.ingress.hop import Hop, hop
from tests.server.native.serving import Rpcs

INFO = CallInfo(deadline=12.5, metadata=(("x-a", "1"), ("x-b-bin", b"\0\n")), request_id="an id", peer="10.0.0.7")


async def answer(under_test: Hop, path: str, request: bytes, info: CallInfo = INFO) -> bytes:
    rpc = under_test.remote.rpcs[path]
    assert isinstance(rpc, UnaryRpc)
    return await rpc.answer(request, info)


def begin(under_test: Hop, path: str, request: bytes) -> tuple[Callable[[], None], asyncio.Future[Any]]:
    """Begin a unary call; return how to cancel it, and its reply."""
    told = asyncio.get_running_loop().create_future()
    rpc: Any = under_test.remote.rpcs[path]
    arrival: Any = SimpleNamespace(request=request, info=INFO, stop=None, told=told.set_result)
    rpc.begin([arrival])
    return arrival.stop, told


def replies(under_test: Hop, path: str, *request: Any, info: CallInfo = INFO) -> Any:
    rpc: Any = under_test.remote.rpcs[path]
    return aclosing(one_by_one(rpc.answer(*request, info)))


async def every(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


@on_loop
async def test_a_call_arrives_with_all_that_was_known_of_it():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        assert await answer(under_test, "/t/Echo", b"hello") == b"hello"
        (info,) = rpcs.infos
        assert info == INFO._replace(trailers=[])
        assert under_test.main.answered


@on_loop
async def test_trailers_come_back():
    async def unary(request: bytes, call: CallInfo) -> bytes:
        assert call.trailers is not None
        call.trailers.append(("x-times", "1;2"))
        if request:
            raise InvalidInput("wrong")
        return b"reply"

    async with hop({"/t/Times": UnaryRpc(unary, times=True)}) as under_test:
        trailers: list[tuple[str, str]] = []
        assert await answer(under_test, "/t/Times", b"", INFO._replace(trailers=trailers)) == b"reply"
        assert trailers == [("x-times", "1;2")]
        trailers = []
        with pytest.raises(RpcFailed, match="wrong"):
            await answer(under_test, "/t/Times", b"wrong", INFO._replace(trailers=trailers))
        assert trailers == [("x-times", "1;2")]


@pytest.mark.parametrize("shared_bytes", [0, 8 << 20])
@on_loop
async def test_long_requests_and_replies(shared_bytes):
    rpcs = Rpcs()
    async with hop(rpcs.table(), shared_bytes=shared_bytes) as under_test:
        for size in (20_000, 150_000, 700_000, 5_000_000):
            payload = bytes(range(250)) * (size // 250)
            _, told = begin(under_test, "/t/Begun", payload)
            reply = await told
            assert isinstance(reply, LongReply)  # in the pieces in which it was answered
            assert (reply.head, bytes(reply.output)) == (payload[:20], payload[20:])
            assert await answer(under_test, "/t/Echo", payload) == payload
        del reply, told
        if shared_bytes:
            assert under_test.ours is not None
            assert under_test.ours.reader.lent == 0


@on_loop
async def test_errors_become_statuses_with_their_details():
    async with hop(Rpcs().table()) as under_test:
        with pytest.raises(RpcFailed) as failed:
            await answer(under_test, "/t/Fail", b"call")
        assert (failed.value.code, failed.value.message) == (3, "the input is wrong")
        detail = pb.ErrorDetail()
        pb.RpcStatus.FromString(failed.value.details).details[0].Unpack(detail)
        assert detail.kind == ErrorKind.INVALID_INPUT.value
        with pytest.raises(RpcFailed) as failed:
            await answer(under_test, "/t/Fail", b"rpc")
        assert (failed.value.code, failed.value.message) == (5, "there is no such thing: é")
        _, told = begin(under_test, "/t/Begun", b"fail")
        assert isinstance(await told, RpcFailed)
        _, told = begin(under_test, "/t/Begun", b"cannot")
        assert await told == b"by a coroutine"


@on_loop
async def test_a_bug_is_one_calls_only(caplog):
    async with hop(Rpcs().table()) as under_test:
        for path in ("/t/Fail", "/t/Begun"):
            with pytest.raises(RpcFailed, match="internal error") as failed:
                await answer(under_test, path, b"bug")
            assert failed.value.code == 13
        assert await answer(under_test, "/t/Echo", b"still here") == b"still here"
    assert [each.exc_info[0] for each in caplog.records] == [ZeroDivisionError] * 2


@on_loop
async def test_who_leaves_cancels_the_call_and_hears_nothing_more():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        cancel, told = begin(under_test, "/t/Begun", b"later")
        await rpcs.started.wait()
        cancel()
        await rpcs.stopped.wait()
        rpcs.tell(b"too late")
        assert rpcs.cancelled == ["begun"]
        rpcs.started.clear()
        rpcs.stopped.clear()
        cancel, _ = begin(under_test, "/t/Wait", b"")
        await rpcs.started.wait()
        cancel()
        cancel()
        await rpcs.stopped.wait()
        assert rpcs.cancelled == ["begun", "wait"]
        assert await answer(under_test, "/t/Echo", b"x") == b"x"
        assert not told.done()
        assert [type(each) for each in under_test.sent].count(Cancel) == 2


@on_loop
async def test_a_task_that_asks_and_is_cancelled():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        asking = asyncio.ensure_future(answer(under_test, "/t/Wait", b""))
        await rpcs.started.wait()
        asking.cancel()
        await rpcs.stopped.wait()
        assert rpcs.cancelled == ["wait"]


@on_loop
async def test_a_cancel_does_not_overtake_its_call():
    rpcs = Rpcs()
    sizes: list[int] = []

    def later(arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            sizes.append(len(arrival.request))
            arrival.stop = rpcs.cancel

    async with hop({"/t/Later": UnaryRpc(rpcs.echo, later)}) as under_test:
        cancel, _ = begin(under_test, "/t/Later", bytes(10_000_000))
        cancel()
        await rpcs.stopped.wait()
        assert (sizes, rpcs.cancelled) == ([10_000_000], ["begun"])


@on_loop
async def test_server_streams():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        async with replies(under_test, "/t/Repeat", b"500") as stream:
            assert [reply async for reply in stream] == [b"%d" % number for number in range(500)]
        async with replies(under_test, "/t/Repeat", b"0") as stream:
            assert [reply async for reply in stream] == []
        assert rpcs.infos[0] == INFO
        # The last of it may be told of after the end: a credit for a call that is over does no harm.
        assert [type(each) for each in under_test.sent].count(Credit) >= 500 // WINDOW


@on_loop
async def test_a_reader_that_stops_stops_the_generator_and_who_leaves_closes_it():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        async with replies(under_test, "/t/Forever", b"") as stream:
            for _ in range(3):
                await anext(stream)
            most = WINDOW_BYTES // 10_000 + 1  # what was read so far is told of with what comes to half a window
            while rpcs.sent < most:
                await turns()
            for _ in range(20):
                assert await answer(under_test, "/t/Echo", b"") == b""
            assert rpcs.sent == most
            assert not rpcs.cancelled
        await rpcs.stopped.wait()
        assert rpcs.cancelled == ["forever"]


@on_loop
async def test_bidi_calls_answer_as_they_are_asked():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        async with replies(under_test, "/t/Chat", every(b"a", b"b", bytes(100_000))) as stream:
            assert [bytes(reply) async for reply in stream] == [b"a", b"b", bytes(100_000), b"end"]
        async with replies(under_test, "/t/Chat", every(b"a", b"fail")) as stream:
            assert await anext(stream) == b"a"
            with pytest.raises(RpcFailed, match="no more"):
                await anext(stream)
        many = [b"%d" % number for number in range(200)]
        async with replies(under_test, "/t/Chat", every(*many)) as stream:
            assert [reply async for reply in stream] == [*many, b"end"]


class Source:
    """Requests without an end, which counts those that were taken."""

    def __init__(self, first: bytes, size: int) -> None:
        self.taken = 0
        self._first = first
        self._size = size

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        self.taken += 1
        return self._first if self.taken == 1 else bytes(self._size)


@on_loop
async def test_a_method_that_takes_nothing_stops_the_sender():
    rpcs = Rpcs()
    for size, most in ((10, WINDOW), (50_000, 1 + WINDOW_BYTES // 50_000 + 1)):
        rpcs.release.clear()
        async with hop(rpcs.table()) as under_test:
            source = Source(b"hold", size)
            async with replies(under_test, "/t/Chat", source) as stream:
                while source.taken < most:
                    await turns()
                for _ in range(20):
                    assert await answer(under_test, "/t/Echo", b"") == b""
                assert source.taken == most
                rpcs.release.set()
                for _ in range(2 * most):
                    await anext(stream)
                assert source.taken > most


@on_loop
async def test_a_method_may_end_before_its_input_does():
    async with hop(Rpcs().table()) as under_test:
        source = Source(b"stop", 10)
        async with replies(under_test, "/t/Chat", source) as stream:
            assert [reply async for reply in stream] == []
        taken = source.taken
        for _ in range(5):
            assert await answer(under_test, "/t/Echo", b"") == b""
        assert source.taken == taken


@on_loop
async def test_an_input_that_breaks_is_told_to_the_reader():
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("broken")

    async with hop(Rpcs().table()) as under_test, replies(under_test, "/t/Chat", broken()) as stream:
        with pytest.raises(LookupError, match="broken"):
            async for _ in stream:
                pass


@on_loop
async def test_client_streams():
    async with hop(Rpcs().table()) as under_test:
        rpc: Any = under_test.remote.rpcs["/t/Collect"]
        assert await rpc.answer(every(b"a", b"b", b"c"), INFO) == b"a+b+c"
        collecting: Awaitable[bytes] = rpc.answer(Source(b"a", 10), INFO)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await collecting
        assert await answer(under_test, "/t/Echo", b"x") == b"x"


@on_loop
async def test_a_process_that_dies_takes_its_calls_along():
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        begin(under_test, "/t/Wait", b"")
        await rpcs.started.wait()
        under_test.cut()
        await under_test.main._closed
        await under_test.main.stop()
        assert rpcs.cancelled == ["wait"]


@on_loop
async def test_the_memory_of_a_process_that_dies_goes_with_its_last_payload():
    rpcs = Rpcs()
    gc.disable()
    try:
        async with hop(rpcs.table(), shared_bytes=1 << 20) as under_test:
            begin(under_test, "/t/Begun", b"later")
            await rpcs.started.wait()
            assert under_test.ours is not None
            memory = [weakref.ref(each) for each in under_test.ours]
            under_test.ours = None
            under_test.cut()
            await under_test.main._closed
            assert [each() for each in memory] == [None, None]
    finally:
        gc.enable()


NONSENSE = {
    "no such rpc": Call(1, b"/t/Nothing\npeer\n", None, "", b""),
    "no head": Call(1, b"/t/Echo", None, "", b""),
    "not for the main process": Failed(1, 1, "", b""),
}


@pytest.mark.parametrize("name", NONSENSE)
@on_loop
async def test_nonsense_ends_the_link(name):
    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context["exception"]))
    async with hop(Rpcs().table()) as under_test:
        under_test._link.send(NONSENSE[name])
        await under_test.closed.wait()
    assert [type(each) for each in lost] == [ValueError]


@on_loop
async def test_what_is_said_of_calls_that_are_over_is_ignored():
    async with hop(Rpcs().table()) as under_test:
        for message in (Item(99, b""), EndInput(99), Cancel(99), Credit(99, 1, 1)):
            under_test._link.send(message)
        for message in (Item(99, b""), Failed(99, 1, "", b""), Credit(99, 1, 1)):
            under_test.near.send(message)
        assert await answer(under_test, "/t/Echo", b"x") == b"x"


@on_loop
async def test_heads_are_read_once_and_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(answers, "KEPT", 3)
    rpcs = Rpcs()
    async with hop(rpcs.table()) as under_test:
        known = under_test.main._answers._known
        for _ in range(3):
            await answer(under_test, "/t/Echo", b"")
        assert len(known) == 1
        assert rpcs.infos[0].metadata is rpcs.infos[1].metadata
        for number in range(10):
            await answer(under_test, "/t/Echo", b"", INFO._replace(metadata=(("x-a", str(number)),)))
            assert len(known) <= 3
        before = len(known)
        await answer(under_test, "/t/Echo", b"", INFO._replace(metadata=(("x-a", "b" * 5000),)))
        assert len(known) == before
