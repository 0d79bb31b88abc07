"""From threads to the loop: one deque for all, and at most one wake under way.

Waking the loop costs a system call and, across cores, some 50 µs of latency for both sides. Many threads that post at
once therefore share one wake.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from runner.execution.forked import leave


class Mailbox:
    """Callables posted by any thread run on the loop, in the order in which they were posted.

    Attributes:
        emptied: called on the loop whenever some of them have run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.emptied: Callable[[], None] = _nothing
        self._loop = loop
        self._wake: Callable[[Callable[[], None]], object] = loop.call_soon_threadsafe
        self._letters: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Have `function(*args)` run on the loop. Safe from any thread; must not raise there."""
        # Append first, look second: `_drain` clears the flag first and empties the deque second, so that a letter is
        # either seen by the drain under way or finds the flag down.
        self._letters.append((function, args))
        if not self._woken:
            self._woken = True
            try:
                self._wake(self._drain)
            except RuntimeError:
                # The loop is closed: the process is ending, and nobody is left to be told.
                self._letters.clear()

    def forked(self) -> None:
        """This is a process that was forked: whoever posts something leaves. See `forked`."""
        self._letters.clear()
        self._woken, self._wake = False, leave

    def _drain(self) -> None:
        self._woken = False
        try:
            for _ in range(len(self._letters)):
                function, args = self._letters.popleft()
                function(*args)
        finally:  # one that raises all the same, by a bug, holds up no other
            self.emptied()
            if self._letters and not self._woken:
                self._woken = True
                self._loop.call_soon(self._drain)


def _nothing() -> None:
    """Nobody wants to know."""
