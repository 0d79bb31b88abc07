"""Rows of preallocated tensors, lent to streams: a KV cache, the state of a recurrent network.

    slots = Slots(64)
    with slots.lease() as row:              # in a plain function; `async with` in a coroutine
        cache[row] ...

The lowest free row is lent first, so that the rows in use lie together, and a batch of all of them is a slice. A row
comes back when its block ends, however it ends. Whoever comes while all are lent waits in line, and leaves it when
nobody waits for their call any more.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from collections import deque
from functools import partial
from types import TracebackType
from typing import Any

from runner.context import current
from runner.errors import Cancelled

__all__ = ["Lease", "Row", "Slots"]

_leases = itertools.count(1)


class Row(int):
    """The number of a row that is lent. `lease` numbers the lendings of all rows, so that no two are taken for one."""

    lease: int

    def __new__(cls, number: int) -> Row:
        """Number one more lending."""
        row = super().__new__(cls, number)
        row.lease = next(_leases)
        return row


class Slots:
    """Lends the numbers 0 to `size` - 1. Any thread and any coroutine may ask."""

    def __init__(self, size: int) -> None:
        """Make rows, all free.

        Raises:
            ValueError: there is not one.
        """
        if size < 1:
            raise ValueError(f"Slots needs 1 row or more, not {size}")
        self.size = size
        self._free = list(range(size))
        self._line: deque[_Turn] = deque()
        self._lock = threading.Lock()

    def lease(self) -> Lease:
        """Return a block that holds a row: `with slots.lease() as row`, or `async with`."""
        return Lease(self)

    @property
    def leased(self) -> int:
        """Rows that are lent."""
        with self._lock:
            return self.size - len(self._free)

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        with self._lock:
            return len(self._line)

    def _ask(self) -> _Turn:
        """Return a turn that has a row already, or stands in line for one."""
        turn = _Turn()
        with self._lock:
            if self._free:
                turn.settle(heapq.heappop(self._free))
            else:
                self._line.append(turn)
        return turn

    def _give_back(self, row: int) -> None:
        with self._lock:
            while self._line:
                if self._line.popleft().settle(row):
                    return
            heapq.heappush(self._free, row)

    def _leave(self, turn: _Turn) -> None:
        """Whoever stood in line goes away, perhaps in the very moment that it was their turn."""
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                return
        if turn.row is not None:
            self._give_back(turn.row)

    def __repr__(self) -> str:
        return f"<Slots {self.leased} of {self.size} leased, {self.waiting} waiting>"


class _Turn:
    """One who asked. `settle` is called under the lock, and tells a thread or a loop."""

    __slots__ = ("_done", "_future", "row")

    def __init__(self) -> None:
        self.row: int | None = None
        self._done: threading.Event | None = None
        self._future: Any = None  # an asyncio.Future

    def settle(self, row: int) -> bool:
        """Take a row; False if nobody waits for it, since their loop was closed."""
        self.row = row
        if self._done is not None:
            self._done.set()
        if self._future is not None and not _tell(self._future):
            self.row = None
            return False
        return True

    def wait(self, lock: threading.Lock) -> None:
        with lock:
            if self.row is not None:
                return
            self._done = threading.Event()
        context, wake = current.get(None), self._done.set
        if context is None:
            self._done.wait()
            return
        context.watch(wake)
        try:
            if not context.cancelled:
                self._done.wait()
        finally:
            context.unwatch(wake)
        if self.row is None:
            raise Cancelled("the caller is gone")

    async def awaited(self, lock: threading.Lock) -> None:
        asyncio: Any = sys.modules["asyncio"]  # a coroutine runs, so it is there
        with lock:
            if self.row is not None:
                return
            future = self._future = asyncio.get_running_loop().create_future()
        context = current.get(None)
        if context is None:
            await future
            return
        if context.cancelled:
            await asyncio.sleep(0)  # who takes no notice and asks again and again lets others run all the same
        # On the worker's loop the task is cancelled, too; on one that a plain function runs nobody does that.
        wake = partial(_tell, future)
        context.watch(wake)
        try:
            if not context.cancelled:
                await future
        finally:
            context.unwatch(wake)
        if self.row is None:
            raise Cancelled("the caller is gone")


def _tell(future: Any) -> bool:
    """Wake who waits, from any thread; False if their loop is closed."""
    try:
        future.get_loop().call_soon_threadsafe(_wake, future)
    except RuntimeError:
        return False
    return True


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class Lease:
    """Holds one row for a block of code. Entered twice at once it raises RuntimeError."""

    __slots__ = ("_slots", "_turn")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._turn: _Turn | None = None

    def __enter__(self) -> Row:
        turn = self._ask()
        try:
            turn.wait(self._slots._lock)  # pyright: ignore[reportPrivateUsage]: one idea, two classes
        except BaseException:
            self._leave(turn)
            raise
        assert turn.row is not None
        return Row(turn.row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.row is not None:
            self._slots._give_back(turn.row)  # pyright: ignore[reportPrivateUsage]: as above

    async def __aenter__(self) -> Row:
        turn = self._ask()
        try:
            await turn.awaited(self._slots._lock)  # pyright: ignore[reportPrivateUsage]: as above
        except BaseException:
            self._leave(turn)
            raise
        assert turn.row is not None
        return Row(turn.row)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _ask(self) -> _Turn:
        if self._turn is not None:
            raise RuntimeError("this lease has been entered already, and would lose its row; ask `lease()` for another")
        turn = self._turn = self._slots._ask()  # pyright: ignore[reportPrivateUsage]: as above
        return turn

    def _leave(self, turn: _Turn) -> None:
        self._turn = None
        self._slots._leave(turn)  # pyright: ignore[reportPrivateUsage]: as above
