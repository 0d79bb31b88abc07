from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from runner.errors import Cancelled, DeadlineExceeded, ModelError
from runner.testing.memory_call import Delivered, MemoryCall


@pytest.fixture
def loop():
    """A service's loop, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def start(loop, opener, timeout=None) -> tuple[MemoryCall, queue.SimpleQueue[Delivered]]:
    delivered: queue.SimpleQueue[Delivered] = queue.SimpleQueue()
    return MemoryCall(loop, opener, delivered.put, timeout), delivered


async def echo(requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for request in requests:
        yield request


def test_a_conversation(loop):
    call, delivered = start(loop, echo)
    for word in (b"a", b"b"):
        assert call.send(word).result(5)
        assert delivered.get(timeout=5) == word
        call.taken()
    call.send(None)
    assert delivered.get(timeout=5) is None


def test_a_slow_reader_slows_the_service(loop):
    made: queue.SimpleQueue[int] = queue.SimpleQueue()

    async def count(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        for number in range(100):
            made.put(number)
            yield bytes([number])

    call, delivered = start(loop, count)
    assert delivered.get(timeout=5) == b"\0"
    assert [made.get(timeout=5), made.get(timeout=5)] == [0, 1]
    assert made.empty()
    call.taken()
    assert made.get(timeout=5) == 2
    call.cancel()


def test_a_sender_is_told_that_the_call_is_over(loop):
    async def deaf(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        yield b"only"

    call, delivered = start(loop, deaf)
    assert delivered.get(timeout=5) == b"only"
    assert delivered.get(timeout=5) is None
    assert not call.send(b"late").result(5)


def test_a_waiting_sender_is_woken_by_the_end(loop):
    async def never(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        await asyncio.get_running_loop().create_future()
        yield b""

    call, delivered = start(loop, never)
    assert call.send(b"in the queue").result(5)
    waiting = call.send(b"no room")
    call.cancel()
    assert isinstance(delivered.get(timeout=5), Cancelled)
    assert not waiting.result(5)


def test_a_reply_is_read_after_the_service_has_gone():
    async def one(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        yield b"one"
        await asyncio.get_running_loop().create_future()

    with asyncio.Runner() as service:
        call, delivered = start(service.get_loop(), one)
        assert service.run(asyncio.to_thread(delivered.get, timeout=5)) == b"one"
    call.taken()
    assert isinstance(delivered.get(timeout=5), Cancelled)


def test_how_a_call_ends(loop):
    async def fail(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        raise ModelError("no")
        yield b""

    async def never(_: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        await asyncio.get_running_loop().create_future()
        yield b""

    _, delivered = start(loop, fail)
    assert isinstance(delivered.get(timeout=5), ModelError)
    _, delivered = start(loop, never, timeout=0.01)
    assert isinstance(delivered.get(timeout=5), DeadlineExceeded)
    own = KeyError("mine")
    call, delivered = start(loop, never)
    call.cancel(own)
    assert delivered.get(timeout=5) is own
