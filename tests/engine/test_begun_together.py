"""Calls that are begun together: each is admitted, runs and ends as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runner.engine import Request
from runner.engine.calls import NOT_YET, Outcome, ToldCall, UnaryCall
from runner.errors import Cancelled, DeadlineExceeded, Draining, MethodNotFound, Overloaded
from runner.execution.times import Times
from runner.wire import run
from runner.workers.messages import Call, Cancel, Results
from tests.engine.scripted import EMBED, METHODS, PREDICT, STREAM, Scripted, request, scripted
from tests.running import on_loop, turns


class Begun:
    """Calls, and what each was told."""

    def __init__(self, under_test: Scripted, requests: Sequence[Request]) -> None:
        self.told: list[list[Outcome]] = [[] for _ in requests]
        self.calls: list[UnaryCall] = [
            ToldCall(NOT_YET, each, 0.0, into.append) for each, into in zip(requests, self.told, strict=True)
        ]
        under_test.engine.begin_all(self.calls)

    @property
    def ends(self) -> list[object]:
        """How each ended: its output, its error's class, or None."""
        return [
            None if not told else told[0].end if isinstance(told[0].end, bytes) else type(told[0].end)
            for told in self.told
        ]


def answer_all(under_test: Scripted, calls: Sequence[Call], outputs: Sequence[bytes]) -> None:
    together = b"".join(run.pieces(run.OUTPUT_TAG, outputs))
    under_test.workers[0].say(Results(calls[0].id, len(outputs), together, (Times(),)))


@on_loop
async def test_as_many_run_as_there_is_room_for_and_the_rest_wait_or_are_refused():
    async with scripted(max_queued_calls=2) as under_test:  # two threads
        begun = Begun(under_test, [request(PREDICT, b"%d" % number) for number in range(6)])
        assert begun.ends == [None, None, None, None, Overloaded, Overloaded]
        for number in range(4):
            call = (await under_test.workers[0].hears(Call, number + 1))[number]
            under_test.workers[0].answer(call, call.payload)
        assert begun.ends == [b"0", b"1", b"2", b"3", Overloaded, Overloaded]
        assert all(len(told) == 1 for told in begun.told)
        under_test.idle()


@on_loop
async def test_those_of_an_idle_replica_leave_at_once_and_have_numbers_that_follow_each_other():
    async with scripted() as under_test:
        Begun(under_test, [request(EMBED, b"%d" % number) for number in range(3)])
        heard = under_test.workers[0].calls  # in this very turn
        assert [(call.id, call.payload) for call in heard] == [(1, b"0"), (2, b"1"), (3, b"2")]
        answer_all(under_test, heard, [b"a", b"b", b"c"])
        under_test.idle()


@on_loop
async def test_methods_callers_and_deadlines_are_told_apart():
    async with scripted() as under_test:
        now = under_test.engine.clock()
        mixed = [
            request(PREDICT, b"0", caller="a"),
            request(PREDICT, b"1", caller="b"),
            request(EMBED, b"2", caller="b"),
            request(EMBED, b"3", caller="b", deadline=now - 1),
            request(EMBED, b"4", caller="b", deadline=now + 60),
        ]
        begun = Begun(under_test, mixed)
        await turns()
        calls = under_test.workers[0].calls
        assert [(call.method, call.payload) for call in calls] == [
            (PREDICT, b"0"),
            (PREDICT, b"1"),
            (EMBED, b"2"),
            (EMBED, b"4"),
        ]
        assert begun.ends[3] is DeadlineExceeded
        for call in calls:
            under_test.workers[0].answer(call, call.payload)
        assert begun.ends == [b"0", b"1", b"2", DeadlineExceeded, b"4"]


@on_loop
async def test_each_deadline_is_watched():
    async with scripted() as under_test:
        soon = under_test.engine.clock() + 0.02
        begun = Begun(under_test, [request(EMBED, b"0", deadline=soon), request(EMBED, b"1")])
        calls = await under_test.workers[0].hears(Call, 2)
        (cancel,) = await under_test.workers[0].hears(Cancel)
        assert cancel.id == calls[0].id
        answer_all(under_test, calls, [b"late", b"well"])
        assert begun.ends == [DeadlineExceeded, b"well"]
        assert under_test.engine.statistics().cancel_latency_seconds.count == 1
        under_test.idle()


@on_loop
async def test_those_of_several_methods_that_end_together_are_counted_by_method():
    async with scripted() as under_test:
        Begun(under_test, [request(method) for method in (PREDICT, EMBED, EMBED)])
        answer_all(under_test, await under_test.workers[0].hears(Call, 3), [b"", b"", b""])
        ended = {method.name: method.ended for method in under_test.engine.statistics().methods}
        assert ended == {"predict": 1, "embed": 2}
        under_test.idle()


@on_loop
async def test_the_replicas_share_them():
    async with scripted(replicas=2) as under_test:
        begun = Begun(under_test, [request(EMBED, b"%d" % number) for number in range(6)])
        await turns()
        assert [[call.payload for call in worker.calls] for worker in under_test.workers] == [
            [b"0", b"1", b"2"],
            [b"3", b"4", b"5"],
        ]
        for worker in under_test.workers:
            for call in worker.calls:
                worker.answer(call, call.payload)
        assert begun.ends == [b"%d" % number for number in range(6)]


@on_loop
async def test_what_the_model_no_longer_has_is_told_to_each():
    async with scripted() as under_test:
        replacing = asyncio.ensure_future(under_test.engine.replace(grace=5))
        (await under_test.worker(2)).ready(METHODS[STREAM:])
        await replacing
        begun = Begun(under_test, [request(PREDICT), request(PREDICT), request(STREAM)])
        assert begun.ends[:2] == [MethodNotFound, MethodNotFound]
        assert under_test.workers[1].calls[0].method == 0


@on_loop
async def test_those_of_a_worker_that_dies_before_it_begins_run_elsewhere():
    async with scripted(replicas=2, prepare=lambda worker: setattr(worker, "begins", False)) as under_test:
        begun = Begun(under_test, [request(PREDICT, b"%d" % number) for number in range(4)])
        await turns()
        under_test.workers[0].die()
        for number in range(4):
            call = (await under_test.workers[1].hears(Call, number + 1))[number]
            under_test.workers[1].answer(call, call.payload)
        assert begun.ends == [b"0", b"1", b"2", b"3"]


@on_loop
async def test_the_end_of_the_engine_ends_them_and_no_more_are_taken():
    async with scripted() as under_test:
        begun = Begun(under_test, [request(PREDICT), request(PREDICT), request(PREDICT)])
    assert begun.ends == [Cancelled, Cancelled, Cancelled]
    assert Begun(under_test, [request(PREDICT)]).ends == [Draining]
