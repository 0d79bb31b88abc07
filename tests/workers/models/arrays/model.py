"""What may become of an array that a method gets: kept, changed in place, given back, lost with its worker."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np

from runner import Batch, ModelClass


class Arrays(ModelClass):
    def load_model(self) -> None:
        self.kept: list[np.ndarray] = []

    @ModelClass.method
    async def keep(self, array: np.ndarray) -> int:
        """Keep the array; return what of it is memory of this process alone."""
        self.kept.append(array)
        return array.nbytes if array.flags.owndata else 0

    @ModelClass.method
    async def sums(self) -> list[int]:
        return [int(array.sum()) for array in self.kept]

    @ModelClass.method
    async def drop(self) -> int:
        count = len(self.kept)
        self.kept.clear()
        return count

    @ModelClass.method
    async def echo(self, array: np.ndarray) -> np.ndarray:
        return array

    @ModelClass.method
    def echo_in_thread(self, array: np.ndarray) -> np.ndarray:
        return array

    @ModelClass.method(max_batch_size=4)
    def echo_in_batch(self, array: Batch[np.ndarray]) -> Batch[np.ndarray]:
        return array

    @ModelClass.method(max_batch_size=16)
    def pass_or_fail_in_batch(self, array: Batch[np.ndarray]) -> Batch[np.ndarray]:
        """Give back what does not begin below zero."""
        return [ValueError("below zero") if each[0] < 0 else each for each in array]

    @ModelClass.method
    async def stop_collecting(self) -> bool:
        gc.disable()
        return True

    @ModelClass.method
    def thrice(self, array: np.ndarray) -> Iterator[np.ndarray]:
        for _ in range(3):
            yield array

    @ModelClass.method
    def pass_on_in_thread(self, arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        yield from arrays

    @ModelClass.method
    def fail(self, array: np.ndarray) -> np.ndarray:
        raise ValueError(f"{array.nbytes} bytes")

    @ModelClass.method
    async def echo_bytes(self, data: bytes) -> bytes:
        return data

    @ModelClass.method
    async def negate_in_place(self, array: np.ndarray) -> np.ndarray:
        np.negative(array, out=array)
        return array

    @ModelClass.method
    async def again(self, array: np.ndarray) -> np.ndarray:
        """The same array each time, with other numbers."""
        if not self.kept:
            self.kept.append(array)
        self.kept[0] += 1
        return self.kept[0]

    @ModelClass.method
    async def hold(self, array: np.ndarray) -> np.ndarray:
        """Never give it back."""
        await asyncio.Event().wait()
        return array

    @ModelClass.method(idempotent=True)
    def die_once(self, array: np.ndarray, mark: str) -> np.ndarray:
        """Change the array and die, unless that has been done."""
        array += 1
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            return array
        os.kill(os.getpid(), signal.SIGKILL)
        return array

    @ModelClass.method
    def resident(self) -> int:
        """Bytes of memory that this process has."""
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @ModelClass.method
    async def pass_on(self, arrays: AsyncIterator[np.ndarray]) -> AsyncIterator[np.ndarray]:
        async for array in arrays:
            yield array
