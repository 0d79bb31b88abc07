"""Tasks that are cancelled all together: those that take no notice are broken off, so that nobody waits for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any, Final, cast

logger = logging.getLogger("runner")

PATIENCE: Final = 1.0
"""seconds for tasks to clean up after they were cancelled; the threads of plain functions have as long at a drain."""


async def cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks of a model's code, wait for their ends, and break those off that go on.

    What cannot be broken off is no task of its loop any more, whose runner would wait for it.
    """
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    await _ends(tasks)
    left = [task for task in tasks if not task.done()]
    for task in left:
        logger.warning("%s goes on although it was cancelled, and is broken off", task.get_name())
        try:
            cast("Coroutine[Any, Any, Any]", task.get_coro()).close()
        except BaseException as exc:  # of code that catches everything, or fails while it cleans up
            logger.warning("%s: %r", task.get_name(), exc)
        task.cancel()  # what it waited for is not to be waited for
    if left:
        await _ends(left)
        for task in left:
            if not task.done():
                asyncio._unregister_task(task)  # pyright: ignore: for whoever makes loops, says Python's documentation


async def _ends(tasks: Collection[asyncio.Task[Any]]) -> None:
    ended, _ = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in ended:
        if not task.cancelled():
            task.exception()  # which is told elsewhere, if anybody is to know of it
