"""Callers that wait for admission instead of being refused, in the order in which they came."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from runner.dispatch.callers import TooOften
from runner.engine.calls import Request, StreamCall
from runner.errors import CallError, DeadlineExceeded, Overloaded
from runner.signature.published import Lane


class _Waiting(NamedTuple):
    request: Request
    opened: asyncio.Future[StreamCall]


class Line:
    """One line before each lane. The engine lets in whom it has room for; nobody has to try again and lose a turn."""

    def __init__(self, longest: int, clock: Callable[[], float]) -> None:
        """Make the lines; at most `longest` callers stand in all of them together."""
        self._longest = longest
        self._clock = clock
        self._length = 0
        self._lines: defaultdict[Lane, deque[_Waiting]] = defaultdict(deque)

    def __len__(self) -> int:
        return self._length

    def before(self, lane: Lane) -> bool:
        """True if somebody waits for this lane, so that a newcomer has to as well."""
        return bool(self._lines[lane])

    async def wait(self, request: Request, patience: float) -> StreamCall:
        """Stand in line until the call has been opened. Cancelling the wait leaves nothing behind.

        Args:
            request: what to open.
            patience: seconds to wait at most.

        Raises:
            CallError: the call was not admitted, `Overloaded` if it was not its turn in time, `DeadlineExceeded` if
                that time was the caller's.
        """
        if self._length >= self._longest:
            raise Overloaded(f"{self._length} calls wait for admission, and no more can; try again later")
        left = math.inf if request.deadline is None else request.deadline - self._clock()
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        line = self._lines[request.method.lane]
        line.append(waiting)
        self._length += 1
        try:
            async with asyncio.timeout(min(patience, left)):
                return await waiting.opened
        except TimeoutError:
            self._leave(waiting)
            if left < patience:
                told = f"waiting for admission, for {max(left, 0.0):.2f} s"
                raise DeadlineExceeded(f"the deadline passed while the call was {told}") from None
            raise Overloaded(f"no room came within {patience:g} s; try again later") from None
        except asyncio.CancelledError:
            self._leave(waiting)
            raise

    def let_in(self, open_call: Callable[[Request], StreamCall]) -> float | None:
        """Open the calls of those who wait, oldest first, until `open_call` raises `Overloaded`.

        One whose caller has too many calls of its own stays where it is, and holds up nobody.

        Returns:
            Seconds after which one of those may be let in that call too often; None if there is none.
        """
        soonest: float | None = None
        for line in self._lines.values():
            held: list[_Waiting] = []
            while line:
                waiting = line[0]
                if not waiting.opened.done():
                    try:
                        waiting.opened.set_result(open_call(waiting.request))
                    except Overloaded as exc:
                        if not exc.of_caller:
                            break
                        if isinstance(exc, TooOften) and exc.retry_after is not None:
                            soonest = min(exc.retry_after, math.inf if soonest is None else soonest)
                        held.append(line.popleft())
                        continue
                    except CallError as exc:
                        waiting.opened.set_exception(exc)
                line.popleft()
                self._length -= 1
            line.extendleft(reversed(held))
        return soonest

    def _leave(self, waiting: _Waiting) -> None:
        line = self._lines[waiting.request.method.lane]
        if waiting in line:
            line.remove(waiting)
            self._length -= 1
        elif not waiting.opened.cancelled() and waiting.opened.exception() is None:
            waiting.opened.result().close()  # let in at the very moment of leaving

    def __repr__(self) -> str:
        return f"<Line {self._length} of {self._longest}>"
