"""Rows are lent, waited for, and given back however a block ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from runner import Slots
from runner.context import CallContext, current
from runner.errors import Cancelled


def test_the_lowest_free_row_is_lent():
    slots = Slots(3)
    with slots.lease() as first, slots.lease() as second:
        assert (first, second, slots.leased) == (0, 1, 2)
    with slots.lease() as again:
        assert again == 0
    assert repr(slots) == "<Slots 0 of 3 leased, 0 waiting>"
    with pytest.raises(ValueError, match="needs 1 row or more"):
        Slots(0)


def test_a_row_comes_back_after_an_error():
    slots = Slots(1)
    with pytest.raises(KeyError), slots.lease():
        raise KeyError
    assert slots.leased == 0


def test_coroutines_wait_in_line():
    async def run() -> list[str]:
        slots, order = Slots(1), list[str]()
        go = asyncio.Event()

        async def one(name: str) -> None:
            async with slots.lease() as row:
                assert row == 0
                order.append(name)
                await go.wait()

        tasks = [asyncio.create_task(one(name)) for name in "abcd"]
        await asyncio.sleep(0)
        assert (slots.leased, slots.waiting) == (1, 3)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert slots.waiting == 2
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (slots.leased, slots.waiting) == (0, 0)
        return order

    assert asyncio.run(run()) == ["a", "c", "d"]


def test_who_leaves_at_the_moment_of_their_turn_gives_the_row_back():
    async def run() -> None:
        slots = Slots(1)
        first = slots.lease()
        await first.__aenter__()

        async def second() -> None:
            async with slots.lease():
                raise AssertionError("it had left")

        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # the row is the second one's, which has not heard of it
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert slots.leased == 0

    asyncio.run(run())


def test_threads_wait_in_line():
    slots, seen = Slots(2), list[int]()
    together = threading.Barrier(2)

    def work() -> None:
        with slots.lease() as row:
            together.wait(10)  # two at once, never three
            seen.append(row)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == [0] * 4 + [1] * 4
    assert slots.leased == 0


@pytest.mark.parametrize("when", ["before", "while it waits"])
def test_a_thread_whose_caller_is_gone_leaves_the_line(when):
    slots, context, left = Slots(1), CallContext(), threading.Event()

    def work() -> None:
        token = current.set(context)
        try:
            with pytest.raises(Cancelled), slots.lease():
                raise AssertionError("there was no row")
            left.set()
        finally:
            current.reset(token)

    with slots.lease():
        if when == "before":
            context.cancel()
        thread = threading.Thread(target=work)
        thread.start()
        while when != "before" and not context._watchers:  # it is about to wait
            threading.Event().wait(0)
        context.cancel()
        assert left.wait(10)
        assert (slots.leased, slots.waiting, context._watchers) == (1, 0, [])
        thread.join(10)
    assert slots.leased == 0


def test_a_coroutine_on_a_loop_of_its_own_leaves_the_line_with_its_caller():
    slots, context, left = Slots(1), CallContext(), threading.Event()

    async def ask() -> None:
        async with slots.lease():
            raise AssertionError("there was no row")

    def work() -> None:
        current.set(context)
        with pytest.raises(Cancelled):
            asyncio.run(ask())
        left.set()

    with slots.lease():
        thread = threading.Thread(target=work)
        thread.start()
        while not context._watchers:  # it is about to wait
            threading.Event().wait(0)
        context.cancel()
        assert left.wait(10)
        assert (slots.leased, slots.waiting, context._watchers) == (1, 0, [])
        thread.join(10)
    assert slots.leased == 0


def test_a_row_is_not_lost_on_a_loop_that_was_closed():
    slots, loop = Slots(1), asyncio.new_event_loop()
    asking: list[asyncio.Task[int]] = []

    async def begin() -> None:
        asking.append(asyncio.create_task(slots.lease().__aenter__()))
        await asyncio.sleep(0)

    with slots.lease():
        loop.run_until_complete(begin())
        loop.close()
        assert slots.waiting == 1
    assert (slots.leased, slots.waiting) == (0, 0)
    asking[0]._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue]: nobody can end it


def test_a_lease_holds_one_row():
    slots = Slots(2)
    lease = slots.lease()
    with lease:
        with pytest.raises(RuntimeError, match="has been entered already"), lease:
            raise AssertionError("its first row would be lost")
        assert slots.leased == 1
    with lease:
        assert slots.leased == 1
    assert slots.leased == 0
