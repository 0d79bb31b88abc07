"""The two sides of a stream as a method sees them: an iterator of inputs, and a gate before each output.

Each comes twice, for a plain function in its own thread and for a coroutine on the loop. All of them are fed on the
loop's thread. `close` ends the wait of whoever stands in them with `Cancelled`.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import TypeAlias

from runner.errors import Cancelled
from runner.flow import Consumption, Window
from runner.wire.payload import Payload

GiveBack: TypeAlias = Callable[[int, int], None]


class _End(enum.Enum):
    """What stands in a queue of payloads where there is none."""

    FINISHED = enum.auto()
    GONE = enum.auto()  # the caller left, as opposed to finished


def _cancelled() -> Cancelled:
    return Cancelled("the caller is gone")


class BlockingInputs:
    """The inputs of a stream, for a plain function. The sender's credit bounds how many wait."""

    def __init__(self, decode: Callable[[Payload], object], give_back: GiveBack) -> None:
        """Make the iterator before the method is called.

        Args:
            decode: turns a payload into a value, in the method's thread; raises `InvalidInput`.
            give_back: told how much credit to return, in items and in bytes, in the method's thread.
        """
        self._first: deque[object] = deque()
        self._decode = decode
        self._give_back = give_back
        self._consumption = Consumption()
        self._queue: SimpleQueue[Payload | _End] = SimpleQueue()
        self._gone = False

    def put_first(self, value: object) -> None:
        """Add the value that came, already decoded, with the call itself."""
        self._first.append(value)

    def put(self, payload: Payload) -> None:
        """Add one input."""
        self._queue.put(payload)

    def end(self) -> None:
        """No more inputs will come."""
        self._queue.put(_End.FINISHED)

    def close(self) -> None:
        """The caller is gone, or the method has ended: what still waits is not handed out any more."""
        self._gone = True
        self._queue.put(_End.GONE)  # wakes who waits

    def __iter__(self) -> BlockingInputs:
        return self

    def __next__(self) -> object:
        if self._first and not self._gone:
            return self._first.popleft()
        payload = self._queue.get()
        if self._gone:
            self._queue.put(_End.GONE)
            raise _cancelled()
        if isinstance(payload, _End):
            self._queue.put(payload)  # asked once more, the answer is the same
            raise StopIteration
        if credit := self._consumption.consume(len(payload)):
            self._give_back(*credit)
        return self._decode(payload)


class AsyncInputs:
    """The inputs of a stream, for a coroutine. Several tasks may read them, each item goes to one."""

    def __init__(self, decode: Callable[[Payload], Awaitable[object]], give_back: GiveBack) -> None:
        self._first: deque[object] = deque()
        self._decode = decode
        self._give_back = give_back
        self._consumption = Consumption()
        self._queue: deque[Payload] = deque()
        self._end: _End | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()  # of the tasks that read, in the order in which they asked

    def put_first(self, value: object) -> None:
        """Add the value that came, already decoded, with the call itself."""
        self._first.append(value)

    def put(self, payload: Payload) -> None:
        """Add one input."""
        self._queue.append(payload)
        self._wake()

    def end(self) -> None:
        """No more inputs will come."""
        self._end = self._end or _End.FINISHED
        self._wake()

    def close(self) -> None:
        """The caller is gone, or the method has ended: what still waits is not handed out any more."""
        self._end = _End.GONE
        self._wake()

    def _wake(self) -> None:
        # All of them: one alone might be cancelled before it looks, and the item would lie there.
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> AsyncInputs:
        return self

    async def __anext__(self) -> object:
        if self._first and self._end is not _End.GONE:
            return self._first.popleft()
        while not self._queue and self._end is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._end is _End.GONE:
            await asyncio.sleep(0)  # who takes no notice and asks again and again lets others run all the same
            raise _cancelled()
        if not self._queue:
            raise StopAsyncIteration
        payload = self._queue.popleft()
        if credit := self._consumption.consume(len(payload)):
            self._give_back(*credit)
        return await self._decode(payload)


class BlockingGate:
    """Stops a generator's thread while the reader is behind."""

    def __init__(self) -> None:
        self._window = Window()
        self._changed = threading.Condition()
        self._closed = False

    def grant(self, items: int, size: int) -> None:
        """Credit came back."""
        with self._changed:
            self._window.grant(items, size)
            self._changed.notify()

    def close(self) -> None:
        """The caller is gone."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def wait(self) -> None:
        """Return when one more item may be sent. Then `spend` it.

        Raises:
            Cancelled: the caller is gone.
        """
        # The lock is taken only when the window is shut: this thread alone spends, and the loop alone grants.
        if not self._window.open:
            with self._changed:
                self._changed.wait_for(lambda: self._window.open or self._closed)
        if self._closed:
            raise _cancelled()

    def spend(self, size: int) -> None:
        """Count one item of `size` bytes sent."""
        self._window.spend(size)


class AsyncGate:
    """Suspends a coroutine's stream while the reader is behind."""

    def __init__(self) -> None:
        self._window = Window()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def open(self) -> bool:
        """True if `wait` would return at once."""
        return self._window.open and not self._closed

    def grant(self, items: int, size: int) -> None:
        """Credit came back."""
        self._window.grant(items, size)
        self._wake()

    def close(self) -> None:
        """The caller is gone. Its owner cancels the coroutine too, but a generator may swallow that and go on."""
        self._closed = True
        self._wake()

    async def wait(self) -> None:
        """Return when one more item may be sent. Then `spend` it.

        Raises:
            Cancelled: the caller is gone.
        """
        while not self._window.open and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._closed:
            raise _cancelled()

    def spend(self, size: int) -> None:
        """Count one item of `size` bytes sent."""
        self._window.spend(size)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
