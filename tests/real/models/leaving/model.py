"""Methods that never end by themselves, and tell how they were ended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from runner import ModelClass, Slots


class Leaving(ModelClass):
    """Each method notes under `name` what came to it. With a `folder`, also in a file there."""

    def load_model(self) -> None:
        self._changed = threading.Condition()
        self._ends: dict[str, str] = {}
        self._begun: set[str] = set()
        self.slots = Slots(1)

    @ModelClass.method
    def generator(self, name: str, folder: str = "") -> Iterator[int]:
        """Yield as fast as it is read."""
        with self._noted(name, folder):
            number = 0
            while True:
                yield number
                number += 1

    @ModelClass.method
    def reader(self, words: Iterator[str], name: str, folder: str = "") -> Iterator[str]:
        """Stand in a thread and wait for a word that does not come."""
        with self._noted(name, folder):
            yield from words

    @ModelClass.method
    def function(self, name: str, folder: str = "") -> str:
        """Work, and look now and then whether anybody waits."""
        with self._noted(name, folder):
            while True:
                self.context.raise_if_cancelled()
                time.sleep(0.002)

    @ModelClass.method
    async def coroutine(self, name: str, folder: str = "") -> str:
        """Wait for ever."""
        with self._noted(name, folder):
            await asyncio.Event().wait()
        return ""

    @ModelClass.method
    async def async_generator(self, name: str, folder: str = "") -> AsyncIterator[int]:
        """Yield once, and wait for ever."""
        with self._noted(name, folder):
            yield 0
            await asyncio.Event().wait()

    @ModelClass.method
    async def stepping(self, name: str, folder: str = "") -> AsyncIterator[int]:
        """Take step after step at a coalescing point, and hold a row meanwhile."""
        with self._noted(name, folder):
            async with self.slots.lease():
                while True:
                    yield await self.step(0)

    @ModelClass.batched
    def step(self, numbers: list[int]) -> list[int]:
        time.sleep(0.001)
        return numbers

    @ModelClass.method
    async def wait_begun(self, names: list[str]) -> bool:
        return await asyncio.to_thread(self._wait, lambda: self._begun.issuperset(names))

    @ModelClass.method
    async def wait_ended(self, names: list[str]) -> dict[str, str]:
        """Return how each of these was ended, and how many rows are lent still."""
        await asyncio.to_thread(self._wait, lambda: self._ends.keys() >= set(names))
        return {name: self._ends.get(name, "") for name in names} | {"rows": str(self.slots.leased)}

    def _wait(self, predicate) -> bool:
        with self._changed:
            return self._changed.wait_for(predicate, timeout=40)

    @contextlib.contextmanager
    def _noted(self, name: str, folder: str) -> Iterator[None]:
        with self._changed:
            self._begun.add(name)
            self._changed.notify_all()
        end = "nothing"
        try:
            yield
        except BaseException as exc:
            end = type(exc).__name__
            raise
        finally:
            if folder:
                (Path(folder) / name).write_text(end)
            with self._changed:
                self._ends[name] = end
                self._changed.notify_all()
