"""Replacing workers while they serve: the new ones are ready first, and no call is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from runner.engine import life
from runner.errors import Cancelled, LoadError, MethodNotFound, WorkerLost
from runner.signature.published import Lane, Published
from runner.wire import run
from runner.workers.messages import Call, Cancel, Load
from tests.engine.scripted import EMBED, LOOK_UP, METHODS, PREDICT, STREAM, Scripted, ScriptedWorker, request, scripted
from tests.running import on_loop, turns

GRACE = 60.0
"""seconds; nothing here waits for it to pass."""


def replacing(under_test: Scripted, model_dir: str = "", grace: float = GRACE) -> asyncio.Task[None]:
    places = [replace(place, load=replace(place.load, model_dir=model_dir)) for place in under_test.engine.places]
    return asyncio.ensure_future(under_test.engine.replace(places, grace=grace))


UNBATCHED = replace(METHODS[EMBED], lane=METHODS[PREDICT].lane, max_batch_size=0)


def run_of(output: bytes, count: int) -> bytes:
    return b"".join(run.pieces(run.OUTPUT_TAG, [output] * count))


def a_call(under_test: Scripted, payload: bytes = b"x") -> asyncio.Task:
    return asyncio.ensure_future(under_test.unary(request(payload=payload)))


async def answer(worker: ScriptedWorker, *tasks: asyncio.Task) -> None:
    await turns()
    worker.answer_each(worker.calls[-len(tasks) :])
    await asyncio.gather(*tasks)


@on_loop
async def test_the_old_worker_serves_until_the_new_one_is_ready_and_then_finishes_what_it_has():
    async with scripted() as under_test:
        old = under_test.workers[0]
        running = a_call(under_test)
        swap = replacing(under_test, "v2")
        new = await under_test.worker(2)
        assert new.of(Load)[0].model_dir == "v2"
        await answer(old, a_call(under_test))
        new.ready()
        await swap
        later = a_call(under_test)
        await answer(new, later)
        assert not old.stopped
        old.answer(old.calls[0])
        assert await running == b"answer"
        await old.gone()
        assert under_test.engine.places[0].load.model_dir == "v2"
        under_test.idle()


@on_loop
async def test_the_next_life_after_a_replacement_is_of_the_new_version():
    async with scripted() as under_test:
        swap = replacing(under_test, "v2")
        (await under_test.worker(2)).ready()
        await swap
        await answer(under_test.workers[1], a_call(under_test))
        under_test.workers[1].die()
        successor = await under_test.worker(3)
        assert successor.of(Load)[0].model_dir == "v2"


@on_loop
async def test_all_replicas_change_in_one_step():
    async with scripted(replicas=2) as under_test:
        swap = replacing(under_test)
        third, fourth = await under_test.worker(3), await under_test.worker(4)
        third.ready()
        await turns()
        task = a_call(under_test)
        await turns()
        assert not third.calls
        fourth.ready()
        await swap
        await answer(under_test.workers[0], task)
        others = [a_call(under_test), a_call(under_test)]
        await turns()
        assert [len(worker.calls) for worker in under_test.workers] == [1, 0, 1, 1]
        for worker in (third, fourth):
            worker.answer(worker.calls[0])
        await asyncio.gather(*others)


@pytest.mark.parametrize("how", ["cannot_load", "dies", "dies_when_ready"])
@on_loop
async def test_when_a_new_worker_fails_the_old_ones_go_on(how):
    async with scripted(replicas=2) as under_test:
        swap = replacing(under_test, "v2")
        bad, good = await under_test.worker(3), await under_test.worker(4)
        if how == "cannot_load":
            bad.cannot_load("no weights")
        elif how == "dies":
            bad.die()
        else:
            bad.ready()
            await turns()
            bad.die()
            await turns(10)
            good.ready()
        with pytest.raises(LoadError):
            await swap
        await bad.gone()
        await good.gone()
        assert [place.load.model_dir for place in under_test.engine.places] == ["", ""]
        task = a_call(under_test)
        await answer(under_test.workers[0], task)
        assert len(under_test.workers) == 4
        under_test.idle()


@on_loop
async def test_a_cancelled_replacement_leaves_everything_as_it_was():
    async with scripted() as under_test:
        swap = replacing(under_test)
        new = await under_test.worker(2)
        swap.cancel()
        await new.gone()
        await answer(under_test.workers[0], a_call(under_test))


@on_loop
async def test_calls_that_do_not_end_in_time_are_lost():
    async with scripted() as under_test:
        task = a_call(under_test)
        await under_test.workers[0].hears(Call)
        swap = replacing(under_test, grace=0.0)
        (await under_test.worker(2)).ready()
        await swap
        with pytest.raises(WorkerLost, match="was replaced"):
            await task
        # It is told to stop like any other call that nobody waits for, and has a moment for that.
        old = under_test.workers[0]
        (cancel,) = await old.hears(Cancel)
        assert cancel.id == old.calls[0].id
        assert not old.stopped
        old.fail(old.calls[0], Cancelled("stopped"))
        await old.gone()
        under_test.idle()


@on_loop
async def test_calls_that_do_not_end_in_time_run_again_where_that_does_no_harm(monkeypatch):
    monkeypatch.setattr(life, "STOP_GRACE", 0.001)
    async with scripted() as under_test:
        task = asyncio.ensure_future(under_test.unary(request(LOOK_UP)))
        old = under_test.workers[0]
        await old.hears(Call)
        swap = replacing(under_test, grace=0.0)
        new = await under_test.worker(2)
        new.ready()
        await swap
        await old.gone()
        await new.hears(Call)
        assert not old.of(Cancel)
        await answer(new, task)
        under_test.idle()


@on_loop
async def test_a_place_whose_worker_is_gone_gets_the_new_one():
    async with scripted() as under_test:
        under_test.workers[0].die()
        restarted = await under_test.worker(2)
        swap = replacing(under_test, "v2")
        new = await under_test.worker(3)
        new.ready()
        await swap
        await restarted.gone()
        await answer(new, a_call(under_test))
        assert len(under_test.workers) == 3


@on_loop
async def test_a_worker_that_retires_may_die_alone():
    async with scripted() as under_test:
        task = a_call(under_test)
        await under_test.workers[0].hears(Call)
        swap = replacing(under_test)
        (await under_test.worker(2)).ready()
        await swap
        under_test.workers[0].die()
        with pytest.raises(WorkerLost):
            await task
        await answer(under_test.workers[1], a_call(under_test))
        assert len(under_test.workers) == 2


# Other methods than before.


async def with_methods(under_test: Scripted, methods: Sequence[Published]) -> ScriptedWorker:
    swap = replacing(under_test)
    number = len(under_test.workers) + 1
    worker = await under_test.worker(number)
    worker.ready(tuple(methods))
    await swap
    return worker


@on_loop
async def test_calls_find_the_number_that_their_method_has_in_the_worker():
    async with scripted() as under_test:
        told: list[Sequence[Published]] = []
        under_test.engine.follow_methods(told.append)
        new = await with_methods(under_test, METHODS[::-1])
        assert told == [METHODS, METHODS[::-1]]
        task = a_call(under_test)
        (call,) = await new.hears(Call)
        assert call.method == len(METHODS) - 1 - PREDICT
        new.answer(call)
        await task


@on_loop
async def test_calls_that_wait_follow_their_method_into_another_lane():
    async with scripted() as under_test:
        tasks = [a_call(under_test, b"%d" % number) for number in range(4)]
        old = under_test.workers[0]
        await old.hears(Call, 2)
        batched = replace(METHODS[PREDICT], lane=Lane.of_batches("predict"), max_batch_size=8)
        new = await with_methods(under_test, [batched, *METHODS[1:]])
        assert [call.payload for call in new.calls] == [b"2", b"3"]
        for worker in (old, new):
            worker.answer_each(worker.calls)
        assert await asyncio.gather(*tasks) == [b"answer"] * 4
        under_test.idle()


@on_loop
async def test_lists_that_wait_run_input_by_input_where_the_method_has_no_batches_any_more():
    async with scripted(max_queued_calls=100) as under_test:
        old = under_test.workers[0]
        inputs = [b"%d" % number for number in range(35)]
        task = asyncio.ensure_future(under_test.engine.unary_list(request(EMBED), inputs))
        await old.hears(Call, 2)
        new = await with_methods(under_test, [*METHODS[:EMBED], UNBATCHED])
        assert [(call.inputs, bytes(call.payload)) for call in new.calls] == [(1, each) for each in inputs[32:34]]
        old.answer(old.calls[0], run_of(b"old", 16))
        old.answer(old.calls[1], run_of(b"old", 16))
        for number in range(3):
            await turns()
            new.answer(new.calls[number], b"new")
        parts, outcomes = await task
        assert [part.request.inputs for part in parts] == [16, 16, 3]
        assert outcomes[2].payload == run_of(b"new", 3)
        under_test.idle()


@on_loop
async def test_calls_and_lists_of_a_worker_that_was_replaced_and_dies_run_as_the_new_one_takes_them():
    async with scripted(max_queued_calls=100) as under_test:
        old = under_test.workers[0]
        several = asyncio.ensure_future(under_test.engine.unary_list(request(EMBED), [b"0", b"1"]))
        one = asyncio.ensure_future(under_test.unary(request(EMBED)))
        await old.hears(Call, 2)
        new = await with_methods(under_test, [*METHODS[:EMBED], UNBATCHED])
        old.die()
        for number in range(3):
            await new.hears(Call, number + 1)
            new.answer(new.calls[number], b"new")
        assert await one == b"new"
        _, (outcome,) = await several
        assert outcome.payload == run_of(b"new", 2)
        under_test.idle()


@on_loop
async def test_a_call_of_a_worker_that_was_replaced_and_dies_is_told_that_its_method_is_gone():
    async with scripted() as under_test:
        task = asyncio.ensure_future(under_test.unary(request(EMBED)))
        await under_test.workers[0].hears(Call)
        await with_methods(under_test, METHODS[:EMBED])
        under_test.workers[0].die()
        with pytest.raises(MethodNotFound, match="'embed'"):
            await task
        under_test.idle()


@on_loop
async def test_calls_of_a_method_that_is_gone_say_so():
    async with scripted(max_coroutines=1) as under_test:
        engine = under_test.engine
        running = engine.stream(request(STREAM))
        waiting = engine.stream(request(STREAM))
        await with_methods(under_test, METHODS[:2])
        with pytest.raises(MethodNotFound, match="'stream'"):
            await anext(waiting)
        with pytest.raises(MethodNotFound, match="'stream'"):
            engine.stream(request(STREAM))
        under_test.workers[0].item(under_test.workers[0].calls[0], b"item")
        assert await anext(running) == b"item"
        for stream in (running, waiting):
            stream.close()


@on_loop
async def test_a_replica_without_the_method_says_so():
    """One replica came back with another version from the disk."""
    async with scripted(replicas=2) as under_test:
        under_test.workers[0].die()
        (await under_test.worker(3)).ready((METHODS[1], METHODS[0]))
        under_test.workers[1].die()
        (await under_test.worker(4)).ready((METHODS[1],))
        with pytest.raises(MethodNotFound):
            await under_test.unary(request())
