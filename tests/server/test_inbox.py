"""Items that come, and a reader that waits for them."""

from __future__ import annotations

import asyncio

import pytest

from runner.server.inbox import Inbox
from tests.running import on_loop, turns


@on_loop
async def test_what_has_come_is_taken_in_order_also_after_the_end():
    inbox: Inbox[str] = Inbox()
    inbox.put("a")
    inbox.put("b")
    inbox.end()
    assert repr(inbox) == "<Inbox of 2, ended>"
    assert [await inbox.take(), await inbox.take()] == ["a", "b"]
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await inbox.take()


@on_loop
async def test_a_reader_waits():
    inbox: Inbox[str] = Inbox()
    for item in ("a", "b"):
        reading = asyncio.ensure_future(inbox.take())
        await turns()
        assert not reading.done()
        inbox.put(item)
        inbox.put("meanwhile")
        assert await reading == item
        assert await inbox.take() == "meanwhile"


@on_loop
async def test_the_end_wakes_the_reader():
    inbox: Inbox[str] = Inbox()

    async def read() -> bool:
        try:
            await inbox.take()
        except StopAsyncIteration:
            return True
        return False

    reading = asyncio.ensure_future(read())
    await turns()
    assert not reading.done()
    inbox.end()
    assert await reading


@on_loop
async def test_a_reader_that_was_cancelled_loses_nothing():
    inbox: Inbox[str] = Inbox()
    reading = asyncio.ensure_future(inbox.take())
    await turns()
    reading.cancel()
    inbox.put("a")
    with pytest.raises(asyncio.CancelledError):
        await reading
    inbox.put("b")
    assert [await inbox.take(), await inbox.take()] == ["a", "b"]
