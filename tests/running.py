"""Tests on an event loop, and events that cross from the threads of a model to it."""

from __future__ import annotations

import asyncio
import functools
import gc
import resource
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

TOO_LONG = 20.0
"""seconds after which a wait has failed. Nothing here takes so long, and nothing is measured by it."""


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a fresh loop. What nobody caught there, a callback's exception say, fails it too."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        lost: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, each: None if _late(each) else lost.append(each))
            async with asyncio.timeout(TOO_LONG):
                await test(*args, **kwargs)
            gc.collect(0)  # futures say when they are dropped that nobody looked at their exception
            await turns()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched())
        assert not lost, lost

    return run


def _late(context: dict[str, Any]) -> bool:
    """True of what is not this test's: grpc.aio polls for all loops, and tells of a closed one on the next."""
    closed = isinstance(context.get("exception"), RuntimeError) and "PollerCompletionQueue" in context["message"]
    return closed and str(context["exception"]) == "Event loop is closed"


def resident_bytes() -> int:
    """Return the memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def turns(count: int = 5) -> None:
    """Let callbacks run that are due already, and those that they cause. Never a way to wait for a thread."""
    for _ in range(count):
        await asyncio.sleep(0)


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
