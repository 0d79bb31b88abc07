"""Calls of an `async def` method that came in one message: one task for as many of them as wait for nothing.

Most calls of many methods end in their first step: a task for each would cost more than they do. So one task begins
them one after the other, each in a context of its own. The first one that waits keeps the task for the rest of its
life, as it may have asked for the current task already. Those behind it go on in new tasks at once.
"""

from __future__ import annotations

import asyncio
import operator
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from runner.execution.coroutine import CoroutineCall
from runner.execution.method import LoadedMethod

if TYPE_CHECKING:
    from runner.execution.executor import Executor

_AT_FIRST: Final = 64
"""Calls in a task while nothing is known of a method: all of a message."""


class CoroutinesTogether:
    """Runs the calls of one method. Everything here happens on the loop's thread.

    A task begins as many calls as have lately ended one after the other without waiting: where they all wait, each
    has a task of its own from the beginning.
    """

    def __init__(self, executor: Executor, method: LoadedMethod) -> None:
        self._executor = executor
        self._method = method
        self._in_a_row = _AT_FIRST  # calls that waited for nothing, since the last that did

    def start(self, calls: Iterable[CoroutineCall]) -> None:
        """Begin calls, in this order, in the next turn of the loop."""
        size = max(self._in_a_row, 1)
        waiting = iter(calls)
        while members := deque(islice(waiting, size)):
            self._executor.spawn(self._run(members), _over, name=self._method.name)

    async def _run(self, calls: deque[CoroutineCall]) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        await self._steps(task, calls)

    @types.coroutine
    def _steps(self, task: asyncio.Task[None], calls: deque[CoroutineCall]) -> Generator[Any, Any, None]:
        try:
            while calls:
                call = calls.popleft()
                if call.dropped:
                    continue
                call.shares = True
                steps = call.steps()
                # What the last one sets is seen by nobody after it. (A function of ours in the place of `operator.call`
                # would have a frame, which an exception's traceback leads to, and which would keep that exception.)
                run = copy_context().run if calls else operator.call
                try:
                    awaited = run(steps.send, None)
                except StopIteration:
                    self._in_a_row += 1
                    # A cancellation that nobody waited for is not to hit the next one. One that was taken back is
                    # still delivered before Python 3.13.
                    if task.cancelling() or getattr(task, "_must_cancel", False):
                        return
                    continue
                self._in_a_row = 0
                call.task, call.shares = task, False
                self._leave(calls)
                yield from _rest(run, steps, awaited)
                return
        finally:
            self._leave(calls)

    def _leave(self, calls: deque[CoroutineCall]) -> None:
        """Tell what has ended in this step, and have others begin the calls that are left."""
        self._executor.tell()
        if calls:
            self.start(calls)
            calls.clear()

    def __repr__(self) -> str:
        return f"<CoroutinesTogether {self._method.name}: {self._in_a_row} in a row waited for nothing>"


def _rest(run: Callable[..., Any], steps: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Hand on what a coroutine waits for, and what comes of that, until it ends."""
    while True:
        try:
            step, value = steps.send, (yield awaited)
        except GeneratorExit:
            run(steps.close)
            raise
        except BaseException as exc:
            step, value = steps.throw, exc
        try:
            awaited = run(step, value)
        except StopIteration:
            return
        finally:
            del value  # an exception, whose traceback leads to this frame: they would keep each other


def _over(task: asyncio.Task[None]) -> None:
    """Each call has told of its own end."""
