"""Arrays on their way to real workers and back, in shared memory: nobody sees another's numbers, nothing is lost."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.engine.parts import ends_of
from runner.errors import CallError, ModelError, WorkerLost
from runner.execution.journal import Mark
from runner.processes.shared import MAX_SHARED, SHARED_FROM, SharedReader, SharedWriter
from runner.wire import run
from runner.wire.envelope import scan
from runner.workers.process import WorkerProcess
from tests.running import on_loop, turns
from tests.workers.served import MODELS, Served, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory without a name, as Linux has it")

ARRAYS = MODELS / "arrays"
MIB = 1 << 20


def arrays(shared_bytes: int = 8 * MIB, calls: int = 8) -> Any:
    return served(ARRAYS, codecs=ARRAYS, shared_bytes=shared_bytes, calls=calls)


def filled(number: int, size: int = 150_000) -> Any:
    return np.full(size // 4, number, np.int32)


def ends(worker: WorkerProcess) -> tuple[SharedWriter, SharedReader]:
    writer, reader = worker.link.writer, worker.link.reader
    assert writer is not None
    assert reader is not None
    return writer, reader


async def all_back(worker: WorkerProcess) -> None:
    """Wait until nothing lies in the memory of either direction that anybody looks at."""
    writer, reader = ends(worker)
    writer._sweep()
    while writer._blocks.taken or reader.lent:
        await turns()
        writer._sweep()


async def all_over(under_test: Served) -> None:
    while under_test.engine._traffic.calls:
        await turns()


@on_loop
async def test_sizes_around_every_bound():
    head = 75  # bytes of such a call beside its numbers, or a few more
    sizes = [
        bound + change
        for bound in (SHARED_FROM, 128 * 1024, 256 * 1024, MAX_SHARED)
        for change in (-head - 40, -head, -head + 4, -20, -4, 0, 4, 40)
    ]
    async with arrays(16 * MIB) as under_test:
        for size in sizes:
            array = np.arange(size // 4, dtype=np.int32)
            for method in ("echo", "echo_in_thread"):
                answer = await under_test.call(method, array=array)
                assert np.array_equal(answer, array)  # pyright: ignore[reportArgumentType]
            data = array.tobytes()
            assert await under_test.call("echo_bytes", data=data) == data
        await all_back(under_test.workers[0])


@on_loop
async def test_an_array_that_is_kept_stays_as_it_was_while_later_calls_come():
    async with arrays() as under_test:
        moved = 0
        for number in range(10):
            moved += await under_test.call("keep", array=filled(number))  # pyright: ignore[reportOperatorIssue]
            for other in range(100, 120):
                assert (await under_test.call("echo", array=filled(other)))[-1] == other  # pyright: ignore
        assert moved == 0  # each is where the server has put it
        assert await under_test.call("sums") == [number * 37_500 for number in range(10)]
        assert ends(under_test.workers[0])[0]._blocks.taken >= 10 * 150_000 // mmap.PAGESIZE
        assert await under_test.call("drop") == 10
        await under_test.call("echo", array=filled(1))
        await all_back(under_test.workers[0])


@on_loop
async def test_arrays_that_are_kept_may_fill_the_memory_and_calls_go_on():
    async with arrays(MIB) as under_test:
        for number in range(40):
            await under_test.call("keep", array=filled(number))
        assert await under_test.call("sums") == [number * 37_500 for number in range(40)]
        assert (await under_test.call("echo", array=filled(7)))[-1] == 7  # pyright: ignore
        await under_test.call("drop")
        await under_test.call("echo", array=filled(1))
        await all_back(under_test.workers[0])


@on_loop
async def test_a_hundred_large_calls_at_once_with_room_for_a_few():
    async with arrays(MIB, calls=100) as under_test:
        answers = await asyncio.gather(
            *(under_test.call("negate_in_place", array=filled(number)) for number in range(100))
        )
        assert [int(answer[0]) for answer in answers] == [-number for number in range(100)]  # pyright: ignore
        assert all((answer == answer[0]).all() for answer in answers)  # pyright: ignore
        del answers
        await all_back(under_test.workers[0])


@on_loop
async def test_an_answer_is_what_the_array_was_when_it_was_given():
    async with arrays(MIB, calls=20) as under_test:
        calls = [under_test.call("again", array=filled(0)) for _ in range(20)]
        answers = await asyncio.gather(*calls)
        assert sorted(int(answer[-1]) for answer in answers) == list(range(1, 21))  # pyright: ignore
        assert all((answer == answer[0]).all() for answer in answers)  # pyright: ignore


@on_loop
async def test_a_worker_that_dies_takes_no_payload_along():
    async with arrays(MIB) as under_test:
        loop = asyncio.get_running_loop()
        answer: Any = await under_test.call("echo", array=filled(5))  # may lie in the memory of the worker that dies
        held = [loop.create_task(under_test.call("hold", array=filled(number))) for number in range(5)]
        journal = under_test.workers[0].journal
        while [journal.mark_of(call.wire_id) for call in under_test.engine._traffic.calls.values()] != [Mark.RUNS] * 5:
            await turns()
        os.kill(under_test.workers[0].pid, signal.SIGKILL)
        for call in held:
            with pytest.raises(WorkerLost):
                await call
        assert (answer == 5).all()
        again: Any = await under_test.call("echo", array=filled(6))
        assert (again == 6).all()
        assert len(under_test.workers) == 2
        await all_back(under_test.workers[1])


@on_loop
async def test_a_call_that_runs_again_has_what_was_sent(tmp_path: Path):
    """The first worker has changed it in place."""
    async with arrays(MIB) as under_test:
        answer: Any = await under_test.call("die_once", array=filled(5), mark=str(tmp_path / "died"))
        assert (answer == 6).all()
        assert len(under_test.workers) == 2


@on_loop
async def test_calls_that_are_cancelled_leave_nothing_behind():
    async with arrays(4 * MIB) as under_test:
        loop = asyncio.get_running_loop()
        for _ in range(5):
            held = [loop.create_task(under_test.call("hold", array=filled(number))) for number in range(6)]
            echoes = [loop.create_task(under_test.call("echo", array=filled(number))) for number in range(6)]
            await turns(3)
            for call in (*held, *echoes):
                call.cancel()
            await asyncio.gather(*held, *echoes, return_exceptions=True)
            await all_over(under_test)
            del held, echoes, call
        assert (await under_test.call("echo", array=filled(7)))[-1] == 7  # pyright: ignore
        await all_back(under_test.workers[0])


@pytest.mark.parametrize("method", ["pass_on", "pass_on_in_thread"])
@on_loop
async def test_items_of_streams(method):
    async with arrays(4 * MIB) as under_test:
        stream = under_test.stream(method, arrays=filled(0))
        codec = under_test.codec(method)
        for number in range(1, 40):
            assert await stream.send(codec.encode_item(filled(number)))
            output: Any = codec.decode_output(await anext(stream))
            assert (output == number - 1).all()
            del output
        stream.end_input()
        assert [int(codec.decode_output(output)[0]) async for output in stream] == [39]  # pyright: ignore
        stream.close()
        await all_over(under_test)
        await all_back(under_test.workers[0])


@on_loop
async def test_every_kind_of_call_lets_go_of_its_input_when_it_ends():
    async with arrays(4 * MIB) as under_test:
        loop = asyncio.get_running_loop()
        batched = [loop.create_task(under_test.call("echo_in_batch", array=filled(number))) for number in range(8)]
        answers: list[Any] = await asyncio.gather(*batched)
        assert [int(answer[-1]) for answer in answers] == list(range(8))
        stream = under_test.stream("thrice", array=filled(3))
        decode = under_test.codec("thrice").decode_output
        assert [int(decode(output)[-1]) async for output in stream] == [3, 3, 3]  # pyright: ignore
        stream.close()
        left = under_test.stream("thrice", array=filled(4))
        await anext(left)
        left.close()
        with pytest.raises(ModelError, match="150000 bytes"):
            await under_test.call("fail", array=filled(5))
        del answers, batched, stream, left
        await all_over(under_test)
        await all_back(under_test.workers[0])


async def pass_or_fail(under_test: Served, numbers: Sequence[int], size: int, *, drafted: bool) -> list[Any]:
    """Send arrays as a list, in memory of the worker's link or not; return the number of each that came back."""
    requests = [under_test.request("pass_or_fail_in_batch", array=filled(number, size)) for number in numbers]
    inputs = [request.payload for request in requests]
    message: Any = b"".join(run.pieces(run.INPUT_TAG, inputs))
    if drafted and (memory := under_test.engine.memory_for(len(message))) is not None:
        memory[:] = message
        message = memory
    envelope = scan(message)
    del message, inputs
    parts, outcomes = await under_test.engine.unary_list(requests[0], envelope.inputs, envelope.run)
    ends = [end for part, outcome in zip(parts, outcomes, strict=True) for end in ends_of(part.request, outcome)]
    decoded: list[Any] = [end if isinstance(end, CallError) else under_test.decode("echo", end) for end in ends]
    return [end if isinstance(end, CallError) else int(end[-1]) for end in decoded]


@pytest.mark.parametrize("drafted", [False, True])
@on_loop
async def test_lists_let_go_of_their_inputs_when_they_end_whatever_becomes_of_them(drafted: bool):
    async with arrays(16 * MIB, calls=100) as under_test:
        await under_test.call("stop_collecting")
        sizes = [400, 20_000, 100_000, 300_000]
        lists = [[1, 2, 3], [4, -5, 6], [-7, -8], list(range(10, 27)), [-1] * 3 + [4] * 3]
        for _ in range(3):
            answers = await asyncio.gather(
                *(pass_or_fail(under_test, numbers, size, drafted=drafted) for size in sizes for numbers in lists)
            )
            for numbers, answer in zip(lists * len(sizes), answers, strict=True):
                assert [number if isinstance(number, int) else -1 for number in answer] == [max(n, -1) for n in numbers]
            del answer, answers
        task = asyncio.ensure_future(pass_or_fail(under_test, lists[3], 100_000, drafted=drafted))
        await turns(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        await all_over(under_test)
        await under_test.call("echo", array=filled(1))  # after which nothing of the last batch is looked at
        await all_back(under_test.workers[0])


@on_loop
async def test_thousands_of_large_calls_leave_memory_as_it_was():
    async with arrays(64 * MIB, calls=16) as under_test:
        worker = under_test.workers[0]
        request = under_test.request("echo", array=filled(1))

        async def caller(count: int) -> None:
            for _ in range(count):
                await under_test.engine.unary(request)

        async def call(count: int) -> None:
            await asyncio.gather(*(caller(count // 10) for _ in range(10)))

        await call(1000)
        before, ours = await under_test.call("resident"), resident()
        reached = ends(worker)[0]._blocks.reached
        await call(9000)
        await all_back(worker)
        assert ends(worker)[0]._blocks.reached <= 2 * reached
        assert await under_test.call("resident") <= before + 2 * MIB  # pyright: ignore[reportOperatorIssue]
        assert resident() <= ours + 2 * MIB


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@on_loop
async def test_a_link_without_such_memory_does_the_same():
    async with arrays(0) as under_test:
        assert isinstance(under_test, Served)
        assert under_test.workers[0].link.writer is None
        answer: Any = await under_test.call("negate_in_place", array=filled(3))
        assert (answer == -3).all()
