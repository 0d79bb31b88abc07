"""What has come of a stream and was not taken yet, and whoever waits for more of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

from runner.flow import take_together

T = TypeVar("T", bound=Sized)


class Inbox(Generic[T]):
    """Items in the order in which they came, for one reader. How many there may be is for their sender to know."""

    __slots__ = ("_ended", "_items", "_reader")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._ended = False
        self._reader: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """One more has come."""
        self._items.append(item)
        self._wake()

    def end(self) -> None:
        """No more will come. Those that are there may still be taken."""
        self._ended = True
        self._wake()

    async def take(self) -> T:
        """Return the next one; wait for it if it is not there.

        Raises:
            StopAsyncIteration: that was the last.
        """
        if not self._items:
            await self._first()
        return self._items.popleft()

    async def take_together(self, most: int) -> list[T]:
        """Return the next one and those that are there and go with it, `most` at most; wait if there is none.

        Raises:
            StopAsyncIteration: there is none, and none will come.
        """
        if not self._items:
            await self._first()
        return take_together(self._items, most)

    async def _first(self) -> None:
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def __repr__(self) -> str:
        return f"<Inbox of {len(self._items)}{', ended' if self._ended else ''}>"
