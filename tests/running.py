"""Tests on an event loop, and events that cross from the threads of a model to it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import resource
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import uvloop

T = TypeVar("T")

TOO_LONG = 20.0
"""seconds after which a wait has failed. Nothing here takes so long, and nothing is measured by it."""


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a fresh loop. What nobody caught there, a callback's exception say, fails it too."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        lost: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
            async with asyncio.timeout(TOO_LONG):
                await test(*args, **kwargs)
            gc.collect(0)  # futures say when they are dropped that nobody looked at their exception
            await turns()

        with fresh_loop() as runner:
            runner.run(watched())
        assert not lost, lost

    return run


async def one_by_one(replies: AsyncIterator[Sequence[bytes]]) -> AsyncIterator[bytes]:
    """Yield what an RPC yields together each by itself."""
    async with contextlib.aclosing(cast(Any, replies)):
        async for together in replies:
            assert together
            for reply in together:
                yield reply


class _Loop(uvloop.Loop):
    """A loop that knows whether grpc.aio does."""

    polled = False

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.polled |= "PollerCompletionQueue" in repr(callback)
        super().add_reader(fd, callback, *args)


_finished: list[asyncio.Runner] = []
"""Loops of tests that are over. grpc.aio may still have something to tell them."""


@contextlib.contextmanager
def fresh_loop() -> Iterator[asyncio.Runner]:
    """Run things on a loop that is closed when grpc.aio knows it no more.

    One thread of grpc.aio's polls for all loops of the process. What it has for one is handed on by whichever loop
    looks first, and on a closed one that fails. Calls that were cancelled, and channels that are closed, get their last
    word a moment later; nobody can wait for that. The thread ends with the last channel.
    """
    runner = asyncio.Runner(loop_factory=_Loop)
    try:
        yield runner
    finally:
        if getattr(runner.get_loop(), "polled", False):
            _finished.append(runner)
            for each in _finished:
                each.run(turns())  # what has come late is heard, and lets go of its channel
            if _grpc_polls():
                gc.collect()  # an exception's traceback may keep a channel, and itself
            if not _grpc_polls():
                close_loops()
        else:
            runner.close()


def run_on_fresh_loop(main: Coroutine[Any, Any, T]) -> T:
    """Do what `asyncio.run` does, on such a loop."""
    with fresh_loop() as runner:
        return runner.run(main)


@atexit.register
def close_loops() -> None:
    """Close the loops of tests that are over."""
    while _finished:
        _finished.pop().close()


def _grpc_polls() -> bool:
    return any("_poll_wrapper" in thread.name for thread in threading.enumerate())


def resident_bytes() -> int:
    """Return the memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def turns(count: int = 5) -> None:
    """Let callbacks run that are due already, and those that they cause. Never a way to wait for a thread."""
    for _ in range(count):
        await asyncio.sleep(0)


class Timers:
    """The timers of the running loop that are set for `seconds`: they go off when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        usual = loop.call_later
        self._set: list[tuple[asyncio.TimerHandle, Callable[[], Any]]] = []

        def call_later(delay: float, callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.TimerHandle:
            handle = usual(delay, callback, *args, **more)
            if delay == seconds:
                self._set.append((handle, functools.partial(callback, *args)))
            return handle

        monkeypatch.setattr(loop, "call_later", call_later)

    @property
    def count(self) -> int:
        """How many were set."""
        return len(self._set)

    @property
    def running(self) -> int:
        """How many may still go off."""
        return sum(not handle.cancelled() for handle, _ in self._set)

    def go_off(self) -> None:
        """Let all go off that run."""
        for handle, callback in self._set:
            if not handle.cancelled():
                handle.cancel()
                callback()


class Signal:
    """Set in any thread, awaited on the loop it was made on. Counts, so that one can wait for the n-th time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._lock = threading.Lock()
        self.count = 0

    def set(self) -> None:
        with self._lock:
            self.count += 1
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._tell()))

    async def wait(self, count: int = 1) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.count >= count)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Latch:
    """Holds threads until the test opens it; gives up after a while, so that a failed test ends."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        assert self._open.wait(TOO_LONG), "the test never opened the latch"
