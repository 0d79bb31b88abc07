"""Methods of every kind whose answers can be checked, and a ledger of what has run, which outlives a killed worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from runner import Batch, ModelClass


class Chaos(ModelClass):
    """Writes `call pid` before it does anything for a call: one write of one line, which the kernel keeps."""

    def load_model(self) -> None:
        folder = Path(os.environ["CHAOS_LEDGER"])
        self._pid = os.getpid()
        self._ledger = os.open(folder / str(self._pid), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _run(self, call: str) -> None:
        os.write(self._ledger, f"{call}\n".encode())

    @ModelClass.method
    def once(self, call: str, seconds: float) -> str:
        """Must never run twice."""
        self._run(call)
        time.sleep(seconds)
        return f"once {call}"

    @ModelClass.method(idempotent=True)
    def again(self, call: str, seconds: float) -> str:
        """May run twice, and must succeed."""
        self._run(call)
        time.sleep(seconds)
        return f"again {call}"

    @ModelClass.method(idempotent=True)
    async def think(self, call: str, seconds: float) -> str:
        """As `again`, on the worker's loop."""
        self._run(call)
        await asyncio.sleep(seconds)
        return f"think {call}"

    @ModelClass.method(idempotent=True, max_batch_size=8)
    def together(self, call: Batch[str], seconds: Batch[float]) -> Batch[str]:
        """As `again`, in batches."""
        for each in call:
            self._run(each)
        time.sleep(max(seconds))
        return [f"together {each}" for each in call]

    @ModelClass.method
    def count(self, call: str, seconds: float, items: int) -> Iterator[str]:
        """Each item must come once and in order."""
        self._run(call)
        for number in range(items):
            time.sleep(seconds / items)
            yield f"count {call} {number}"

    @ModelClass.method(idempotent=True)
    async def count_again(self, call: str, seconds: float, items: int) -> AsyncIterator[str]:
        """As `count`; may run again while nothing of it has left the server."""
        self._run(call)
        for number in range(items):
            await asyncio.sleep(seconds / items)
            yield f"count_again {call} {number}"

    @ModelClass.method
    def echo(self, call: str, words: Iterator[str]) -> Iterator[str]:
        """Answer each word."""
        self._run(call)
        for word in words:
            yield f"echo {call} {word}"

    @ModelClass.method
    def collect(self, call: str, words: Iterator[str]) -> str:
        """Answer all words at once."""
        self._run(call)
        return f"collect {call} {' '.join(words)}"

    # What goes wrong in the model itself.

    @ModelClass.method
    def exit(self, call: str) -> str:
        """Take the worker along."""
        self._run(call)
        os._exit(3)

    @ModelClass.method
    def exhaust(self, call: str) -> str:
        """Ask for more memory than there is."""
        self._run(call)
        return str(len(bytearray(1 << 60)))

    @ModelClass.method(max_run_seconds=0.5)
    def hang(self, call: str) -> str:
        """Never end."""
        self._run(call)
        while True:
            time.sleep(60)

    @ModelClass.method
    def stall(self, call: str, seconds: float) -> str:
        """Outlast the caller's deadline."""
        self._run(call)
        time.sleep(seconds)
        return f"stall {call}"
