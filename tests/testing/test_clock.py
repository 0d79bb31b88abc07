"""Virtual time: hours pass at once, and what would hang says so."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.testing.clock import ManualClock, VirtualTimeLoop, run_in_virtual_time


def test_a_clock_moves_when_it_is_told_to_and_never_back() -> None:
    clock = ManualClock(5.0)
    clock.advance(0.5)
    assert clock() == 5.5
    with pytest.raises(ValueError, match="a clock goes forward"):
        clock.advance(-1)
    assert repr(clock) == "<ManualClock 5.5>"


def test_waits_take_no_time_and_end_in_order() -> None:
    clock = ManualClock()
    ends: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        ends.append((name, clock()))

    async def test() -> str:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait("late", 7200.0))
            tasks.create_task(wait("soon", 0.1))
        return "done"

    began = time.monotonic()
    assert run_in_virtual_time(test(), clock) == "done"
    assert ends == [("soon", pytest.approx(1000.1)), ("late", pytest.approx(8200.0))]
    assert time.monotonic() - began < 3600


def test_time_stands_while_there_is_something_to_do() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        before = loop.time()
        for _ in range(100):
            await asyncio.sleep(0)
        assert loop.time() == before == loop.clock()

    run_in_virtual_time(test())


def test_a_timeout_is_a_timer_too() -> None:
    async def test() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()

    run_in_virtual_time(test())


def test_what_would_wait_for_ever_is_told() -> None:
    async def test() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="something that is not going to happen"):
        run_in_virtual_time(test())
