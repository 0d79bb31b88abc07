"""Lists of inputs: a batched method gets them in parts, and each input still has an end of its own."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Sequence

import pytest

from runner.engine.calls import End, Outcome, UnaryCall
from runner.engine.parts import ends_of, in_parts
from runner.errors import CallError, Cancelled, DeadlineExceeded, ModelError, Overloaded, PoisonCall
from runner.wire import run
from runner.workers.messages import Call, Cancel, Mixed
from tests.engine.scripted import EMBED, PREDICT, Scripted, ScriptedWorker, request, scripted
from tests.running import on_loop, turns

Answer = tuple[Sequence[UnaryCall], Sequence[Outcome]]


class Memory(bytearray):
    """Memory of which one can learn that nobody looks at it any more."""


def inputs(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def embed(under_test: Scripted, count: int, **fields: object) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(under_test.engine.unary_list(request(EMBED, **fields), inputs(count)))  # type: ignore[arg-type]


def outputs_of(call: Call) -> bytes:
    """What a worker answers that has put an exclamation mark behind each input."""
    payloads = run.split(call.payload, call.inputs) if call.inputs > 1 else [call.payload]
    outputs = [bytes(payload) + b"!" for payload in payloads]
    return b"".join(run.pieces(run.OUTPUT_TAG, outputs)) if call.inputs > 1 else outputs[0]


def answer(worker: ScriptedWorker, call: Call) -> None:
    worker.answer(call, outputs_of(call))


def ends(answered: Answer) -> list[End]:
    return [
        bytes(end) if not isinstance(end, CallError) else end
        for part, outcome in zip(*answered, strict=True)
        for end in ends_of(part.request, outcome)
    ]


@on_loop
async def test_a_list_is_one_call_and_its_outputs_are_passed_on_as_they_are():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 5)
        (call,) = await under_test.workers[0].hears(Call)
        assert call.inputs == 5
        assert run.split(call.payload, 5) == inputs(5)
        answer(under_test.workers[0], call)
        parts, (outcome,) = await task
        assert outcome.end == outputs_of(call)
        assert ends((parts, [outcome])) == [each + b"!" for each in inputs(5)]
        assert under_test.engine.statistics().methods[0].ended == 5
        under_test.idle()


@on_loop
async def test_what_is_more_than_a_batch_goes_in_several_calls():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 37)
        worker = under_test.workers[0]
        await worker.hears(Call)
        await turns()
        assert [call.inputs for call in worker.calls] == [16, 16]  # which is its room
        answer(worker, worker.calls[1])
        await turns()
        assert [call.inputs for call in worker.calls] == [16, 16, 5]
        answer(worker, worker.calls[2])
        answer(worker, worker.calls[0])
        assert ends(await task) == [each + b"!" for each in inputs(37)]
        under_test.idle()


@on_loop
async def test_replicas_share_a_list():
    async with scripted(replicas=2, max_queued_calls=100) as under_test:
        task = embed(under_test, 20)
        for worker in under_test.workers:
            (call,) = await worker.hears(Call)
            assert call.inputs == 10
            answer(worker, call)
        assert ends(await task) == [each + b"!" for each in inputs(20)]
        under_test.idle()


@on_loop
async def test_an_input_that_fails_does_so_alone():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = under_test.workers[0]
        (call,) = await worker.hears(Call)
        error = ModelError("ValueError: no")
        worker.say(Mixed(call.id, (b"zero", error, b"two")))
        assert ends(await task) == [b"zero", error, b"two"]
        (method,) = under_test.engine.statistics().methods
        assert (method.ended, method.failed) == (3, 1)
        under_test.idle()


@on_loop
async def test_a_call_that_fails_does_so_for_each_input():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        (call,) = await under_test.workers[0].hears(Call)
        error = ModelError("ValueError: no")
        under_test.workers[0].fail(call, error)
        assert ends(await task) == [error] * 3
        under_test.idle()


@on_loop
async def test_every_input_counts_for_the_room_of_a_replica_and_for_the_queue():
    async with scripted(max_queued_calls=20) as under_test:
        tasks = [embed(under_test, 16) for _ in range(3)]  # the replica takes 32
        worker = under_test.workers[0]
        await turns()
        assert [call.inputs for call in worker.calls] == [16, 16]
        assert under_test.engine.statistics().waiting_calls == 16
        with pytest.raises(Overloaded):
            await embed(under_test, 5)
        answer(worker, worker.calls[0])
        await turns()
        assert [call.inputs for call in worker.calls] == [16, 16, 16]
        for call in worker.calls[1:]:
            answer(worker, call)
        assert [len(ends(await task)) for task in tasks] == [16, 16, 16]
        under_test.idle()


@on_loop
async def test_leaving_stops_all_of_it():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 40)
        worker = under_test.workers[0]
        await turns()
        task.cancel()
        await turns()
        assert len(worker.of(Cancel)) == len(worker.calls) == 2
        assert under_test.engine.statistics().waiting_calls == 0
        assert under_test.engine.statistics().cancellations_total == 40
        for call in list(worker.calls):
            worker.fail(call, Cancelled("stopped"))
        under_test.idle()


async def taken_apart(under_test: Scripted, task: asyncio.Task[Answer]) -> ScriptedWorker:
    """Have the worker die that has begun a list, and return the next one, ready."""
    await under_test.workers[0].hears(Call)
    assert not task.done()
    under_test.workers[0].die("killed by SIGKILL")
    worker = await under_test.worker(2)
    worker.ready()
    await worker.hears(Call)
    return worker


@on_loop
async def test_what_a_worker_died_of_runs_again_input_by_input():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = await taken_apart(under_test, task)
        await turns()
        assert [(call.inputs, bytes(call.payload)) for call in worker.calls] == [(1, b"0"), (1, b"1"), (1, b"2")]
        answer(worker, worker.calls[2])
        worker.fail(worker.calls[1], ModelError("ValueError: no"))
        answer(worker, worker.calls[0])
        zero, one, two = ends(await task)
        assert (zero, two) == (b"0!", b"2!")
        assert isinstance(one, ModelError)
        assert under_test.engine.statistics().retries_total == 3
        under_test.idle()


@on_loop
async def test_what_was_taken_apart_and_goes_well_is_a_run_again():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = await taken_apart(under_test, task)
        await turns()
        for call in list(worker.calls):
            answer(worker, call)
        parts, (outcome,) = await task
        assert outcome.end == b"".join(run.pieces(run.OUTPUT_TAG, [b"0!", b"1!", b"2!"]))
        assert ends((parts, [outcome])) == [b"0!", b"1!", b"2!"]
        under_test.idle()


@on_loop
async def test_only_the_input_that_kills_workers_is_poison():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = await taken_apart(under_test, task)
        for number in range(3, 8):
            await turns()
            for call in list(worker.calls):
                if bytes(call.payload) != b"1":
                    answer(worker, call)
            await turns()
            if task.done():
                break
            if not any(bytes(call.payload) == b"1" for call in worker.calls):
                await worker.hears(Call)
                continue
            worker.die("killed by SIGKILL")
            worker = await under_test.worker(number)
            worker.ready()
        zero, one, two = ends(await task)
        assert (zero, two) == (b"0!", b"2!")
        assert isinstance(one, PoisonCall)
        under_test.idle()


@on_loop
async def test_leaving_stops_what_was_taken_apart():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = await taken_apart(under_test, task)
        await turns()
        task.cancel()
        await turns()
        assert len(worker.of(Cancel)) == 3
        for call in list(worker.calls):
            worker.fail(call, Cancelled("stopped"))
        under_test.idle()


@on_loop
async def test_what_was_taken_apart_and_left_runs_no_more():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 3)
        worker = await taken_apart(under_test, task)
        task.cancel()
        await turns()
        worker.die("killed by SIGKILL")
        worker = await under_test.worker(3)
        worker.ready()
        await turns()
        assert not worker.calls
        under_test.idle()


@on_loop
async def test_a_list_that_is_taken_apart_is_not_over():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 2)
        await under_test.workers[0].hears(Call)
        quiet = asyncio.create_task(under_test.engine.quiet(60))
        await turns()
        worker = await taken_apart(under_test, task)
        await turns()
        assert not quiet.done()
        for call in list(worker.calls):
            answer(worker, call)
        assert await quiet
        assert ends(await task) == [b"0!", b"1!"]
        under_test.idle()


@on_loop
async def test_a_list_that_is_refused_is_let_go_of_at_once():
    async with scripted(max_queued_calls=2) as under_test:
        fills = embed(under_test, 16), embed(under_test, 16)
        await under_test.workers[0].hears(Call, 2)
        memory = Memory(b"".join(run.pieces(run.INPUT_TAG, inputs(5))))
        gone, whole = weakref.ref(memory), memoryview(memory)
        del memory
        gc.disable()
        try:
            with pytest.raises(Overloaded):
                await under_test.engine.unary_list(request(EMBED), inputs(5), whole)
            del whole
            await turns()
            assert gone() is None
        finally:
            gc.enable()
        for call, task in zip(list(under_test.workers[0].calls), fills, strict=True):
            answer(under_test.workers[0], call)
            await task
        under_test.idle()


@on_loop
async def test_a_deadline_is_kept_by_what_was_taken_apart():
    async with scripted(max_queued_calls=100) as under_test:
        task = embed(under_test, 2, deadline=time.monotonic() + 1.0)
        worker = await taken_apart(under_test, task)
        await turns()
        answer(worker, worker.calls[0])
        zero, one = ends(await task)
        assert zero == b"0!"
        assert isinstance(one, DeadlineExceeded)
        worker.fail(worker.calls[1], Cancelled("stopped"))
        under_test.idle()


# Parts.


def sizes(count: int, *, replicas: int = 1, method: int = EMBED, size: int = 1) -> list[int]:
    whole = [b"x" * size] * count
    parts = list(in_parts(request(method), whole, None, replicas))
    got: list[bytes] = []
    for part in parts:
        assert part.inputs >= 1
        got += map(bytes, run.split(part.payload, part.inputs)) if part.inputs > 1 else [bytes(part.payload)]
    assert got == whole
    return [part.inputs for part in parts]


def test_a_method_without_batches_has_a_call_for_each_input():
    assert sizes(3, method=PREDICT) == [1, 1, 1]


def test_parts_are_no_larger_than_a_batch_and_no_smaller_than_is_worth_it():
    assert sizes(2) == [2]
    assert sizes(33) == [16, 16, 1]
    assert sizes(16, replicas=2) == [8, 8]
    assert sizes(16, replicas=8) == [8, 8]
    assert sizes(100, replicas=4) == [16] * 6 + [4]


def test_parts_of_long_inputs_fit_into_shared_memory():
    assert sizes(5, size=1 << 21) == [2, 2, 1]
    assert sizes(2, size=5 << 20) == [1, 1]
