"""Running a loop that a model shares: nothing that the model's own tasks and callbacks do ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from runner.sturdy_log import SturdyLog

T = TypeVar("T")

logger = SturdyLog("runner.model")


def run_undeterred(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; return what it returns, or raise what it raises.

    asyncio lets `SystemExit` and `KeyboardInterrupt` of any task or callback out of the loop: a `sys.exit()` in what a
    method gathers would end the calls of all others. Whoever waits for that task is told all the same, so the loop is
    simply run on; and so it is if somebody has stopped it.

    Args:
        loop: one that does not run.
        main: the coroutine.
    """
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as exc:
            if task.done() or loop.is_closed():
                raise
            if isinstance(exc, RuntimeError):
                logger.error("the model has stopped the loop on which its calls run; it goes on")
            else:
                logger.error("a task or a callback of the model raised %s", type(exc).__name__, exc=exc)
