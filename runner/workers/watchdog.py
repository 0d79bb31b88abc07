"""The thread of a worker that shows the server that the worker lives, and says in the log what holds up its loop."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Final

from runner.execution.journal import Journal
from runner.sturdy_log import SturdyLog

logger = SturdyLog("runner.worker")

_BEAT_EVERY: Final = 0.1
"""seconds between two beats. The loop is asked to answer as often; both cost a tenth of a per cent of a core."""

LAG: Final = 0.1
"""seconds for which the loop may not turn before the log says so."""

_TELL_EVERY: Final = 10.0
"""seconds between two lines about it: plain functions that fight over the interpreter's lock hold it up often."""


class Watchdog:
    """Lives as long as its process: the thread is a daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, journal: Journal) -> None:
        """Start beating.

        Args:
            loop: the worker's, which is this thread's.
            journal: where to beat.
        """
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._journal = journal
        self._turns = 0
        self._asked: float | None = None  # when the loop was asked and has not answered yet
        self._told: float | None = None
        self._closed = threading.Event()
        self._watching = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def watch(self) -> None:
        """Say from now on what holds up the loop: while a model is loading, everybody knows."""
        self._watching = True

    def close(self) -> None:
        """Stop beating."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(_BEAT_EVERY):
            self._journal.beat(self._turns)
            asked, now = self._asked, time.monotonic()
            if asked is None:
                self._asked = now
                try:
                    self._loop.call_soon_threadsafe(self._answer)
                except RuntimeError:  # the loop is closed
                    return
            elif self._watching and now - asked >= LAG and (self._told is None or now - self._told >= _TELL_EVERY):
                self._told = now
                logger.warning("the worker's loop has not turned for %.2f s: %s", now - asked, self._culprit())

    def _answer(self) -> None:
        self._turns += 1
        self._asked = None

    def _culprit(self) -> str:
        """Return what the loop's thread does, as far as another thread can see it."""
        try:
            task = asyncio.current_task(self._loop)
        except RuntimeError:  # the task was changing while we looked
            task = None
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]: documented
        where = "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
        doing = "its own work, or waits for a thread that holds the interpreter's lock"
        return f"it runs {doing if task is None else task.get_name()}{where}"

    def __repr__(self) -> str:
        return f"<Watchdog {self._turns} turns>"
