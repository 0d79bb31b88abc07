"""Streams that count their items, for tests of who stops whom."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from runner import ModelClass


class Flow(ModelClass):
    """Counts what its generators make and what its methods take, by a name that the caller chooses."""

    def load_model(self) -> None:
        self.counts: Counter[str] = Counter()
        self.changed = threading.Condition()

    def count(self, name: str) -> None:
        """Count one item."""
        with self.changed:
            self.counts[name] += 1
            self.changed.notify_all()

    @ModelClass.method
    def reached(self, name: str, count: int) -> int:
        """Wait until so many items were counted; return how many have been."""
        with self.changed:
            self.changed.wait_for(lambda: self.counts[name] >= count)
            return self.counts[name]

    @ModelClass.method
    async def counted(self, name: str) -> int:
        return self.counts[name]

    @ModelClass.method
    def make(self, name: str, size: int) -> Iterator[bytes]:
        while True:
            self.count(name)
            yield bytes(size)

    @ModelClass.method
    async def make_async(self, name: str, size: int) -> AsyncIterator[bytes]:
        while True:
            self.count(name)
            yield bytes(size)

    @ModelClass.method
    async def take(self, name: str, stop: int, items: AsyncIterator[bytes]) -> AsyncIterator[int]:
        """Take so many items and say so, and then nothing, for ever."""
        async for _ in items:
            self.count(name)
            if self.counts[name] == stop:
                yield stop
                await asyncio.Event().wait()

    @ModelClass.method
    def take_blocking(self, name: str, stop: int, items: Iterator[bytes]) -> Iterator[int]:
        """Take so many items, and then only give."""
        for _ in range(stop):
            next(items)
            self.count(name)
        while True:
            yield stop
