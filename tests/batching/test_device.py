"""The thread that runs batches."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from runner.batching.device import DeviceThread, Marks, Outcome, Prepared, Run


class Threaded:
    """A device thread, and what it posts, which nobody runs."""

    def __init__(self, marks: Marks | None = None) -> None:
        self.order: list[str] = []
        self.posted: list[Outcome] = []
        self.device = DeviceThread(self._post, lambda: self.order.append("begins"), marks)

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        self.posted.extend(args)


@pytest.fixture
def threaded() -> Iterator[Threaded]:
    threaded = Threaded()
    yield threaded
    threaded.device.close()


def test_a_function_is_run_where_batches_run_and_after_those_in_hand(threaded: Threaded) -> None:
    def run(name: str) -> int:
        threaded.order.append(name)
        return threading.get_ident()

    where: list[int] = []
    threaded.device.submit(Run(prepare=lambda: "batch", run=lambda name: where.append(run(name)), done=print))
    assert threaded.device.call(lambda: run("function")) == where[0] != threading.get_ident()
    assert threaded.order == ["begins", "batch", "function"]
    assert threaded.device.call(threaded.device.is_current_thread)
    assert len(threaded.posted) == 1  # of the batch: a loop that waits is not told on the loop


def test_what_a_function_raises_is_raised_with_the_frames_of_both_threads(threaded: Threaded) -> None:
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as told:
        threaded.device.call(fails)
    names = [frame.name for frame in traceback.extract_tb(told.value.__traceback__)]
    assert names[0] == test_what_a_function_raises_is_raised_with_the_frames_of_both_threads.__name__
    assert names[-1] == "fails"
    assert threaded.device.call(lambda: "and goes on") == "and goes on"


def test_what_is_ready_at_once_does_not_overtake_what_is_made_ready(threaded: Threaded) -> None:
    go = threading.Event()

    def prepare() -> str:
        go.wait()
        return "ahead"

    run = threaded.order.append
    threaded.device.submit(Run(prepare=prepare, run=run, done=print, prepared=Prepared.MEANWHILE))
    threaded.device.submit(Run(prepare=lambda: "at once", run=run, done=print, prepared=Prepared.AT_ONCE))
    threaded.device.submit(Run(prepare=lambda: "last", run=run, done=print))
    go.set()
    threaded.device.call(lambda: None)
    assert threaded.order == ["begins", "ahead", "at once", "last"]


@pytest.mark.parametrize("prepared", Prepared)
def test_a_batch_is_prepared_where_it_should_be(threaded: Threaded, prepared: Prepared) -> None:
    where: list[int] = []
    prepare = partial(_note_thread, where)
    threaded.device.submit(Run(prepare=prepare, run=lambda _: _note_thread(where), done=print, prepared=prepared))
    threaded.device.call(lambda: None)
    assert (where[0] == threading.get_ident()) is (prepared is Prepared.AT_ONCE)
    assert (where[0] == where[1]) is (prepared is Prepared.LAST)


def _note_thread(where: list[int]) -> None:
    where.append(threading.get_ident())


@pytest.mark.parametrize("prepared", Prepared)
def test_a_batch_that_cannot_be_prepared_is_told_so(threaded: Threaded, prepared: Prepared) -> None:
    def prepare() -> None:
        raise KeyError("x")

    threaded.device.submit(Run(prepare=prepare, run=threaded.order.append, done=print, prepared=prepared))
    threaded.device.call(lambda: None)
    assert [type(outcome.error) for outcome in threaded.posted] == [KeyError]
    assert threaded.order == ["begins"]


class Broken:
    """A GPU that fails before anything has begun."""

    def around(self, function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
        raise OSError("the GPU is gone")


def test_a_device_that_fails_leaves_nobody_waiting() -> None:
    threaded = Threaded(Broken())
    try:
        with pytest.raises(OSError, match="the GPU is gone"):
            threaded.device.call(lambda: None)
    finally:
        threaded.device.close()
