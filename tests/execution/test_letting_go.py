"""What is over is let go of at once, not when garbage is collected: its inputs may lie in memory that others want."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from runner import Batch, ModelClass
from tests.execution.models import Roots
from tests.execution.stage import Stage
from tests.running import on_loop, turns


class Model(Roots):
    @ModelClass.method(max_batch_size=8)
    def once(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        return self.root(row)

    @ModelClass.method(max_batch_size=8)
    def some(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        return [ValueError("below zero") if each[0] < 0 else "none" if each[0] == 0 else each for each in row]


@pytest.fixture
def without_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # pytest keeps what is logged, and with it the exceptions.
    monkeypatch.setattr(logging.getLogger("runner.model"), "disabled", True)
    gc.disable()
    yield
    gc.enable()


METHODS = ["root", "root_later", "once", "some"]


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("numbers", [[4], [-1], [0], [4, -1, 9], [-1, 0, -1]])
@pytest.mark.parametrize("method", METHODS)
@on_loop
async def test_calls(method: str, numbers: list[int]):
    async with Stage(Model) as stage:
        calls = [stage.call(method, row=np.full(3, float(number))) for number in numbers]
        gone = [weakref.ref(stage.executor._calls[call]) for call in calls]
        await stage.until(lambda: stage.ends.keys() == stage.names.keys())
        stage.ends = dict.fromkeys(stage.ends)
        await turns()
        assert [ref() for ref in gone] == [None] * len(calls)


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("numbers", [[4, 4], [-1, -1], [0, 0], [4, -1, 9], [-1, 0, -1]])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("method", METHODS)
@on_loop
async def test_lists(method: str, numbers: list[int], known: bool):
    async with Stage(Model) as stage:
        if known:  # so that the list is read at once
            await stage.end(stage.call(method, row=np.ones(3)))
        rows = [{"row": np.full(3, float(number))} for number in numbers]
        call = stage.call_list(method, *rows)
        gone = weakref.ref(stage.executor._calls[call])
        await stage.until(lambda: call in stage.ends)
        stage.ends = dict.fromkeys(stage.ends)
        await turns()
        assert gone() is None


@pytest.mark.usefixtures("without_collector")
@on_loop
async def test_lists_of_which_inputs_cannot_be_read():
    async with Stage(Model) as stage:
        call = stage.call_list("root", {"row": np.ones(3)}, b"\xff", {"row": np.ones(3)})
        gone = weakref.ref(stage.executor._calls[call])
        await stage.until(lambda: call in stage.ends)
        stage.ends = dict.fromkeys(stage.ends)
        await turns()
        assert gone() is None


@pytest.mark.usefixtures("without_collector")
@on_loop
async def test_lists_that_nobody_waits_for():
    async with Stage(Model) as stage:
        call = stage.call_list("root", {"row": np.ones(3)}, {"row": np.ones(2)})
        gone = weakref.ref(stage.executor._calls[call])
        stage.executor.cancel(call)
        await stage.until(lambda: call in stage.ends)
        stage.ends = dict.fromkeys(stage.ends)
        await turns()
        assert gone() is None
