"""The two sides of a stream, without a method: what is handed over, what waits, and what ends a wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from runner.errors import Cancelled, InvalidInput
from runner.execution.streams import AsyncGate, AsyncInputs, BlockingGate, BlockingInputs
from runner.flow import STREAM_WINDOW, STREAM_WINDOW_BYTES
from tests.running import Signal, on_loop, turns

HALF = STREAM_WINDOW // 2


def text(payload: object) -> object:
    if payload == b"bad":
        raise InvalidInput("not a text")
    return bytes(payload).decode()  # pyright: ignore[reportArgumentType]


async def text_later(payload: object) -> object:
    await asyncio.sleep(0)
    return text(payload)


def blocking(given: list[tuple[int, int]] | None = None) -> BlockingInputs:
    return BlockingInputs(text, keep if given is None else lambda *credit: given.append(credit))


def keep(items: int, size: int) -> None:
    """Give nothing back."""


def test_inputs_come_in_order_and_end_for_good():
    inputs = blocking()
    inputs.put_first("0")
    inputs.put(b"1")
    inputs.put(b"2")
    inputs.end()
    assert list(inputs) == ["0", "1", "2"]
    assert list(inputs) == []


def test_a_bad_input_is_raised_in_its_place_and_the_next_one_follows():
    inputs = blocking()
    inputs.put(b"bad")
    inputs.put(b"good")
    with pytest.raises(InvalidInput):
        next(inputs)
    assert next(inputs) == "good"


def test_credits_come_back_by_the_half_window_and_not_for_the_first_value():
    given: list[tuple[int, int]] = []
    inputs = blocking(given)
    inputs.put_first("0")
    for number in range(STREAM_WINDOW):
        inputs.put(str(number).encode())
    for _ in range(HALF):
        next(inputs)
    assert given == []
    next(inputs)
    assert given == [(HALF, sum(len(str(number)) for number in range(HALF)))]


def test_a_caller_who_left_is_told_at_once_and_not_after_what_waits():
    inputs = blocking()
    inputs.put_first("first")
    inputs.put(b"1")
    inputs.end()
    inputs.close()
    for _ in range(2):
        with pytest.raises(Cancelled):
            next(inputs)


@on_loop
async def test_closing_ends_the_wait_of_a_thread_for_input():
    inputs, waiting, raised = blocking(), Signal(), Signal()

    def read() -> None:
        waiting.set()
        try:
            next(inputs)
        except Cancelled:
            raised.set()

    threading.Thread(target=read, daemon=True).start()
    await waiting.wait()
    inputs.close()
    await raised.wait()


@on_loop
async def test_async_inputs_come_in_order_and_end_for_good():
    inputs = AsyncInputs(text_later, keep)
    inputs.put_first("0")
    seen: list[object] = []

    async def read() -> None:
        seen.extend([value async for value in inputs])

    task = asyncio.ensure_future(read())
    await turns()
    assert not task.done()
    inputs.put(b"1")
    inputs.put(b"2")
    inputs.end()
    await task
    assert seen == ["0", "1", "2"]
    assert [value async for value in inputs] == []


@on_loop
async def test_an_impatient_reader_of_async_inputs_loses_nothing():
    inputs = AsyncInputs(text_later, keep)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(inputs), 0.001)
    inputs.put(b"1")
    assert await anext(inputs) == "1"


@on_loop
async def test_several_tasks_may_read_the_inputs_of_one_stream():
    inputs = AsyncInputs(text_later, keep)
    seen: list[object] = []

    async def read() -> None:
        seen.extend([value async for value in inputs])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(read())
        await turns()
        inputs.put(b"1")
        inputs.put(b"2")
        await turns()
        inputs.put(b"3")
        inputs.end()
    assert sorted(map(str, seen)) == ["1", "2", "3"]


@on_loop
async def test_an_item_is_not_lost_on_a_task_that_is_cancelled_with_it():
    inputs = AsyncInputs(text_later, keep)
    first, second = asyncio.ensure_future(anext(inputs)), asyncio.ensure_future(anext(inputs))
    await turns()
    inputs.put(b"1")
    first.cancel()
    assert await second == "1"
    assert first.cancelled()


@on_loop
async def test_async_credits_come_back_by_the_half_window():
    given: list[tuple[int, int]] = []
    inputs = AsyncInputs(text_later, lambda *credit: given.append(credit))
    for number in range(STREAM_WINDOW):
        inputs.put(str(number).encode())
    for _ in range(STREAM_WINDOW):
        await anext(inputs)
    assert [items for items, _ in given] == [HALF, HALF]
    assert sum(size for _, size in given) == sum(len(str(number)) for number in range(STREAM_WINDOW))


@on_loop
async def test_closing_ends_the_wait_of_a_coroutine_for_input():
    inputs = AsyncInputs(text_later, keep)
    waiting = asyncio.ensure_future(anext(inputs))
    await turns()
    inputs.close()
    with pytest.raises(Cancelled):
        await waiting


def test_a_gate_shuts_after_a_window_and_opens_with_a_grant():
    gate = BlockingGate()
    for _ in range(STREAM_WINDOW):
        gate.wait()
        gate.spend(0)
    gate.grant(1, 0)
    gate.wait()
    gate.spend(0)
    assert not gate._window.open


@on_loop
async def test_a_grant_wakes_the_thread_at_a_shut_gate():
    gate, waiting, passed = BlockingGate(), Signal(), Signal()
    for _ in range(STREAM_WINDOW):
        gate.wait()
        gate.spend(0)

    def wait() -> None:
        waiting.set()
        gate.wait()
        passed.set()

    threading.Thread(target=wait, daemon=True).start()
    await waiting.wait()
    assert passed.count == 0
    gate.grant(1, 0)
    await passed.wait()


def test_a_closed_gate_lets_nobody_through_however_much_credit_is_left():
    gate = BlockingGate()
    gate.close()
    with pytest.raises(Cancelled):
        gate.wait()


@on_loop
async def test_an_async_gate_shuts_after_a_window_and_opens_with_a_grant():
    gate = AsyncGate()
    for _ in range(STREAM_WINDOW):
        await gate.wait()
        gate.spend(0)
    waiting = asyncio.ensure_future(gate.wait())
    await turns()
    assert not waiting.done()
    gate.grant(1, 0)
    await waiting


def test_a_gate_shuts_after_one_item_that_is_larger_than_a_window_has_bytes():
    gate, later = BlockingGate(), AsyncGate()
    for each in (gate, later):
        each.spend(STREAM_WINDOW_BYTES)
    assert not gate._window.open
    assert not later.open
    gate.grant(1, STREAM_WINDOW_BYTES)
    later.grant(1, STREAM_WINDOW_BYTES)
    gate.wait()
    assert later.open
    later.close()
    assert not later.open


@on_loop
async def test_a_closed_async_gate_lets_nobody_through():
    gate = AsyncGate()
    gate.close()
    with pytest.raises(Cancelled):
        await gate.wait()


@on_loop
async def test_closing_ends_the_wait_at_an_async_gate():
    gate = AsyncGate()
    for _ in range(STREAM_WINDOW):
        await gate.wait()
        gate.spend(0)
    waiting = asyncio.ensure_future(gate.wait())
    await turns()
    gate.close()
    with pytest.raises(Cancelled):
        await waiting
