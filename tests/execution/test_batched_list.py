"""Several inputs in one call: they run together where they can, and each has an end of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from runner import Batch, ModelClass
from runner.context import CallContext
from runner.errors import Cancelled, DeadlineExceeded, FetchFailed, InvalidInput, MethodNotFound, ModelError
from runner.execution.batched_list import BatchedList
from runner.execution.executor import Incoming
from runner.execution.journal import Mark
from runner.types import Text
from runner.wire.pb import inference_pb2 as pb
from tests.execution.models import Gated, Roots, occupied, texts
from tests.execution.stage import Stage
from tests.running import on_loop, turns


class Model(Gated, Roots):
    @ModelClass.method(max_batch_size=8, cost=len, max_batch_cost=10)
    def costly(self, text: Batch[str]) -> Batch[int]:
        self.runs.append(list(text))
        return [len(each) for each in text]

    @ModelClass.method(max_batch_size=64, slo_ms=100)
    def soon(self, text: Batch[str]) -> Batch[str]:
        self.runs.append(len(text))
        return text

    @ModelClass.method(max_batch_size=8)
    def read(self, text: Batch[Text]) -> Batch[str]:
        self.runs.append(len(text))
        return [each.text for each in text]

    @ModelClass.method(max_batch_size=8)
    async def later(self, text: Batch[str]) -> Batch[str]:
        await asyncio.sleep(0)
        self.runs.append(list(text))
        return [each[::-1] for each in text]


def told_usage(stage: Stage, method: str) -> list[int]:
    """Return where the prompt tokens of the method's outputs are noted from now on."""
    told: list[int] = []
    codec = stage.methods[stage.index[method]].codec
    decode = codec.decode_output

    def noted(payload: Any) -> object:
        told.append(pb.Output.FromString(bytes(payload)).prompt_tokens)
        return decode(payload)

    codec.decode_output = noted
    return told


@on_loop
async def test_inputs_of_a_list_run_in_one_batch_with_other_calls():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        several, one = stage.call_list("shout", *texts("a", "b", "c")), stage.call("shout", text="d")
        stage.model.gate.set()
        assert await stage.end(several) == ["A!", "B!", "C!"]
        assert (await stage.end(one), await stage.end(first)) == ("D!", "FIRST!")
        assert stage.model.runs == [["first"], ["a", "b", "c", "d"]]
        assert stage.model.ids[1] == ["r2", "r2", "r2", "r3"]
        assert [(ran.size, ran.reason) for ran in stage.batches] == [(1, "idle"), (4, "full")]
        assert stage.times[several].batch_size == 4


@on_loop
async def test_a_list_that_does_not_fit_waits_for_the_next_batch():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        calls = [stage.call_list("shout", *texts(*names)) for names in ("abc", "de", "fg")]
        stage.model.gate.set()
        assert [await stage.end(call) for call in calls] == [["A!", "B!", "C!"], ["D!", "E!"], ["F!", "G!"]]
        await stage.end(first)
        assert stage.model.runs[1:] == [["a", "b", "c"], ["d", "e", "f", "g"]]


@on_loop
async def test_what_must_not_share_a_batch_does_not():
    async with Stage(Model) as stage:
        inputs = [{"text": "a"}, {"text": "b", "mark": "?"}, {"text": "c"}, {"text": "d", "mark": "?"}]
        assert await stage.end(stage.call_list("shout", *inputs)) == ["A!", "B?", "C!", "D?"]
        assert stage.model.runs == [["a", "c"], ["b", "d"]]
        rows = [np.ones(2), np.ones(3), np.ones(2) * 5]
        doubled = await stage.end(stage.call_list("double", *({"row": row} for row in rows)))
        for row, result in zip(rows, doubled, strict=True):
            np.testing.assert_array_equal(result, row * 2)
        assert stage.model.runs[2:] == [(2, 2), (1, 3)]


@on_loop
async def test_cost_and_size_bound_the_batches_of_a_list():
    async with Stage(Model) as stage:
        sizes = [4, 5, 3, 12, 1]
        assert await stage.end(stage.call_list("costly", *texts(*("x" * size for size in sizes)))) == sizes
        assert [[len(text) for text in run] for run in stage.model.runs] == [[4, 5], [3], [12], [1]]
        stage.model.runs.clear()
        await stage.end(stage.call_list("shout", *texts(*"abcdefghi")))
        assert stage.model.runs == [list("abcd"), list("efgh"), ["i"]]


@pytest.mark.parametrize("alike", [True, False])
@on_loop
async def test_a_list_is_cut_to_what_an_objective_leaves_time_for(alike: bool):
    async with Stage(Model) as stage:
        if alike:
            await known(stage, "soon", text="z")
        coalescer, point, _ = stage.executor._batches._places["soon"]
        for _ in range(50):
            coalescer.policy.latency.update(point, 10.0, 0.1)
        sent = list("abcdefghijkl")
        assert await stage.end(stage.call_list("soon", *texts(*sent))) == sent
        assert sum(stage.model.runs) == 12
        assert max(stage.model.runs) <= 10


@on_loop
async def test_what_cannot_be_read_fails_alone():
    async with Stage(Model) as stage:
        zero, one, two = await stage.end(stage.call_list("shout", {"text": "a"}, b"\xff", {"text": "c"}))
        assert (zero, two) == ("A!", "C!")
        assert isinstance(one, InvalidInput)
        assert stage.model.runs == [["a", "c"]]
        for end in await stage.end(stage.call_list("shout", b"\xff", b"\xff")):
            assert isinstance(end, InvalidInput)


@on_loop
async def test_a_list_that_is_cut_off_is_refused():
    async with Stage(Model) as stage:
        stage.inputs[1] = 2
        stage.names[1] = "shout"
        next(stage.ids)
        stage.executor.start(Incoming(1, stage.index["shout"], b"\x22\x05ab", b"", CallContext(), 2))
        with pytest.raises(InvalidInput, match="no run of 2"):
            await stage.end(1)


@on_loop
async def test_an_exception_in_the_results_is_its_own_inputs():
    async with Stage(Model) as stage:
        zero, one, two = await stage.end(stage.call_list("shout", *texts("a", "bad", "c")))
        assert (zero, two) == ("A!", "C!")
        assert isinstance(one, ModelError)
        assert one.message == "ValueError: no bad"


@on_loop
async def test_a_batch_that_raised_runs_again_in_halves():
    async with Stage(Model) as stage:
        ends = await stage.end(stage.call_list("shout", *texts("a", "b", "raise", "d")))
        assert [end for end in ends if not isinstance(end, Exception)] == ["A!", "B!", "D!"]
        assert isinstance(ends[2], ModelError)
        assert stage.model.runs == [["a", "b", "raise", "d"], ["a", "b"], ["raise", "d"], ["raise"], ["d"]]


@pytest.mark.parametrize("method", ["root", "root_later"])
@on_loop
async def test_arrays_that_run_again_in_halves_are_all_there(method: str):
    async with Stage(Model) as stage:
        sent = [4.0, 9.0, -1.0, 16.0, 25.0]
        calls = [stage.call(method, row=np.full(3, number)) for number in sent]
        several = stage.call_list(method, *({"row": np.full(3, number)} for number in sent))
        for call in calls:
            await stage.until(lambda call=call: call in stage.ends)
        for ends in ([stage.ends[call] for call in calls], await stage.end(several)):
            for number, end in zip(sent, ends, strict=True):
                if number < 0:
                    assert isinstance(end, ModelError)
                else:
                    np.testing.assert_array_equal(end, np.full(3, np.sqrt(number)))


@on_loop
async def test_usage_is_told_of_the_input_it_belongs_to_in_whatever_batch_it_runs():
    async with Stage(Model) as stage:
        told = told_usage(stage, "counted")
        lengths = [2, 1, 2, 3]  # of which those that are alone in their batches are not the first
        rows = [np.full(length, float(number)) for number, length in enumerate(lengths, start=1)]
        await stage.end(stage.call_list("counted", *({"row": row} for row in rows)))
        assert told == [1, 2, 3, 4]
        told.clear()
        await stage.end(stage.call_list("counted", *({"row": row} for row in rows[1:3])))
        assert told == [2, 3]


@on_loop
async def test_coroutines_get_lists_too():
    async with Stage(Model) as stage:
        assert await stage.end(stage.call_list("later", *texts("ab", "cd"))) == ["ba", "dc"]
        assert stage.model.runs == [["ab", "cd"]]


@on_loop
async def test_inputs_given_by_url_are_fetched_and_fail_alone():
    async with Stage(Model) as stage:
        call = stage.call_list("read", {"text": Text(url="http://a/")}, {"text": Text("here")}, b"\xff")
        await stage.fetcher.asked.wait()
        stage.fetcher.go.set()
        zero, one, two = await stage.end(call)
        assert (zero, one) == ("fetched", "here")
        assert isinstance(two, InvalidInput)
        assert stage.model.runs == [2]
        stage.fetcher.failure = FetchFailed("not there")
        zero, one = await stage.end(stage.call_list("read", {"text": Text(url="http://a/")}, {"text": Text("here")}))
        assert isinstance(zero, FetchFailed)
        assert one == "here"
        assert stage.executor.journal.mark_of(call) is not Mark.TOUCHED


@on_loop
async def test_a_list_that_is_not_waited_for_leaves_while_it_is_fetched_and_while_it_waits():
    async with Stage(Model) as stage:
        fetching = stage.call_list("read", {"text": Text(url="http://a/")}, {"text": Text("here")})
        await stage.fetcher.asked.wait()
        stage.executor.cancel(fetching)
        with pytest.raises(Cancelled):
            await stage.end(fetching)
        first = await occupied(stage)
        waiting = stage.call_list("shout", *texts("a", "b"))
        await turns()
        stage.executor.cancel(waiting)
        assert all(isinstance(end, Cancelled) for end in await stage.end(waiting))
        stage.model.gate.set()
        await stage.end(first)
        assert stage.model.runs == [["first"]]


@on_loop
async def test_a_list_that_is_not_waited_for_while_it_runs_tells_nothing_of_its_results():
    async with Stage(Model) as stage:
        stage.model.gate.clear()
        call = stage.call_list("shout", *texts("a", "b"))
        await asyncio.to_thread(stage.model.entered.wait, 10)
        stage.executor.cancel(call)
        stage.model.gate.set()
        assert all(isinstance(end, Cancelled) for end in await stage.end(call))


@on_loop
async def test_a_deadline_is_every_inputs():
    async with Stage(Model) as stage:
        first = await occupied(stage)
        call = stage.call_list("shout", *texts("a", "b"), time_left=0.01)
        ends = await stage.end(call)
        assert all(isinstance(end, DeadlineExceeded) for end in ends)
        stage.model.gate.set()
        await stage.end(first)
        assert stage.model.runs == [["first"]]


@on_loop
async def test_a_method_without_batches_takes_no_list():
    async with Stage(Model) as stage:
        with pytest.raises(MethodNotFound):
            await stage.end(stage.call_list("alone", *texts("a", "b")))


# Inputs that are alike.


async def known(stage: Stage, method: str = "shout", **given: Any) -> None:
    """Have a call read, so that those that are alike can be read by likeness."""
    await stage.end(stage.call(method, **given))
    stage.model.runs.clear()
    stage.model.ids.clear()


@pytest.fixture
def read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the inputs that are read by themselves."""
    places: list[int] = []
    take = BatchedList._take

    def counted(self: BatchedList, place: int, *rest: Any) -> None:
        places.append(place)
        take(self, place, *rest)

    monkeypatch.setattr(BatchedList, "_take", counted)
    return places


@on_loop
async def test_alike_texts_are_read_at_once(read_one_by_one):
    async with Stage(Model) as stage:
        await known(stage, text="z")
        first = await occupied(stage)
        several, one = stage.call_list("shout", *texts("a", "b", "c")), stage.call("shout", text="d")
        stage.model.gate.set()
        assert await stage.end(several) == ["A!", "B!", "C!"]
        assert (await stage.end(one), await stage.end(first)) == ("D!", "FIRST!")
        assert stage.model.runs == [["first"], ["a", "b", "c", "d"]]
        assert stage.model.ids[1] == ["r3", "r3", "r3", "r4"]
        assert not read_one_by_one


@on_loop
async def test_alike_arrays_are_read_and_written_at_once(read_one_by_one):
    async with Stage(Model) as stage:
        await known(stage, "double", row=np.zeros(3))
        first = await occupied(stage)
        rows = [np.full(3, float(number)) for number in range(4)]
        several = stage.call_list("double", *({"row": row} for row in rows[:3]))
        one = stage.call("double", row=rows[3])
        stage.model.gate.set()
        for row, result in zip(rows, [*await stage.end(several), await stage.end(one)], strict=True):
            np.testing.assert_array_equal(result, row * 2)
        await stage.end(first)
        assert stage.model.runs == [["first"], (4, 3)]
        assert not read_one_by_one


@on_loop
async def test_arrays_that_were_read_at_once_share_a_batch_with_those_that_were_not(read_one_by_one):
    async with Stage(Model) as stage:
        first = await occupied(stage)
        rows = [np.full(3, float(number)) for number in range(5)]
        lists = [stage.call_list("double", *({"row": row} for row in part)) for part in (rows[:2], rows[2:4])]
        one = stage.call("double", row=rows[4])
        stage.model.gate.set()
        results = [*await stage.end(lists[0]), *await stage.end(lists[1]), await stage.end(one)]
        for row, result in zip(rows, results, strict=True):
            np.testing.assert_array_equal(result, row * 2)
        await stage.end(first)
        assert stage.model.runs == [["first"], (5, 3)]
        assert read_one_by_one == [0, 1]


@on_loop
async def test_alike_inputs_fail_alone(read_one_by_one):
    async with Stage(Model) as stage:
        await known(stage, text="xxx")
        one, two, three = await stage.end(stage.call_list("shout", *texts("abc", "bad", "def")))
        assert (one, three) == ("ABC!", "DEF!")
        assert isinstance(two, ModelError)
        await known(stage, text="xxxxx")
        ends = await stage.end(stage.call_list("shout", *texts("abcde", "raise")))
        assert ends[0] == "ABCDE!"
        assert isinstance(ends[1], ModelError)
        assert stage.model.runs == [["abcde", "raise"], ["abcde"], ["raise"]]
        assert not read_one_by_one


@on_loop
async def test_usage_is_told_for_each_of_alike_inputs():
    async with Stage(Model) as stage:
        await known(stage, "counted", row=np.zeros(2))
        told = told_usage(stage, "counted")
        await stage.end(stage.call_list("counted", *({"row": np.full(2, float(number))} for number in range(3))))
        assert told == [0, 1, 2]


@on_loop
async def test_alike_inputs_that_are_too_many_for_a_batch_run_in_several():
    async with Stage(Model) as stage:
        await known(stage, text="z")
        await stage.end(stage.call_list("shout", *texts(*"abcdefghi")))
        assert stage.model.runs == [list("abcd"), list("efgh"), ["i"]]


@on_loop
async def test_a_shared_argument_that_differs_parts_batches_of_alike_inputs_too():
    async with Stage(Model) as stage:
        inputs = [{"text": "a", "mark": mark} for mark in "!?!?"]
        await known(stage, text="z", mark="!")
        assert await stage.end(stage.call_list("shout", *inputs)) == ["A!", "A?", "A!", "A?"]
        assert stage.model.runs == [["a", "a"], ["a", "a"]]


@on_loop
async def test_alike_inputs_are_not_run_once_nobody_waits():
    async with Stage(Model) as stage:
        await known(stage, text="z")
        first = await occupied(stage)
        call = stage.call_list("shout", *texts("a", "b"))
        await turns()
        stage.executor.cancel(call)
        assert all(isinstance(end, Cancelled) for end in await stage.end(call))
        stage.model.gate.set()
        await stage.end(first)
        assert stage.model.runs == [["first"]]


@on_loop
async def test_a_context_of_alike_inputs_knows_that_nobody_waits():
    async with Stage(Model) as stage:
        await known(stage, text="z")
        stage.model.gate.clear()
        stage.model.entered.clear()
        call = stage.call_list("shout", *texts("a", "b"))
        await asyncio.to_thread(stage.model.entered.wait, 10)
        stage.executor.cancel(call)
        stage.model.gate.set()
        assert all(isinstance(end, Cancelled) for end in await stage.end(call))
        assert stage.model.ids == [["r2", "r2"]]
