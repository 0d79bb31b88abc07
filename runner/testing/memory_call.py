"""One streaming call into a service that runs on another thread's event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from typing import TypeAlias

from runner.errors import Cancelled, DeadlineExceeded

__all__ = ["Delivered", "MemoryCall", "Opener", "deadline_exceeded"]

Delivered: TypeAlias = "bytes | BaseException | None"
"""A reply; or the last that comes: an error, or None for a good end."""

Opener: TypeAlias = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
"""Starts the call: takes the stream of requests, gives the stream of replies."""

_AHEAD = 1
"""Replies made before they are asked for. gRPC has buffers of many; a test should see a slow reader slow the model."""


def deadline_exceeded(timeout: float | None) -> DeadlineExceeded:
    """Return the error of a call that was not over in time."""
    return DeadlineExceeded(f"the call was not over within its timeout of {timeout:g} s")


class MemoryCall:
    """Runs the call in one task of the service's loop. The methods may be called from any thread.

    Args:
        loop: the service's.
        opener: starts the call.
        deliver: called on that loop with each reply, and last with how it ended.
        timeout: seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        opener: Opener,
        deliver: Callable[[Delivered], None],
        timeout: float | None,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._room = asyncio.Semaphore(_AHEAD)
        self._over = False
        self._failure: BaseException | None = None
        self._running = asyncio.run_coroutine_threadsafe(self._run(opener, timeout), loop)

    def send(self, request: bytes | None) -> Future[bool]:
        """Send a request, or None after the last one. The result comes when there is room; False: the call is over."""
        return asyncio.run_coroutine_threadsafe(self._put(request), self._loop)

    def taken(self) -> None:
        """Say that a reply was read, so that the next one may be made."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the call is over
            self._loop.call_soon_threadsafe(self._room.release)

    def cancel(self, failure: BaseException | None = None) -> None:
        """End the call unless it is over; `failure` is then delivered in the place of `Cancelled`."""
        self._failure = self._failure or failure
        self._running.cancel()

    async def _run(self, opener: Opener, timeout: float | None) -> None:
        last: BaseException | None = None
        try:
            async with asyncio.timeout(timeout), contextlib.aclosing(opener(self._incoming())) as replies:
                async for reply in replies:
                    await self._room.acquire()
                    self._deliver(reply)
        except TimeoutError:
            last = deadline_exceeded(timeout)
        except asyncio.CancelledError:
            last = self._failure or Cancelled("the call was cancelled")
        except Exception as error:
            last = error
        self._over = True
        while not self._requests.empty():
            self._requests.get_nowait()  # wakes a sender that waits for room
        self._deliver(last)

    async def _incoming(self) -> AsyncIterator[bytes]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _put(self, request: bytes | None) -> bool:
        if not self._over:
            await self._requests.put(request)
        return not self._over
