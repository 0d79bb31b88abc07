"""Coalescing points in a worker: steps of many calls run as one batch, and each call goes on with its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from runner import Batch, ModelClass
from runner.errors import Cancelled, ModelError
from runner.options import PointOptions
from runner.points import Point
from tests.execution.stage import Stage
from tests.running import on_loop, turns


class Base(ModelClass):
    """Has a point that is overridden."""

    @ModelClass.batched
    def name(self, texts: list[str]) -> list[str]:
        return [f"{text} of {len(texts)}" for text in texts]


class Model(Base):
    """Each step notes the sizes of its batches. `gate` holds up the device until the test opens it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.shared: list[float] = []
        self.members: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    @ModelClass.batched(max_batch_size=32)
    def step(self, numbers: list[int]) -> list[Any]:
        self.entered.set()
        self.gate.wait()
        self.sizes.append(len(numbers))
        self.members.append([entry.request_id for entry in self.context.entries])
        return [ValueError("odd one out") if number == 13 else number + 1 for number in numbers]

    @ModelClass.batched
    def scale(self, rows: Batch[np.ndarray], *, by: float) -> np.ndarray:
        self.gate.wait()
        self.sizes.append(len(rows))
        self.shared.append(by)
        return rows * by

    @ModelClass.batched
    def name(self, texts: list[str]) -> list[str]:
        return [text.upper() for text in texts]

    @ModelClass.batched
    def tell(self, texts: list[str], *, mark: str = "!", how: Any = None) -> list[str]:
        return [f"{text}{mark} of {len(texts)}" for text in texts]

    @ModelClass.method
    async def inherited(self, text: str) -> str:
        return f"{await self.name(text)}, {await super().name(text)}"

    @ModelClass.method
    def inherited_plainly(self, text: str) -> str:
        return f"{self.name(text)}, {super().name(text)}"

    @ModelClass.method
    async def told(self) -> list[str]:
        said = ({}, {"mark": "!"}, {"how": None, "mark": "!"}, {"mark": "!", "how": None}, {"mark": "?"})
        return list(await asyncio.gather(*(self.tell(str(n), **shared) for n, shared in enumerate(said))))

    @ModelClass.method
    def tangled(self) -> str:
        itself: list[Any] = []
        itself.append(itself)
        return self.tell("x", how=itself)

    @ModelClass.method
    def late(self) -> str:
        type(self).added = Point(lambda self, texts: texts, PointOptions())  # pyright: ignore[reportAttributeAccessIssue]
        return self.added("x")  # pyright: ignore[reportAttributeAccessIssue]: just above

    @ModelClass.batched
    def selfish(self, numbers: list[int]) -> list[int]:
        return [self.step(number) for number in numbers]

    @ModelClass.method
    async def climb(self, start: int, steps: int) -> AsyncIterator[int]:
        for _ in range(steps):
            start = await self.step(start)
            yield start

    @ModelClass.method
    async def once(self, number: int) -> int:
        return await self.step(number)

    @ModelClass.method
    async def several(self, numbers: list[int]) -> list[int]:
        return await self.step.many(numbers)

    @ModelClass.method
    async def scaled(self, row: np.ndarray, by: float) -> np.ndarray:
        return await self.scale(row, by=by)

    @ModelClass.method
    async def patient(self, number: int) -> int:
        try:
            return await asyncio.wait_for(self.step(number), 0.001)
        except TimeoutError:
            return -1

    @ModelClass.method
    def plain(self, number: int) -> int:
        return self.step(number)

    @ModelClass.method
    def in_a_thread_of_its_own(self, number: int) -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(self.step(number)))
        thread.start()
        thread.join()
        return found[0]

    @ModelClass.method
    def own_loop(self, number: int) -> int:
        async def run() -> int:
            return await self.step(number)

        return asyncio.run(run())

    @ModelClass.method
    def plainly(self, start: int, steps: int) -> Iterator[int]:
        for _ in range(steps):
            start = self.step(start)
            yield start

    @ModelClass.method
    async def deadlock(self, number: int) -> int:
        return await self.selfish(number)


def test_outside_a_worker_a_call_is_a_batch_of_one():
    model = Model()
    assert model.step(1) == 2
    assert model.step.many([1, 2, 3]) == [2, 3, 4]
    assert model.step.many([]) == []
    np.testing.assert_array_equal(model.scale(np.ones(2), by=3.0), [3.0, 3.0])
    assert model.sizes == [1, 3, 1]
    assert model.step.many(range(20, 60)) == list(range(21, 61))
    assert model.sizes[3:] == [32, 8]
    assert [len(members) for members in model.members] == [1, 3, 32, 8]
    with pytest.raises(ValueError, match="odd one out"):
        model.step(13)
    with pytest.raises(TypeError, match="takes numbers of one item, and got 2"):
        model.step(1, 2)

    async def awaited() -> None:
        assert await model.step(1) == 2
        assert await model.step.many([4, 5]) == [5, 6]

    asyncio.run(awaited())


@on_loop
async def test_streams_run_in_step_and_leave_one_by_one():
    async with Stage(Model) as stage:
        calls = [stage.call("climb", start=10 * number, steps=number % 3 + 2) for number in range(2, 26)]
        await asyncio.gather(*(stage.end(call) for call in calls))
        for number, call in enumerate(calls, 2):
            assert stage.outputs[call] == [10 * number + step for step in range(1, number % 3 + 3)]
        assert stage.model.sizes == [24, 24, 16, 8]
        assert stage.model.members[0] == [f"r{call}" for call in calls]


@on_loop
async def test_an_error_reaches_its_own_caller_only():
    async with Stage(Model) as stage:
        calls = [stage.call("once", number=number) for number in (1, 13, 2)]
        ends = await asyncio.gather(*(stage.end(call) for call in calls), return_exceptions=True)
        assert (ends[0], ends[2]) == (2, 3)
        assert isinstance(ends[1], ModelError)
        assert ends[1].message == "ValueError: odd one out"
        assert stage.model.sizes == [3]


@on_loop
async def test_many_items_of_one_call():
    async with Stage(Model) as stage:
        assert await stage.end(stage.call("several", numbers=list(range(40, 80)))) == list(range(41, 81))
        assert stage.model.sizes == [32, 8]


@on_loop
async def test_arrays_are_stacked_and_shared_values_part_batches():
    async with Stage(Model) as stage:
        calls = [stage.call("scaled", row=np.full(2, float(n)), by=float(n % 2 + 1)) for n in range(4)]
        ends = await asyncio.gather(*(stage.end(call) for call in calls))
        assert [list(end) for end in ends] == [[0.0, 0.0], [2.0, 2.0], [2.0, 2.0], [6.0, 6.0]]
        assert (stage.model.sizes, stage.model.shared) == ([2, 2], [1.0, 2.0])


@on_loop
async def test_what_is_left_out_equals_its_default():
    async with Stage(Model) as stage:
        told = ["0! of 4", "1! of 4", "2! of 4", "3! of 4", "4? of 1"]
        assert await stage.end(stage.call("told")) == told


@on_loop
@pytest.mark.parametrize("method", ["inherited", "inherited_plainly"])
async def test_a_point_that_is_overridden_can_be_reached(method):
    async with Stage(Model) as stage:
        assert await stage.end(stage.call(method, text="a")) == "A, a of 1"


@on_loop
async def test_a_call_that_cannot_be_made_ends_at_once():
    async with Stage(Model) as stage:
        with pytest.raises(ModelError, match="RecursionError"):
            await stage.end(stage.call("tangled"))
        with pytest.raises(ModelError, match=r"<lambda>\(\) is not a point of the class"):
            await stage.end(stage.call("late"))


@on_loop
async def test_plain_functions_stand_in_their_threads():
    async with Stage(Model, num_threads=8, max_streams=4) as stage:
        calls = [stage.call("plain", number=number) for number in range(8)]
        assert await asyncio.gather(*(stage.end(call) for call in calls)) == list(range(1, 9))
        streams = [stage.call("plainly", start=number, steps=5) for number in (20, 30)]
        await asyncio.gather(*(stage.end(call) for call in streams))
        assert [stage.outputs[call] for call in streams] == [[21, 22, 23, 24, 25], [31, 32, 33, 34, 35]]
        assert sum(stage.model.sizes) == 18
        assert await stage.end(stage.call("own_loop", number=4)) == 5


@on_loop
async def test_each_item_has_a_context_also_one_of_no_call():
    async with Stage(Model, num_threads=8) as stage:
        stage.model.gate.clear()
        first = stage.call("once", number=1)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        calls = [stage.call("once", number=2), stage.call("in_a_thread_of_its_own", number=3)]
        while len(stage.executor._batches._shared.policy) < 2:
            await asyncio.to_thread(threading.Event().wait, 0)  # a turn, and the GIL, for the threads
        stage.model.gate.set()
        assert await asyncio.gather(*(stage.end(call) for call in (first, *calls))) == [2, 3, 4]
        assert stage.model.members == [["r1"], ["r2", "local"]]


@on_loop
async def test_a_cancelled_call_drops_out_at_the_next_step():
    async with Stage(Model) as stage:
        stage.model.gate.clear()
        first = stage.call("once", number=1)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        leaves, stays = stage.call("climb", start=20, steps=3), stage.call("climb", start=30, steps=3)
        await turns(20)
        stage.executor.cancel(leaves)
        stage.model.gate.set()
        await asyncio.gather(*(stage.end(call) for call in (first, stays)))
        with pytest.raises(Cancelled):
            await stage.end(leaves)
        assert stage.model.sizes == [1, 1, 1, 1]
        assert not stage.executor._batches._shared.policy._waiting


async def one_behind_another(stage: Stage) -> tuple[int, int]:
    """Two calls whose threads stand in a step: one is held up at the gate, and the other waits for its turn."""
    stage.model.gate.clear()
    first = stage.call("plain", number=1)
    await asyncio.to_thread(stage.model.entered.wait, 10)
    waits = stage.call("plain", number=2)
    while len(stage.executor._batches._shared.policy) < 1:
        await asyncio.to_thread(threading.Event().wait, 0)  # a turn, and the GIL, for the thread that is to offer
    return first, waits


@on_loop
async def test_a_cancelled_thread_is_let_go():
    async with Stage(Model) as stage:
        first, waits = await one_behind_another(stage)
        stage.executor.cancel(waits)
        with pytest.raises(Cancelled):
            await stage.end(waits)
        stage.model.gate.set()
        assert await stage.end(first) == 2
        assert stage.model.sizes == [1]


@on_loop
async def test_no_thread_waits_for_a_step_once_the_worker_has_stopped():
    async with Stage(Model) as stage:
        in_hand, waits = await one_behind_another(stage)
        await stage.executor.close()
        ends = await asyncio.gather(*(stage.end(call) for call in (in_hand, waits)), return_exceptions=True)
        assert [type(end) for end in ends] == [Cancelled, Cancelled]
        stage.model.gate.set()


@on_loop
async def test_a_step_that_was_given_up_is_not_run():
    async with Stage(Model) as stage:
        stage.model.gate.clear()
        first = stage.call("once", number=1)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        assert await stage.end(stage.call("patient", number=5)) == -1
        stage.model.gate.set()
        assert await stage.end(first) == 2
        assert await stage.end(stage.call("once", number=6)) == 7
        assert stage.model.sizes == [1, 1]
        assert not stage.executor._batches._points._waiting


@on_loop
async def test_a_point_called_by_a_batch_is_refused():
    async with Stage(Model) as stage:
        with pytest.raises(ModelError, match=r"step\(\) was called in the middle of a batch"):
            await stage.end(stage.call("deadlock", number=1))


def test_what_cannot_be_a_point():
    async def asynchronous(self: Any, items: list[int]) -> list[int]: ...
    def generator(self: Any, items: list[int]) -> Iterator[int]:
        yield 1

    def nothing(self: Any) -> list[int]: ...

    for function in (asynchronous, generator, nothing, "no function"):
        with pytest.raises(TypeError):
            ModelClass.batched(function)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TypeError, match="no option 'idempotent'"):
        ModelClass.batched(idempotent=True)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="max_batch_size: got 0"):
        ModelClass.batched(max_batch_size=0)


def test_the_device_computes_with_as_many_threads_as_the_model_asked_for():
    torch = pytest.importorskip("torch")

    class Threads(ModelClass):
        @ModelClass.method
        def seen(self, number: Batch[int]) -> Batch[int]:
            return [torch.get_num_threads()] * len(number)

        @ModelClass.method
        def plain(self) -> int:
            return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:

        @on_loop
        async def run() -> None:
            async with Stage(Threads) as stage:
                assert await stage.end(stage.call("seen", number=1)) == before + 1
                assert await stage.end(stage.call("plain")) == before + 1

        run()
    finally:
        torch.set_num_threads(before)
