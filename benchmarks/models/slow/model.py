"""Streams that take their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from runner import ModelClass


class Slow(ModelClass):
    """One stream of each direction."""

    @ModelClass.method
    async def tick(self, every: float, size: int) -> AsyncIterator[bytes]:
        """Give so many bytes every so many seconds."""
        while True:
            yield bytes(size)
            await asyncio.sleep(every)

    @ModelClass.method
    async def echo(self, items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for each in items:
            yield each
