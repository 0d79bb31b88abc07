"""One method of each kind, whose every item carries a checksum: what `benchmarks/soak.py` calls for minutes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from items import check, item

from runner import END, Batch, ModelClass, Slots


class Soak(ModelClass):
    """Items are made of a seed and a place, so that both sides know what each has to be."""

    def load_model(self) -> None:
        """Make the rows that streams hold."""
        self.slots = Slots(16)
        self.all_threads = threading.Barrier(4)  # as many as config.yaml says

    @ModelClass.method
    def unary(self, data: bytes, seed: int, place: int) -> bytes:
        """Check an item and return the next."""
        check(data, seed, place)
        return item(seed, place + 1)

    @ModelClass.method
    async def unary_async(self, data: bytes, seed: int, place: int) -> bytes:
        """The same in a coroutine, that waits a moment."""
        check(data, seed, place)
        await asyncio.sleep(0.001)
        return item(seed, place + 1)

    @ModelClass.method(max_batch_size=16)
    def unary_batched(self, data: Batch[bytes], seed: Batch[int], place: Batch[int]) -> Batch[bytes]:
        """The same for a batch; seeds that seven divides fail alone."""
        found: list[Any] = []
        for one, of, at in zip(data, seed, place, strict=True):
            check(one, of, at)
            found.append(item(of, at + 1) if of % 7 else ValueError(f"refused {of}"))
        return found

    @ModelClass.method
    def limited(self, seconds: float) -> str:
        """Take longer than its deadline allows, looking now and then whether anybody waits."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.context.raise_if_cancelled()
            time.sleep(0.005)
        return "in time"

    @ModelClass.method
    def meet(self) -> int:
        """Return when every thread is in such a call."""
        return self.all_threads.wait(timeout=60)

    @ModelClass.method
    def served(self, seed: int, count: int, fail_at: int = -1) -> Iterator[bytes]:
        """Send items from a thread."""
        for place in range(count):
            _fail(place, fail_at)
            yield item(seed, place)

    @ModelClass.method
    async def stepped(self, seed: int, count: int, fail_at: int = -1) -> AsyncIterator[bytes]:
        """Send items, each of which is a step that runs with those of other streams, and hold a row meanwhile."""
        async with self.slots.lease():
            for place in range(count):
                _fail(place, fail_at)
                yield await self.step((seed, place))

    @ModelClass.batched(max_batch_size=64)
    def step(self, wanted: list[tuple[int, int]]) -> list[bytes]:
        """Make the items of many streams."""
        return [item(seed, place) for seed, place in wanted]

    @ModelClass.method(max_batch_size=8)
    def together(self, seed: Batch[int], count: Batch[int]) -> Iterator[Batch[bytes]]:
        """Send the items of several streams in step."""
        for place in range(max(count) + 1):
            yield [item(of, place) if place < most else END for of, most in zip(seed, count, strict=True)]

    @ModelClass.method
    def relayed(self, items: Iterator[bytes], seed: int, fail_at: int = -1) -> Iterator[bytes]:
        """Check each item and send it back, in a thread."""
        for place, data in enumerate(items):
            _fail(place, fail_at)
            check(data, seed, place)
            yield data

    @ModelClass.method
    async def relayed_async(self, items: AsyncIterator[bytes], seed: int, fail_at: int = -1) -> AsyncIterator[bytes]:
        """The same in a coroutine."""
        place = 0
        async for data in items:
            _fail(place, fail_at)
            check(data, seed, place)
            yield data
            place += 1

    @ModelClass.method
    def collected(self, items: Iterator[bytes], seed: int) -> int:
        """Check and count."""
        place = -1
        for place, data in enumerate(items):
            check(data, seed, place)
        return place + 1

    @ModelClass.method
    async def held(self) -> dict[str, int]:
        """Return what the worker holds: tasks (this call's own too), rows that are lent, and those waited for."""
        return {"tasks": len(asyncio.all_tasks()), "rows": self.slots.leased, "row_waiters": self.slots.waiting}


def _fail(place: int, fail_at: int) -> None:
    if place == fail_at:
        raise ValueError(f"asked to fail at {place}")
