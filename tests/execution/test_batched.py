"""Calls of batched methods: they run together, and each one is answered for itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from runner import END, SKIP, Batch, ModelClass, Pad
from runner.errors import Cancelled, DeadlineExceeded, InvalidInput, ModelError
from tests.execution.stage import Stage
from tests.running import on_loop, turns

COSTS: dict[str, Any] = {"negative": -100, "nan": float("nan"), "inf": float("inf"), "none": None}
"""What is no cost, by the texts that have it."""


class Model(ModelClass):
    """Notes what each run was given. `gate` holds up the device until the test opens it."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.closed = threading.Event()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.buffer = np.zeros((2, 3))

    @ModelClass.method(max_batch_size=4)
    def shout(self, text: Batch[str], mark: str = "!") -> Batch[str]:
        self.entered.set()
        self.gate.wait()
        self.runs.append((list(text), mark))
        return [each.upper() + mark for each in text]

    @ModelClass.method(max_batch_size=8)
    def double(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        self.gate.wait()
        self.runs.append(row.shape)
        return row * 2

    @ModelClass.method(max_batch_size=2)
    def reusing(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        self.gate.wait()
        self.buffer[: len(row)] = row
        self.runs.append(len(row))
        if len(self.runs) == 3:
            self.entered.set()
        return self.buffer[: len(row)]

    @ModelClass.method(max_batch_size=8, pad=Pad(-1, mask="real"))
    def total(self, row: Batch[np.ndarray], real: Any = None) -> Batch[float]:
        self.gate.wait()
        self.runs.append(row.shape)
        return [float(each.sum()) for each in np.where(real, row, 0)]

    @ModelClass.method(max_batch_size=8, pad=0)
    async def area(self, row: Batch[np.ndarray]) -> Batch[int]:
        self.runs.append(row.shape)
        return [int(each.sum()) for each in row]

    @ModelClass.method(max_batch_size=6, batch_sizes=(2, 4, 8))
    def sized(self, row: Batch[np.ndarray], text: Batch[str]) -> Batch[str]:
        self.gate.wait()
        self.runs.append((row.shape, list(text)))
        self.set_output_context(prompt_tokens=[len(each) for each in text])
        return [f"{each} {number}" for each, number in zip(text, row[:, 0], strict=True)]

    @ModelClass.method(max_batch_size=8)
    def short(self, text: Batch[str]) -> Batch[str]:
        self.gate.wait()
        return [each for each in text if each]

    @ModelClass.method(max_batch_size=8)
    def pick(self, text: Batch[str]) -> Batch[str]:
        self.gate.wait()
        return [ValueError(f"no {each}") if each == "bad" else each for each in text]

    @ModelClass.method(max_batch_size=8, idempotent=True)
    def fragile(self, number: Batch[int]) -> Batch[int]:
        self.gate.wait()
        self.runs.append(list(number))
        if 3 in number:
            raise ValueError("three")
        return [each * 10 for each in number]

    @ModelClass.method(max_batch_size=8)
    def brittle(self, number: Batch[int]) -> Batch[int]:
        self.gate.wait()
        self.runs.append(list(number))
        raise ValueError("always")

    @ModelClass.method(max_batch_size=8, cost=len, max_batch_cost=10)
    def costly(self, text: Batch[str]) -> Batch[int]:
        self.gate.wait()
        self.runs.append(list(text))
        return [len(each) for each in text]

    @ModelClass.method(max_batch_size=8, cost=lambda text: COSTS.get(text, len(text)), max_batch_cost=10)
    def weighed(self, text: Batch[str]) -> Batch[int]:
        self.gate.wait()
        self.runs.append(list(text))
        return [len(each) for each in text]

    @ModelClass.method
    def disordered(self, text: Batch[str]) -> Batch[str]:
        return set(text)  # pyright: ignore[reportReturnType]: that is the point

    @ModelClass.method
    def count(self, text: Batch[str]) -> Batch[int]:
        self.gate.wait()
        self.set_output_context(prompt_tokens=[len(each) for each in text])
        assert [entry.request_id for entry in self.context.entries] == [f"r{number}" for number in range(2, 4)]
        return [len(each) for each in text]

    @ModelClass.method
    def miscount(self, text: Batch[str]) -> Batch[int]:
        self.set_output_context(prompt_tokens=5)
        return [0] * len(text)

    @ModelClass.method
    async def later(self, text: Batch[str]) -> Batch[str]:
        await asyncio.sleep(0)
        self.runs.append(list(text))
        return [each[::-1] for each in text]

    @ModelClass.method(max_batch_size=8)
    def crooked(self, word: Batch[str]) -> Iterator[Batch[str]]:
        try:
            yield [each.upper() for each in word]
            yield ["one too many", *word]
        finally:
            self.runs.append((threading.current_thread().name, len(self.context.entries)))
            self.closed.set()

    @ModelClass.method(max_batch_size=8)
    async def crooked_async(self, word: Batch[str]) -> AsyncIterator[Batch[str]]:
        try:
            yield []
        finally:
            self.runs.append(("loop", len(self.context.entries)))
            self.closed.set()

    @ModelClass.method(max_batch_size=8, priority=3)
    def spell(self, word: Batch[str]) -> Iterator[Batch[str]]:
        self.gate.wait()
        self.runs.append(list(word))
        try:
            for index in range(max(map(len, word)) + 1):
                yield [
                    END if index >= len(each) else SKIP if each[index] == "-" else each[index]  # a list for each step
                    for each in word
                ]
        finally:
            self.closed.set()


async def busy(stage: Stage, batches: int = 1) -> None:
    """Wait until the device has so many batches: one that runs, and one that is next."""
    while stage.executor._batches._shared._in_hand < batches:
        await turns(1)


async def occupied(stage: Stage) -> int:
    """Shut the gate and have a call stand behind it, so that others wait for the device; return that call."""
    stage.model.gate.clear()
    first = stage.call("shout", text="first")
    await busy(stage)
    return first


async def closed(stage: Stage) -> None:
    """Wait until a generator has been closed, which happens in the device's thread after the last word."""
    await asyncio.to_thread(stage.model.closed.wait, 10)


async def held(stage: Stage, calls: list[int]) -> list[Any]:
    """Open the gate for calls that wait behind it; return how each one ended."""
    stage.model.gate.set()
    return await asyncio.gather(*(stage.end(call) for call in calls), return_exceptions=True)


@on_loop
async def test_calls_that_wait_run_together():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = [first, *(stage.call("shout", text=f"t{number}") for number in range(6))]
        assert await held(stage, calls) == ["FIRST!", *(f"T{number}!" for number in range(6))]
        assert [len(texts) for texts, _ in stage.model.runs] == [1, 4, 2]
        assert [ran.reason for ran in stage.batches] == ["idle", "full", "idle"]
        assert stage.times[calls[1]].batch_size == 4


@on_loop
async def test_shared_arguments_part_batches_and_a_default_equals_itself():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = [stage.call("shout", text="a"), stage.call("shout", text="b", mark="?")]
        calls += [stage.call("shout", text="c", mark="!"), stage.call("shout", text="d", mark="?")]
        assert await held(stage, [first, *calls]) == ["FIRST!", "A!", "B?", "C!", "D?"]
        assert stage.model.runs[1:] == [(["a", "c"], "!"), (["b", "d"], "?")]


@on_loop
async def test_arrays_are_stacked_if_they_are_of_one_kind():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        rows = [np.arange(3.0), np.arange(4.0), np.arange(3.0) + 1, np.arange(3)]
        results = (await held(stage, [first, *(stage.call("double", row=row) for row in rows)]))[1:]
        for row, result in zip(rows, results, strict=True):
            np.testing.assert_array_equal(result, row * 2)
        assert stage.model.runs[1:] == [(2, 3), (1, 4), (1, 3)]


@on_loop
async def test_a_batch_is_filled_up_to_a_size_that_was_named():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = [stage.call("sized", row=np.full(2, float(number)), text=f"t{number}") for number in range(3)]
        assert await held(stage, [first, *calls]) == ["FIRST!", "t0 0.0", "t1 1.0", "t2 2.0"]
        assert stage.model.runs[1:] == [((4, 2), ["t0", "t1", "t2", "t2"])]
        assert stage.batches[-1].size == 3


@on_loop
async def test_a_buffer_that_is_used_again_changes_no_results():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        calls = [stage.call("reusing", row=np.full(3, float(number))) for number in range(2)]
        await busy(stage, 2)
        calls += [stage.call("reusing", row=np.full(3, float(number))) for number in range(2, 4)]
        stage.model.entered.clear()
        stage.model.gate.set()
        await stage.end(first)
        stage.model.entered.wait(10)  # on the loop: it is told of neither batch before the second has run
        assert [list(row) for row in await held(stage, calls)] == [[float(number)] * 3 for number in range(4)]


@on_loop
async def test_ragged_arrays_are_padded_and_masked():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        rows = [np.ones(2), np.ones(5), np.ones(0)]
        assert (await held(stage, [first, *(stage.call("total", row=row) for row in rows)]))[1:] == [2.0, 5.0, 0.0]
        assert stage.model.runs[1:] == [(3, 5)]


SPREAD = [np.ones((1, 40_000)), np.ones((2, 40_000)), np.ones((40_000, 1)), np.ones((40_000, 2))]
"""All in one, they would be filled up to 51 GB."""


@on_loop
async def test_arrays_of_very_different_shapes_run_apart():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        waiting = [stage.call("total", row=row) for row in SPREAD]
        assert (await held(stage, [first, *waiting]))[1:] == [40_000, 80_000, 40_000, 80_000]
        assert stage.model.runs[1:] == [(2, 2, 40_000), (2, 40_000, 2)]
        assert await held(stage, [stage.call("area", row=row) for row in SPREAD]) == [40_000, 80_000, 40_000, 80_000]
        assert stage.model.runs[3:] == [(2, 2, 40_000), (2, 40_000, 2)]


@on_loop
async def test_an_array_that_cannot_hold_its_padding_is_refused_by_itself_too():
    async with Stage(Model) as stage:
        with pytest.raises(InvalidInput, match=r"^row: an array of uint8 cannot be filled up with -1"):
            await stage.end(stage.call("total", row=np.ones(2, np.uint8)))
        assert stage.model.runs == []


@on_loop
async def test_an_exception_in_the_result_is_its_own_callers():
    async with Stage(Model) as stage:
        calls = [stage.call("pick", text=text) for text in ("a", "bad", "c")]
        one, other, third = await held(stage, calls)
        assert (one, third) == ("a", "c")
        assert isinstance(other, ModelError)
        assert other.message == "ValueError: no bad"


@on_loop
async def test_a_wrong_length_names_both_numbers():
    async with Stage(Model) as stage:
        for failed in await held(stage, [stage.call("short", text=text) for text in ("a", "", "c")]):
            assert isinstance(failed, ModelError)
            assert failed.message == "short() got a batch of 3 and returned 2 results"


@on_loop
async def test_a_batch_that_raised_runs_again_in_halves_where_that_does_no_harm():
    async with Stage(Model) as stage:
        ends = await held(stage, [stage.call("fragile", number=number) for number in range(5)])
        assert [end for end in ends if not isinstance(end, Exception)] == [0, 10, 20, 40]
        assert isinstance(ends[3], ModelError)
        assert stage.model.runs == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4], [2], [3, 4], [3], [4]]
        ends = await held(stage, [stage.call("brittle", number=number) for number in range(3)])
        assert [str(end) for end in ends] == ["ValueError: always"] * 3
        assert stage.model.runs[7:] == [[0, 1, 2]]


@on_loop
async def test_cost_bounds_a_batch():
    async with Stage(Model) as stage:
        await held(stage, [stage.call("costly", text="x" * size) for size in (4, 5, 3, 12, 1)])
        assert [[len(text) for text in run] for run in stage.model.runs] == [[4, 5], [3], [12], [1]]


@on_loop
async def test_what_is_no_cost_fails_its_own_call():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = [stage.call("weighed", text=text) for text in ("six...", *COSTS, "six...")]
        ends = (await held(stage, [first, *calls]))[1:]
        assert [end for end in ends if not isinstance(end, Exception)] == [6, 6]
        assert ends[1].message == "ValueError: cost: got -100, needs 0 or more"
        assert stage.model.runs[1:] == [["six..."], ["six..."]]  # together they cost too much


@on_loop
async def test_results_without_an_order_are_refused():
    async with Stage(Model) as stage:
        (failed,) = await held(stage, [stage.call("disordered", text="a")])
        assert failed.message == "disordered() got a batch of 1 and returned set; it has to return a list of 1"


@on_loop
async def test_usage_is_told_for_each_call():
    async with Stage(Model) as stage:
        stage.call("shout", text="x")
        await stage.until(lambda: 1 in stage.ends)
        calls = [stage.call("count", text=text) for text in ("a", "bcd")]
        assert await held(stage, calls) == [1, 3]
        (failed,) = await held(stage, [stage.call("miscount", text="x")])
        assert "needs one count for each of the calls" in str(failed)


@on_loop
async def test_bad_input_fails_alone():
    async with Stage(Model) as stage:
        good, bad = stage.call("shout", text="a"), stage.call("shout", payload=b"\xff\xff")
        ends = await held(stage, [good, bad])
        assert ends[0] == "A!"
        assert isinstance(ends[1], InvalidInput)


@on_loop
async def test_who_leaves_in_the_queue_is_not_run_and_who_leaves_later_gets_nothing():
    async with Stage(Model) as stage:
        running = await occupied(stage)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        stays, leaves = stage.call("shout", text="stays"), stage.call("shout", text="leaves")
        stage.executor.cancel(leaves)
        assert leaves in stage.ends
        stage.executor.cancel(running)
        assert running not in stage.ends  # its slot is taken until the device is done with it
        ends = await held(stage, [running, stays, leaves])
        assert [type(end).__name__ for end in ends] == ["Cancelled", "str", "Cancelled"]
        assert [texts for texts, _ in stage.model.runs] == [["first"], ["stays"]]


@on_loop
@pytest.mark.parametrize(
    ("method", "length"), [("shout", 0), ("double", 2), ("double", 16384)], ids=["texts", "short rows", "made ahead"]
)
async def test_who_leaves_a_batch_in_hand_is_not_run(method, length):
    async with Stage(Model) as stage:
        running = await occupied(stage)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        # Full batches are handed over while the device is busy.
        sent = [{"text": f"{n}"} if method == "shout" else {"row": np.full(length, n)} for n in range(8)]
        calls = [stage.call(method, **arguments) for arguments in sent]
        await busy(stage, 2)
        for call in calls[1:4]:
            stage.executor.cancel(call)
        ends = await held(stage, [running, *calls])
        left = [call for call, end in zip(calls, ends[1:], strict=True) if isinstance(end, Cancelled)]
        assert left == calls[1:4]
        assert sum(ran.size for ran in stage.batches) == 6
        assert [size for size in (ran.size for ran in stage.batches) if size != 1] in ([4], [5])


@on_loop
async def test_a_batch_in_hand_that_all_have_left_is_not_run():
    async with Stage(Model) as stage:
        running = await occupied(stage)
        await asyncio.to_thread(stage.model.entered.wait, 10)
        calls = [stage.call("shout", text="gone") for _ in range(4)]
        await busy(stage, 2)
        for call in calls:
            stage.executor.cancel(call)
        ends = await held(stage, [running, *calls])
        assert [type(end) for end in ends] == [str] + [Cancelled] * 4
        assert [texts for texts, _ in stage.model.runs] == [["first"]]
        assert [ran.size for ran in stage.batches] == [1]
        assert await stage.end(stage.call("shout", text="more")) == "MORE!"


@on_loop
async def test_a_call_is_not_run_after_its_deadline():
    async with Stage(Model) as stage:
        (end,) = await held(stage, [stage.call("shout", text="late", time_left=-1.0)])
        assert isinstance(end, DeadlineExceeded)
        assert not stage.model.runs


@on_loop
async def test_an_async_function_gets_batches_on_the_loop():
    async with Stage(Model) as stage:
        assert await held(stage, [stage.call("later", text=text) for text in ("ab", "cd")]) == ["ba", "dc"]
        assert stage.model.runs == [["ab", "cd"]]


@on_loop
async def test_streams_share_a_generator_and_end_one_by_one(monkeypatch):
    async with Stage(Model) as stage:
        policy, offered = stage.executor._batches._shared.policy, []
        offer = policy.offer
        monkeypatch.setattr(policy, "offer", lambda entry, now: (offered.append(entry), offer(entry, now)))
        calls = [stage.call("spell", word=word) for word in ("ab", "c-de", "")]
        await held(stage, calls)
        assert [stage.outputs[call] for call in calls] == [["a", "b"], ["c", "d", "e"], []]
        assert stage.order == [calls[2], calls[0], calls[1]]
        await closed(stage)
        assert stage.model.runs == [["ab", "c-de", ""]]
        await stage.until(lambda: len(stage.batches) == 7)
        # Steps are told by how many they served, and say nothing of how many fit into a batch.
        assert {entry.priority for entry in offered} == {3}
        opened, *steps, _ = [(ran.reason, ran.size) for ran in stage.batches]
        assert opened == ("idle", 3)
        assert steps == [("step", 3), ("step", 2), ("step", 2), ("step", 1), ("step", 1)]


@on_loop
async def test_a_slow_reader_paces_its_batch_and_a_leaver_does_not():
    async with Stage(Model) as stage:
        long = "x" * 200
        slow, other = stage.call("spell", word=long), stage.call("spell", word=long)
        stage.executor.grant(other, 200, 10_000)
        await stage.items(other, 64)
        await stage.until(lambda: len(stage.outputs[slow]) == 64)
        stage.executor.cancel(slow)
        await stage.end(other)
        assert len(stage.outputs[other]) == 200
        assert len(stage.outputs[slow]) == 64
        with pytest.raises(Exception, match="cancelled"):
            await stage.end(slow)


@on_loop
async def test_a_generator_is_closed_when_all_have_left():
    async with Stage(Model) as stage:
        calls = [stage.call("spell", word="x" * 200) for _ in range(2)]
        await stage.items(calls[0], 64)
        for call in calls:
            stage.executor.cancel(call)
        await held(stage, calls)
        await closed(stage)
        assert stage.model.closed.is_set()


@on_loop
@pytest.mark.parametrize(("method", "thread"), [("crooked", "device"), ("crooked_async", "loop")])
async def test_a_generator_is_closed_after_a_step_of_another_length(method, thread):
    async with Stage(Model) as stage:
        ends = await held(stage, [stage.call(method, word=word) for word in ("ab", "c")])
        assert {str(end) for end in ends} <= {
            "crooked() got a batch of 2 and returned 3 results",
            "crooked_async() got a batch of 2 and returned 0 results",
        }
        await closed(stage)
        assert stage.model.runs == [(thread, 2)]
