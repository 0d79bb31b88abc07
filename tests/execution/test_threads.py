from __future__ import annotations

import gc
import threading
import weakref

from runner.execution.threads import ThreadLane
from tests.running import Latch, Signal, on_loop


@on_loop
async def test_jobs_start_in_order_and_share_the_threads():
    lane = ThreadLane("test", 2, lambda: None)
    started, ended, latch = Signal(), Signal(), Latch()
    order: list[int] = []
    threads: set[str] = set()

    def job(number: int) -> None:
        order.append(number)
        threads.add(threading.current_thread().name)
        started.set()
        latch.pass_through()
        ended.set()

    for number in range(6):
        lane.submit(lambda number=number: job(number))
    await started.wait(2)
    assert sorted(order) == [0, 1]
    latch.open()
    await ended.wait(6)
    assert sorted(order[2:]) == [2, 3, 4, 5]
    assert threads == {"test-0", "test-1"}
    lane.close()


@on_loop
async def test_an_idle_thread_is_used_again():
    lane = ThreadLane("test", 8, lambda: None)
    done, idle = Signal(), lane._idle
    used: list[int] = []

    def job() -> None:
        used.append(threading.get_ident())
        done.set()

    for count in range(1, 6):
        lane.submit(job)
        await done.wait(count)
        # A thread says that it is idle just after its job: take that word from it, and give it back.
        assert idle.acquire(timeout=10)
        idle.release()
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
    assert lane._idle.acquire(timeout=10)
    gc.collect()
    assert gone() is None
    lane.close()


@on_loop
async def test_closing_ends_the_threads_after_the_jobs_they_have():
    lane = ThreadLane("test", 2, lambda: None)
    started, ended, latch = Signal(), Signal(), Latch()

    def job() -> None:
        started.set()
        latch.pass_through()
        ended.set()

    for _ in range(3):
        lane.submit(job)
    await started.wait(2)
    lane.close()
    latch.open()
    await ended.wait(3)
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
