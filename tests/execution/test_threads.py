from __future__ import annotations

import gc
import itertools
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable

import pytest

from runner.execution.threads import ThreadLane
from tests.running import TOO_LONG, Latch, Signal, on_loop


async def ran(lane: ThreadLane, jobs: int, job: Callable[[], object]) -> None:
    """Submit so many jobs at once, and wait until all have run."""
    ended, done = itertools.count(1), Signal()

    def run() -> None:
        job()
        if next(ended) == jobs:
            done.set()

    for _ in range(jobs):
        lane.submit(run)
    await done.wait()


def until_all_sleep(lane: ThreadLane) -> None:
    """Wait for what threads do after their last job."""
    while len(lane._asleep) < len(lane._threads):
        os.sched_yield()


class Held:
    """A job that begins, and ends once it is let go."""

    def __init__(self) -> None:
        self.started, self.ended = Signal(), Signal()
        self._latch = Latch()

    def __call__(self) -> None:
        self.started.set()
        self._latch.pass_through()
        self.ended.set()

    def let_go(self) -> None:
        self._latch.open()


@on_loop
async def test_jobs_start_in_order_and_share_the_threads():
    lane = ThreadLane("test", 2, lambda: None)
    held = Held()
    order: list[int] = []
    threads: set[str] = set()

    def job(number: int) -> None:
        order.append(number)
        threads.add(threading.current_thread().name)
        held()

    for number in range(6):
        lane.submit(lambda number=number: job(number))
    await held.started.wait(2)
    assert sorted(order) == [0, 1]
    held.let_go()
    await held.ended.wait(6)
    assert sorted(order[2:]) == [2, 3, 4, 5]
    assert threads == {"test-0", "test-1"}
    lane.close()


@on_loop
async def test_an_idle_thread_is_used_again():
    lane = ThreadLane("test", 8, lambda: None)
    done = Signal()
    used: list[int] = []

    def job() -> None:
        used.append(threading.get_ident())
        done.set()

    for count in range(1, 6):
        lane.submit(job)
        await done.wait(count)
        until_all_sleep(lane)
    assert len(set(used)) == 1
    lane.close()


@on_loop
async def test_an_idle_thread_keeps_nothing_of_the_last_job():
    class Argument:
        pass

    lane = ThreadLane("test", 1, lambda: None)
    argument = Argument()
    gone = weakref.ref(argument)
    lane.submit(lambda argument=argument: None)
    del argument
    until_all_sleep(lane)
    gc.collect()
    assert gone() is None
    lane.close()


@on_loop
async def test_jobs_that_wait_hold_up_nobody():
    lane = ThreadLane("test", 16, lambda: None)
    held = Held()
    for _ in range(20):
        lane.submit(held)
    await held.started.wait(16)
    assert held.started.count == 16
    assert len(lane._threads) == 16
    held.let_go()
    await held.started.wait(20)
    lane.close()


@on_loop
async def test_of_two_jobs_one_may_wait_for_the_next():
    # Whoever takes the first has to see that somebody takes the second, which may come before, while or after it looks.
    lane = ThreadLane("test", 2, lambda: None)
    ended = Signal()

    def submit_pair() -> None:
        latch = Latch()
        lane.submit(latch.pass_through)
        lane.submit(lambda: (latch.open(), ended.set()))

    for count in range(1, 501):
        submit_pair()
        if count % 3:
            await ended.wait(count)
    await ended.wait(500)
    lane.close()


@on_loop
async def test_short_jobs_share_few_threads():
    lane = ThreadLane("test", 64, lambda: None)
    for _ in range(20):
        await ran(lane, 100, lambda: None)
    assert len(lane._threads) < 32
    lane.close()


@on_loop
async def test_threads_that_waited_leave_short_jobs_to_few():
    lane = ThreadLane("test", 64, lambda: None)
    both, by = threading.Barrier(64), Counter[int]()
    await ran(lane, 64, lambda: both.wait(TOO_LONG))
    assert len(lane._threads) == 64
    await ran(lane, 5000, lambda: by.update([threading.get_ident()]))
    assert sum(count for _, count in by.most_common(8)) > 2500
    lane.close()


@on_loop
async def test_where_the_system_has_no_more_threads_those_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch):
    lane = ThreadLane("test", 8, lambda: None)
    held = Held()
    lane.submit(held)
    await held.started.wait(1)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", start)
        lane.submit(held)
        assert held.started.count == 1
        lone = ThreadLane("lone", 8, lambda: None)
        with pytest.raises(RuntimeError, match="no thread"):
            lone.submit(held)
    held.let_go()
    await held.ended.wait(2)
    lane.close()


@on_loop
async def test_closing_ends_the_threads_after_the_jobs_they_have():
    lane = ThreadLane("test", 2, lambda: None)
    held = Held()
    for _ in range(3):
        lane.submit(held)
    await held.started.wait(2)
    lane.close()
    held.let_go()
    await held.ended.wait(3)
    for thread in lane._threads:
        thread.join(10)
        assert not thread.is_alive()
        assert thread.daemon


def test_each_thread_begins_with_what_it_is_told_to():
    begun: list[int] = []
    lane = ThreadLane("test", 2, lambda: begun.append(threading.get_ident()))
    both, seen = threading.Barrier(2), list[int]()

    def job() -> None:
        seen.append(threading.get_ident())
        both.wait(10)
        seen.append(0)

    lane.submit(job)
    lane.submit(job)
    lane.close()
    for thread in lane._threads:
        thread.join(10)
    assert sorted(begun) == sorted(ident for ident in seen if ident)
