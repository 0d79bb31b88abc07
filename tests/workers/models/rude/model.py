"""Everything that a method should not do, in each kind of method."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from runner import Batch, ModelClass


class Own(BaseException):
    """Not even an `Exception`."""


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Opaque(Exception):
    """Nothing of it can be looked at."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class Broken(logging.Handler, logging.Filter):
    """Raises where the log has something to say."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("no log")

    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("no log")


OPEN = [0, 1]


def _raise(exc: BaseException) -> None:
    raise exc


def _break_in_a_thread() -> None:
    thread = threading.Thread(target=_raise, args=(Own(),))
    thread.start()
    thread.join()
    threading.Thread(target=threading.Event().wait).start()  # for ever, and no daemon


def _be_interrupted() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)


def _close_descriptors() -> None:
    # Once: the numbers may be somebody else's afterwards.
    while OPEN:
        os.close(OPEN.pop())


def _shut_down_logging() -> None:
    logging.shutdown()
    logging.disable()


def _break_logging() -> None:
    logging.getLogger().addHandler(Broken())
    logging.getLogger("runner.model").addFilter(Broken())


def _fork() -> None:
    """Leave a process that comes back to where it was called from, and wait until it has ended all the same."""
    child = os.fork()
    if not child:
        sys.exit("leaving a child")
    os.waitpid(child, 0)


def _stop_the_loop() -> None:
    with contextlib.suppress(RuntimeError):  # elsewhere than on it
        asyncio.get_running_loop().stop()


def _recurse() -> None:
    _recurse()


RUDE: dict[str, Callable[[], object]] = {
    "print": lambda: print("x" * 1000),
    "write": lambda: os.write(1, b"\x00\xff\n"),
    "close stdout": lambda: sys.stdout.close(),
    "close descriptors": _close_descriptors,
    "lose stdout": lambda: setattr(sys, "stdout", None),
    "threads": _break_in_a_thread,
    "chdir": lambda: os.chdir(tempfile.gettempdir()),
    "logging": _shut_down_logging,
    "close stderr": lambda: sys.stderr.close(),
    "break logging": _break_logging,
    "gc": gc.disable,
    "fork": _fork,
    "stop the loop": _stop_the_loop,
    "signals": _be_interrupted,
    "exit": lambda: sys.exit("leaving"),
    "exit 0": lambda: sys.exit(0),
    "SystemExit": lambda: _raise(SystemExit()),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "StopIteration": lambda: _raise(StopIteration("stop")),
    "StopAsyncIteration": lambda: _raise(StopAsyncIteration("stop")),
    "BaseException": lambda: _raise(Own("own")),
    "Unprintable": lambda: _raise(Unprintable()),
    "Opaque": lambda: _raise(Opaque()),
    "recursion": _recurse,
    "unserialisable": lambda: object(),
    "wrong type": lambda: {"a": threading.Lock()},
    "coroutine": lambda: _nothing(),
}


async def _nothing() -> None: ...


def misbehave(how: str) -> Any:
    """Return what a method is to return."""
    result = RUDE[how]() if how else None
    return how if result is None or isinstance(result, int | list) else result


async def _misbehave_soon(how: str) -> str:
    await asyncio.sleep(0)
    return misbehave(how)


class Rude(ModelClass):
    """Each method misbehaves as it is told to, and returns what it was told."""

    @ModelClass.method
    def kinds(self) -> list[str]:
        return list(RUDE)

    @ModelClass.method
    def plain(self, how: str) -> str:
        return misbehave(how)

    @ModelClass.method
    async def awaited(self, how: str) -> str:
        return misbehave(how)

    @ModelClass.method
    async def gathered(self, how: str) -> str:
        return (await asyncio.gather(_misbehave_soon(how)))[0]

    @ModelClass.method
    def items(self, how: str) -> Iterator[str]:
        yield "first"
        yield misbehave(how)

    @ModelClass.method
    async def awaited_items(self, how: str) -> AsyncIterator[str]:
        yield "first"
        yield misbehave(how)

    @ModelClass.method
    def batch(self, how: Batch[str]) -> Batch[str]:
        return [misbehave(each) for each in how]

    @ModelClass.method
    async def awaited_batch(self, how: Batch[str]) -> Batch[str]:
        return [misbehave(each) for each in how]

    @ModelClass.method(idempotent=True)
    def split_batch(self, how: Batch[str]) -> Batch[str]:
        return [misbehave(each) for each in how]

    @ModelClass.method
    def batch_items(self, how: Batch[str]) -> Iterator[Batch[str]]:
        yield ["first"] * len(how)
        yield [misbehave(each) for each in how]

    @ModelClass.batched
    def point(self, hows: list[str]) -> list[str]:
        return [misbehave(each) for each in hows]

    @ModelClass.method
    async def through_a_point(self, how: str) -> str:
        return await self.point(how)

    @ModelClass.method
    def through_a_point_in_a_thread(self, how: str) -> str:
        return self.point(how)

    @ModelClass.method(cost=lambda how: (misbehave(how), 1)[1])
    def weighed(self, how: Batch[str]) -> Batch[str]:
        return list(how)
