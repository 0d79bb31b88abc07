"""Batched methods that say with whom they ran."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np

from runner import END, Batch, ModelClass


class Batches(ModelClass):
    """Every answer names the size of its batch."""

    @ModelClass.method(max_batch_size=8)
    def slow(self, text: Batch[str]) -> Batch[str]:
        """Take 50 ms for any batch, without the GIL."""
        time.sleep(0.05)
        return [f"{each} of {len(text)} by {os.getpid()}" for each in text]

    @ModelClass.method(max_batch_size=64)
    def norm(self, row: Batch[np.ndarray]) -> Batch[float]:
        """Return the length of a vector."""
        return [float(number) for number in np.linalg.norm(row, axis=1)]

    @ModelClass.method
    def spell(self, word: Batch[str]) -> Iterator[Batch[str]]:
        """Say a word letter by letter."""
        for index in range(max(map(len, word)) + 1):
            yield [each[index] if index < len(each) else END for each in word]

    @ModelClass.method
    async def count(self, start: int, steps: int) -> AsyncIterator[str]:
        """Count, a step of many streams at a time."""
        for _ in range(steps):
            start, size = await self.step(start)
            yield f"{start} of {size}"

    @ModelClass.batched(max_batch_size=64)
    def step(self, numbers: list[int]) -> list[tuple[int, int]]:
        """Add one to each."""
        time.sleep(0.01)
        return [(number + 1, len(numbers)) for number in numbers]
