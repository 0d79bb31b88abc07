"""Unary calls that come together: what each is told, whatever the others are like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runner.errors import CallError, MethodNotFound, Overloaded, Unauthenticated
from runner.execution.times import Times
from runner.limits import CallerLimits
from runner.server.rpcs import CallInfo, RpcFailed
from runner.signature.dialect import Dialect
from runner.wire import run
from runner.wire.payload import LongReply, Payload
from runner.wire.statistics import TIMES_KEY
from runner.workers.messages import Call, Cancel, Results
from tests.running import on_loop, turns
from tests.server.desk import CLARIFAI, NATIVE, Desk, Reply, desk, output, request, text_of

RPC = "PostModelOutputs"


class Caller:
    """A unary call as a transport has it."""

    def __init__(self, message: bytes, info: CallInfo | None = None) -> None:
        self.request: Payload = message
        self.info = info or CallInfo()
        self.stop: Callable[[], None] | None = None
        self.replies: list[Payload | LongReply | CallError | RpcFailed] = []

    def told(self, reply: Payload | LongReply | CallError | RpcFailed) -> None:
        self.replies.append(reply)

    @property
    def reply(self) -> Reply:
        (reply,) = self.replies
        assert isinstance(reply, bytes)
        return Reply(reply)

    @property
    def left_alone(self) -> bool:
        """It has to be answered by a coroutine."""
        return self.stop is None and not self.replies


def begin(under_test: Desk, *callers: Caller, dialect: Dialect = CLARIFAI, rpc: str = RPC) -> None:
    under_test.service.begin_unary(dialect, rpc, callers)


@on_loop
async def test_each_is_answered_with_its_own_output():
    async with desk(max_coroutines=8) as under_test:
        callers = [Caller(request("predict", text)) for text in ("one", "two")]
        begin(under_test, *callers)
        assert all(caller.stop is not None for caller in callers)
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.answer(call, output(text_of(call)))
        await turns()
        assert [caller.reply.texts for caller in callers] == [["one"], ["two"]]
        under_test.scripted.idle()


@on_loop
async def test_what_needs_a_coroutine_is_left_alone_and_nothing_else():
    async with desk() as under_test:
        well = Caller(request("predict", "x"))
        for odd in (b"\xff", request(None), request("_GET_SIGNATURES", "x"), bytes(2 << 20)):
            broken = Caller(odd)
            begin(under_test, broken, well)
            assert broken.left_alone
        assert well.stop is not None
        begin(under_test, other := Caller(request("predict", "x")), rpc="GetModel")
        assert other.left_alone


@on_loop
async def test_one_of_an_unknown_method_is_told_so_and_the_next_is_not():
    async with desk() as under_test:
        callers = [Caller(request(name, "x")) for name in ("predict", "nothing", "predict")]
        begin(under_test, *callers, dialect=NATIVE)
        (refused,) = callers[1].replies
        assert isinstance(refused, MethodNotFound)
        calls = await under_test.worker.hears(Call, 2)
        for call in calls:
            under_test.worker.answer(call, output("y"))
        await turns()
        assert callers[0].reply.texts == callers[2].reply.texts == ["y"]


@on_loop
async def test_a_list_goes_its_way_among_them():
    async with desk() as under_test:
        single, several = Caller(request("predict", "x")), Caller(request("predict", "a", "b"))
        begin(under_test, several, single)
        for number in range(3):
            call = (await under_test.worker.hears(Call, number + 1))[number]
            under_test.worker.answer(call, output(text_of(call)))
        await turns()
        assert (several.reply.texts, single.reply.texts) == (["a", "b"], ["x"])


@on_loop
async def test_those_for_whom_there_is_no_room_wait_or_are_refused():
    async with desk(max_queued_calls=1) as under_test:  # and two run at once
        callers = [Caller(request("predict", str(number))) for number in range(5)]
        begin(under_test, *callers, dialect=NATIVE)
        assert [len(caller.replies) for caller in callers] == [0, 0, 0, 1, 1]
        assert all(isinstance(caller.replies[0], Overloaded) for caller in callers[3:])
        for number in range(3):
            call = (await under_test.worker.hears(Call, number + 1))[number]
            under_test.worker.answer(call, output(text_of(call)))
        assert [caller.reply.texts for caller in callers[:3]] == [["0"], ["1"], ["2"]]
        under_test.scripted.idle()


@on_loop
async def test_bounds_of_a_caller_hold_for_each_of_its_calls():
    async with desk(callers=CallerLimits(max_calls=2)) as under_test:
        callers = [Caller(request("predict", "x")) for _ in range(3)]
        begin(under_test, *callers, dialect=NATIVE)
        assert [len(caller.replies) for caller in callers] == [0, 0, 1]
        assert isinstance(callers[2].replies[0], Overloaded)


@on_loop
async def test_each_brings_its_own_key_and_deadline():
    async with desk(keys=["secret"]) as under_test:
        now = under_test.engine.clock()
        with_key = (("authorization", "Key secret"),)
        callers = [
            Caller(request("predict", "a"), CallInfo(metadata=with_key)),
            Caller(request("predict", "b"), CallInfo(metadata=(("authorization", "Key wrong"),))),
            Caller(request("predict", "c"), CallInfo(now - 1, with_key)),
            Caller(request("predict", "d"), CallInfo(now + 60, with_key)),
        ]
        begin(under_test, *callers, dialect=NATIVE)
        assert callers[1].left_alone  # and refused there
        with_error = await asyncio.gather(
            under_test.service.unary(NATIVE, RPC, bytes(callers[1].request), callers[1].info), return_exceptions=True
        )
        assert isinstance(with_error[0], Unauthenticated)
        (late,) = callers[2].replies
        assert isinstance(late, CallError)
        assert "deadline" in late.message
        first, last = await under_test.worker.hears(Call, 2)
        assert (text_of(first), first.time_left) == ("a", None)
        assert text_of(last) == "d"
        assert last.time_left is not None
        assert 50 < last.time_left < 60


@on_loop
async def test_one_that_stops_is_told_nothing_and_the_others_go_on():
    async with desk() as under_test:
        callers = [Caller(request("embed", str(number))) for number in range(3)]
        begin(under_test, *callers)
        calls = await under_test.worker.hears(Call, 3)
        stop = callers[1].stop
        assert stop is not None
        stop()
        (cancel,) = await under_test.worker.hears(Cancel)
        assert cancel.id == calls[1].id
        outputs = b"".join(run.pieces(run.OUTPUT_TAG, [output(str(number)) for number in range(3)]))
        under_test.worker.say(Results(calls[0].id, 3, outputs, (Times(),)))
        await turns()
        assert callers[1].replies == []
        assert (callers[0].reply.texts, callers[2].reply.texts) == (["0"], ["2"])
        under_test.scripted.idle()


@on_loop
async def test_times_are_told_to_those_who_can_hear_them():
    async with desk() as under_test:
        trailers: list[tuple[str, str]] = []
        callers = [Caller(request("predict", "x"), CallInfo(trailers=trailers)), Caller(request("predict", "y"))]
        begin(under_test, *callers, dialect=NATIVE)
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.answer(call, output("z"))
        await turns()
        assert [name for name, _ in trailers] == [TIMES_KEY]
        assert callers[0].reply.texts == callers[1].reply.texts == ["z"]
