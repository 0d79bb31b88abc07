"""A device that counts its steps, and for whom: what `benchmarks/cancel.py` looks at."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from runner import ModelClass, Slots

ROWS = 128
STEP = 0.003  # seconds that the device takes for a step of all streams together


class Steps(ModelClass):
    """Streams whose every item is a step on the device, and that hold a row while they last."""

    def load_model(self) -> None:
        """Make the rows."""
        self.slots = Slots(ROWS)
        self._begin()
        self._changed = threading.Condition()
        self._open = 0

    @ModelClass.batched(max_batch_size=ROWS)
    def step(self, numbers: list[int]) -> list[int]:
        """Work for everybody, and note for whom it was too late."""
        self._steps += len(numbers)
        self._late.update(entry.request_id for entry in self.context.entries if entry.cancelled)
        time.sleep(STEP)
        return [number + 1 for number in numbers]

    @ModelClass.method
    async def count(self, until: int) -> AsyncIterator[int]:
        """Count in a coroutine."""
        with self._counted():
            async with self.slots.lease():
                number = 0
                while number < until:
                    number = await self.step(number)
                    yield number

    @ModelClass.method
    def count_in_thread(self, until: int) -> Iterator[int]:
        """Count in a plain generator, whose thread stands in each step."""
        with self._counted(), self.slots.lease():
            number = 0
            while number < until:
                number = self.step(number)
                yield number

    @ModelClass.method
    def work(self, seconds: float) -> int:
        """Keep a thread busy; return how many of these calls have begun."""
        self._worked += 1
        time.sleep(seconds)
        return self._worked

    @ModelClass.method
    async def wait_open(self, count: int) -> bool:
        """Return True once exactly so many streams are open, False after 40 seconds."""
        import asyncio

        return await asyncio.to_thread(self._wait_open, count)

    @ModelClass.method
    async def report(self) -> dict[str, int]:
        """Return what was counted since the last report.

        `steps`: on the device. `late`: begun for a call that was cancelled already. `most_late`: of one call. `leased`:
        rows that are lent now. `worked`: calls of `work` that have begun.
        """
        found = {
            "steps": self._steps,
            "late": self._late.total(),
            "most_late": max(self._late.values(), default=0),
            "leased": self.slots.leased,
            "worked": self._worked,
        }
        self._begin()
        return found

    def _begin(self) -> None:
        self._steps = self._worked = 0
        self._late: Counter[str] = Counter()

    def _wait_open(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._open == count, timeout=40)

    def _counted(self) -> _Open:
        return _Open(self)

    def _count(self, change: int) -> None:
        with self._changed:
            self._open += change
            self._changed.notify_all()


class _Open:
    """One stream that is open."""

    def __init__(self, model: Steps) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._model._count(+1)

    def __exit__(self, *exc_info: object) -> None:
        self._model._count(-1)
