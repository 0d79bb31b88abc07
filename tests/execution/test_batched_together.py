"""Calls that came in one message: they run together, and each is cancelled, times out and fails for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from runner import Batch, ModelClass
from runner.errors import Cancelled, DeadlineExceeded, InvalidInput, ModelError
from runner.execution.batched import BatchedCall
from runner.wire.pb import inference_pb2 as pb
from tests.execution.models import Gated, occupied, texts
from tests.execution.stage import Stage
from tests.running import on_loop, turns


class Model(Gated):
    @ModelClass.method(max_batch_size=8, cost=len, max_batch_cost=5)
    def costly(self, text: Batch[str]) -> Batch[str]:
        self.runs.append(list(text))
        return list(text)


async def ends(stage: Stage, calls: Sequence[int]) -> list[Any]:
    return await asyncio.gather(*map(stage.end, calls), return_exceptions=True)


@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
@on_loop
async def test_they_run_in_one_batch(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="z"))
            stage.model.runs.clear()
            stage.model.ids.clear()
        calls = stage.call_together("shout", *texts("a", "b", "c"))
        assert await ends(stage, calls) == ["A!", "B!", "C!"]
        assert stage.model.runs == [["a", "b", "c"]]
        assert stage.model.ids == [[f"r{call}" for call in calls]]
        assert [stage.times[call].batch_size for call in calls] == [3, 3, 3]


@on_loop
async def test_arrays_that_are_alike_are_read_and_written_at_once():
    async with Stage(Model) as stage:
        await stage.end(stage.call("double", row=np.zeros(3)))
        rows = [np.full(3, float(number)) for number in range(4)]
        calls = stage.call_together("double", *({"row": row} for row in rows))
        for row, result in zip(rows, await ends(stage, calls), strict=True):
            np.testing.assert_array_equal(result, row * 2)
        assert stage.model.runs[1:] == [(4, 3)]
        assert stage.together == [(calls[0], 4)]


@on_loop
async def test_they_fill_batches_with_others_and_go_in_several():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b", "c", "d", "e"))
        calls += [stage.call("shout", text="f")]
        stage.model.gate.set()
        assert await ends(stage, calls) == ["A!", "B!", "C!", "D!", "E!", "F!"]
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "b", "c", "d"], ["e", "f"]]


@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
@on_loop
async def test_what_does_not_fit_into_a_batch_is_divided(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="z"))
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b", "c")) + stage.call_together(
            "shout", *texts("d", "e", "f")
        )
        stage.model.gate.set()
        assert await ends(stage, calls) == ["A!", "B!", "C!", "D!", "E!", "F!"]
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "b", "c", "d"], ["e", "f"]]


@on_loop
async def test_arrays_are_divided_too_and_the_rest_can_be_cancelled():
    async with Stage(Model) as stage:
        await stage.end(stage.call("double", row=np.zeros(3)))
        first = await occupied(stage)
        rows = [np.full(3, float(number)) for number in range(10)]
        calls = stage.call_together("double", *({"row": row} for row in rows[:5]))
        calls += stage.call_together("double", *({"row": row} for row in rows[5:]))
        await turns()  # eight of them are in hand
        stage.executor.cancel(calls[9])
        stage.model.gate.set()
        results = await ends(stage, calls)
        for row, result in zip(rows[:9], results[:9], strict=True):
            np.testing.assert_array_equal(result, row * 2)
        assert isinstance(results[9], Cancelled)
        await stage.end(first)
        assert stage.model.runs[-2:] == [(8, 3), (1, 3)]
        assert stage.together == [(calls[0], 5), (calls[5], 3)]


@on_loop
async def test_what_must_not_share_a_batch_does_not():
    async with Stage(Model) as stage:
        inputs = [{"text": "a"}, {"text": "b", "mark": "?"}, {"text": "c"}, {"text": "d", "mark": "?"}]
        assert await ends(stage, stage.call_together("shout", *inputs)) == ["A!", "B?", "C!", "D?"]
        assert stage.model.runs == [["a", "c"], ["b", "d"]]


@on_loop
async def test_what_is_alike_in_two_ways_does_not_share_a_batch():
    async with Stage(Model) as stage:
        plain, marked = texts("a", "b"), [{**each, "mark": "?"} for each in texts("c", "d")]
        for given in (plain, marked) * 2:
            await ends(stage, [stage.call("shout", **given[0])])
        first = await occupied(stage)
        calls = stage.call_together("shout", *plain) + stage.call_together("shout", *marked)
        calls += stage.call_together("shout", *plain)
        stage.model.gate.set()
        assert await ends(stage, calls) == ["A!", "B!", "C?", "D?", "A!", "B!"]
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "b", "a", "b"], ["c", "d"]]


@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
@on_loop
async def test_each_fails_for_itself(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="zzz"))
            stage.model.runs.clear()
        one, two, three = await ends(stage, stage.call_together("shout", *texts("abc", "bad", "def")))
        assert (one, three) == ("ABC!", "DEF!")
        assert isinstance(two, ModelError)
        zero, broken, last = await ends(stage, stage.call_together("shout", {"text": "a"}, b"\xff", {"text": "c"}))
        assert (zero, last) == ("A!", "C!")
        assert isinstance(broken, InvalidInput)
        stage.model.runs.clear()
        halves = await ends(stage, stage.call_together("shout", *texts("abcde", "raise")))
        assert halves[0] == "ABCDE!"
        assert isinstance(halves[1], ModelError)
        assert stage.model.runs == [["abcde", "raise"], ["abcde"], ["raise"]]


@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
@on_loop
async def test_one_that_is_cancelled_while_it_waits_is_not_run(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="z"))
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b", "c"))
        stage.executor.cancel(calls[1])
        with pytest.raises(Cancelled):
            await stage.end(calls[1])
        stage.model.gate.set()
        assert await ends(stage, [calls[0], calls[2]]) == ["A!", "C!"]
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "c"]]


@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
@on_loop
async def test_one_that_is_cancelled_while_its_batch_is_in_hand_is_not_run(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="z"))
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b", "c", "d"))  # a full batch, which the device has at once
        await turns()
        stage.executor.cancel(calls[1])
        await turns()
        stage.model.gate.set()
        found = await ends(stage, calls)
        assert [each for each in found if not isinstance(each, Exception)] == ["A!", "C!", "D!"]
        assert isinstance(found[1], Cancelled)
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "c", "d"]]


@on_loop
async def test_one_that_is_cancelled_while_it_runs_is_told_nothing_of_its_result():
    async with Stage(Model) as stage:
        stage.model.gate.clear()
        calls = stage.call_together("shout", *texts("a", "b"))
        await asyncio.to_thread(stage.model.entered.wait, 10)
        stage.executor.cancel(calls[0])
        stage.model.gate.set()
        one, other = await ends(stage, calls)
        assert isinstance(one, Cancelled)
        assert other == "B!"


@on_loop
async def test_none_is_run_once_all_are_cancelled():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b"))
        for call in calls:
            stage.executor.cancel(call)
        assert all(isinstance(end, Cancelled) for end in await ends(stage, calls))
        stage.model.gate.set()
        await stage.end(first)
        assert stage.model.runs == [["first"]]


@on_loop
async def test_a_deadline_is_its_own_calls():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = stage.call_together("shout", *texts("a", "b", "c"), times_left=[None, 0.01, 60])
        with pytest.raises(DeadlineExceeded):
            await stage.end(calls[1])
        stage.model.gate.set()
        assert await ends(stage, [calls[0], calls[2]]) == ["A!", "C!"]
        await stage.end(first)
        assert stage.model.runs == [["first"], ["a", "c"]]


@on_loop
@pytest.mark.parametrize("known", [False, True], ids=["the first", "alike"])
async def test_the_deadline_of_one_who_went_before_is_not_that_of_those_who_wait(known):
    async with Stage(Model) as stage:
        if known:
            await stage.end(stage.call("shout", text="z"))
            stage.model.runs.clear()
        first = await occupied(stage)
        other = stage.call("shout", text="o")
        calls = stage.call_together("shout", *texts("a", "b", "c", "d"), times_left=[0.02])
        deadline = stage.executor._calls[calls[0]]._contexts.deadline(0)
        while stage.executor._batches._shared._in_hand < 2:
            await turns(1)
        while time.monotonic() <= deadline:
            await turns(1)
        stage.model.gate.set()
        assert await ends(stage, [first, other, *calls[1:]]) == ["FIRST!", "O!", "B!", "C!", "D!"]
        await ends(stage, calls[:1])
        assert stage.model.runs[-1] == ["d"]


@on_loop
async def test_who_stays_when_another_leaves_keeps_their_turn():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        leaves, stays = stage.call_together("shout", *texts("a", "b"))
        later = stage.call("shout", text="c", mark="?")
        stage.executor.cancel(leaves)
        stage.model.gate.set()
        await ends(stage, [first, leaves, stays, later])
        assert stage.model.runs == [["first"], ["b"], ["c"]]


@on_loop
async def test_usage_is_told_for_each():
    async with Stage(Model) as stage:
        await stage.end(stage.call("counted", row=np.zeros(2)))
        counts: list[int] = []
        codec = stage.methods[stage.index["counted"]].codec
        decode = codec.decode_output

        def noted(payload: Any) -> object:
            counts.append(pb.Output.FromString(bytes(payload)).prompt_tokens)
            return decode(payload)

        codec.decode_output = noted  # type: ignore[method-assign]
        await ends(stage, stage.call_together("counted", *({"row": np.full(2, float(n))} for n in range(3))))
        assert counts == [0, 1, 2]


@pytest.mark.parametrize("method", ["costly", "alone"])
@on_loop
async def test_what_cannot_be_read_at_once_is_started_one_by_one(method):
    async with Stage(Model) as stage:
        assert await ends(stage, stage.call_together(method, *texts("abc", "de", "f"))) == ["abc", "de", "f"]
        if method == "costly":
            assert stage.model.runs == [["abc", "de"], ["f"]]


@on_loop
async def test_an_old_call_among_them_goes_by_itself(monkeypatch):
    alone: list[int] = []
    start = BatchedCall.start

    def noted(self: BatchedCall) -> None:
        alone.append(self.call_id)
        start(self)

    monkeypatch.setattr(BatchedCall, "start", noted)
    async with Stage(Model) as stage:
        old = pb.Input(data=pb.Data(string_value="old")).SerializeToString()
        calls = stage.call_together("shout", {"text": "a"}, old, {"text": "c"})
        await asyncio.gather(*map(stage.end, calls))
        assert alone == [calls[1]]


@on_loop
async def test_closing_ends_all_of_them():
    async with Stage(Model) as stage:
        await occupied(stage)
        stage.call_together("shout", *texts("a", "b"))
        stage.executor.cancel(1)
        stage.model.gate.set()
