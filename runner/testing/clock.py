"""Time that moves when nothing else does: for tests of waits, back-offs and deadlines that take no time.

    async def test() -> None:
        await asyncio.sleep(3600)

    run_in_virtual_time(test())  # returns at once

The loop never sleeps: whenever it has nothing to do but to wait for a timer, its clock is that far ahead. Nothing that
happens outside the loop, in threads or on sockets, can be waited for so.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["ManualClock", "VirtualTimeLoop", "run_in_virtual_time"]

T = TypeVar("T")


class ManualClock:
    """A clock that somebody sets. Called, it tells the instant, in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        """Start at an instant; the default is one at which a sum of floats rounds, as it does on a real clock."""
        self.now = now

    def __call__(self) -> float:
        """Return the instant."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on.

        Raises:
            ValueError: backwards.
        """
        if seconds < 0:
            raise ValueError(f"a clock goes forward: got {seconds} s")
        self.now += seconds

    def __repr__(self) -> str:
        return f"<ManualClock {self.now:g}>"


class _Selector(selectors.SelectSelector):
    """Waits for nothing: moves the clock instead."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector`."""
        if timeout is None:
            raise RuntimeError("everything waits for something that is not going to happen in virtual time")
        if timeout > 0:
            self._clock.advance(timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a `ManualClock`."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = ManualClock() if clock is None else clock
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        """Return the clock's instant."""
        return self.clock()


def run_in_virtual_time(coroutine: Coroutine[Any, Any, T], clock: ManualClock | None = None) -> T:
    """Run a coroutine to its end; return what it returns.

    Args:
        coroutine: what to run.
        clock: the loop's; None: a new one.

    Raises:
        RuntimeError: everything waits, and for no timer: in real time it would hang.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(coroutine)
