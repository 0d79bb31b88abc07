"""Calls of one turn for one replica go in one message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runner.dispatch.dispatcher import CallId
from runner.engine.calls import EngineCall, Outcome, ToldCall
from runner.engine.together import Together
from runner.errors import Cancelled, DeadlineExceeded, ModelError
from runner.wire import run
from runner.wire.payload import VIEW_FROM, Payload
from runner.workers.messages import Call, Calls, Cancel, Message, Results
from tests.engine.scripted import COLLECT, EMBED, GENERATE, PREDICT, request, scripted
from tests.running import on_loop, turns

NOW = 100.0


class Sent:
    """A link that notes what is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def join(self, pieces: Sequence[Payload]) -> Payload:
        return b"".join(pieces)

    def close(self) -> None: ...


class Bench:
    """What gathers calls, and the numbers that a replica would give them."""

    def __init__(self) -> None:
        self.sent = Sent()
        self.under_test = Together(self.sent)
        self.last = 0

    def take(self, method: int = EMBED, payload: bytes = b"x", now: float = NOW, **fields: object) -> bool:
        """Send a call; return False if it was sent by itself."""
        call: EngineCall = ToldCall(CallId(1), request(method, payload, **fields), 0.0, lambda outcome: None)
        self.last += 1
        call.wire_id = self.last
        self.under_test.send([call], method, now, wait=True)
        return not any(isinstance(sent, Call) and sent.id == call.wire_id for sent in self.sent.messages)


@on_loop
async def test_calls_of_a_turn_leave_at_its_end():
    bench = Bench()
    assert bench.take(payload=b"one", deadline=NOW + 2, request_id="r1")
    assert bench.take(payload=b"two", request_id="r2")
    assert not bench.sent.messages
    await turns()
    payload = b"".join(run.pieces(run.INPUT_TAG, [b"one", b"two"]))
    assert bench.sent.messages == [Calls(1, EMBED, payload, (2.0, None), ("r1", "r2"), (b"",))]
    assert bench.take(payload=b"three", deadline=NOW + 2, request_id="r3")
    await turns()
    assert bench.sent.messages[1:] == [Call(3, EMBED, b"three", b"", 2.0, "r3", b"")]


@on_loop
async def test_numbers_follow_each_other():
    bench = Bench()
    assert bench.take()
    assert bench.take()
    assert not bench.take(GENERATE)  # which is sent by itself now, and after these
    assert [type(message) for message in bench.sent.messages] == [Calls, Call]
    bench.last += 1
    assert bench.take()
    assert bench.take(PREDICT)  # of another method
    await turns()
    assert [message.id for message in bench.sent.messages] == [1, 3, 5, 6]


@on_loop
async def test_each_brings_its_metadata():
    bench = Bench()
    for metadata in (b"one", b"", b"one"):
        assert bench.take(PREDICT, metadata=metadata)
    await turns()
    for _ in range(3):
        assert bench.take(PREDICT, metadata=b"one")
    await turns()
    assert [message.metadata for message in bench.sent.messages] == [(b"one", b"", b"one"), (b"one",)]


@pytest.mark.parametrize(
    "fields",
    [{"payload": bytes(VIEW_FROM)}, {"params": b"p"}, {"inputs": 2}, {"method": GENERATE}, {"method": COLLECT}],
    ids=["long", "old style", "a list", "a stream of outputs", "a stream of inputs"],
)
@on_loop
async def test_what_goes_by_itself(fields):
    bench = Bench()
    assert not bench.take(**fields)
    assert [type(message) for message in bench.sent.messages] == [Call]
    await turns()
    assert len(bench.sent.messages) == 1


@on_loop
async def test_a_message_has_its_bounds():
    bench = Bench()
    for _ in range(70):
        assert bench.take()
    await turns()
    assert [len(message.request_ids) for message in bench.sent.messages] == [64, 6]
    bench.sent.messages.clear()
    for _ in range(10):
        assert bench.take(payload=bytes(VIEW_FROM - 1))
    await turns()
    assert [len(message.request_ids) for message in bench.sent.messages] == [8, 2]
    bench.sent.messages.clear()
    for number in range(10):
        assert bench.take(metadata=bytes([number]) * (VIEW_FROM - 1))
    await turns()
    assert [len(message.request_ids) for message in bench.sent.messages] == [8, 2]


@on_loop
async def test_nothing_is_sent_to_a_replica_that_is_gone():
    bench = Bench()
    bench.take()
    bench.under_test.close()
    await turns()
    assert not bench.sent.messages


# Through the engine.


@on_loop
async def test_one_message_answers_all():
    async with scripted(max_queued_calls=100) as under_test:
        worker = under_test.workers[0]
        tasks = [asyncio.ensure_future(under_test.engine.outcome(request(EMBED, b"%d" % n))) for n in range(3)]
        await turns()
        assert [call.id for call in worker.calls] == [1, 2, 3]
        worker.say(Results(1, 3, b"".join(run.pieces(run.OUTPUT_TAG, [b"a", b"b", b"c"]))))
        outcomes: list[Outcome] = await asyncio.gather(*tasks)
        assert [bytes(outcome.payload) for outcome in outcomes] == [b"a", b"b", b"c"]
        assert under_test.engine.statistics().methods[0].ended == 3
        under_test.idle()


@on_loop
async def test_each_is_cancelled_and_fails_for_itself():
    async with scripted(max_queued_calls=100) as under_test:
        worker = under_test.workers[0]
        tasks = [asyncio.ensure_future(under_test.engine.outcome(request(EMBED, b"%d" % n))) for n in range(3)]
        await turns()
        tasks[1].cancel()
        await turns()
        assert [message.id for message in worker.of(Cancel)] == [2]
        worker.fail(worker.calls[1], Cancelled("stopped"))
        worker.fail(worker.calls[0], ModelError("ValueError: no"))
        worker.answer(worker.calls[2], b"two")
        assert isinstance((await tasks[0]).end, ModelError)
        assert (await tasks[2]).payload == b"two"
        under_test.idle()


@on_loop
async def test_one_that_leaves_in_the_turn_in_which_it_came_is_told_to_stop():
    async with scripted(max_queued_calls=100) as under_test:
        worker = under_test.workers[0]
        calls = [under_test.engine.begin_unary(request(EMBED, b"%d" % n), lambda outcome: None) for n in range(2)]
        under_test.engine.abandon(calls[0])
        await turns()
        assert [message.id for message in worker.of(Cancel)] == [1]
        assert [call.id for call in worker.calls] == [1, 2]
        worker.answer_each(worker.calls)
        under_test.idle()


@on_loop
async def test_what_was_not_sent_when_the_worker_died_runs_elsewhere():
    async with scripted(replicas=2, max_queued_calls=100) as under_test:
        one, other = under_test.workers
        tasks = [asyncio.ensure_future(under_test.engine.outcome(request(EMBED, b"%d" % n))) for n in range(4)]
        one.die("killed by SIGKILL")
        await other.hears(Call, 4)
        for call in other.calls:
            other.answer(call, bytes(call.payload))
        assert sorted(bytes(outcome.payload) for outcome in await asyncio.gather(*tasks)) == [b"0", b"1", b"2", b"3"]
        under_test.idle()


@on_loop
async def test_a_deadline_is_its_own_calls():
    async with scripted(max_queued_calls=100) as under_test:
        worker = under_test.workers[0]
        soon = under_test.engine.clock() + 0.02
        late = asyncio.ensure_future(under_test.engine.outcome(request(EMBED, b"late", deadline=soon)))
        other = asyncio.ensure_future(under_test.engine.outcome(request(EMBED, b"other")))
        assert isinstance((await late).end, DeadlineExceeded)
        assert [message.id for message in worker.of(Cancel)] == [1]
        worker.answer(worker.calls[1], b"fine")
        assert (await other).payload == b"fine"
        worker.fail(worker.calls[0], Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_the_first_one_waits_for_nobody():
    async with scripted(max_queued_calls=100) as under_test:
        worker = under_test.workers[0]
        for number in range(3):
            under_test.engine.begin_unary(request(EMBED, b"%d" % number), lambda outcome: None)
        assert [call.id for call in worker.calls] == [1]
        await turns()
        assert [call.id for call in worker.calls] == [1, 2, 3]
        worker.answer_each(worker.calls)
        under_test.idle()
