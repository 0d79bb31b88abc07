"""Callers that wait for admission instead of being refused, in the order in which they came."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from runner.dispatch.callers import TooOften
from runner.engine.calls import Request
from runner.engine.stream_call import StreamCall
from runner.errors import CallError, DeadlineExceeded, Overloaded
from runner.signature.published import Lane


class _Waiting(NamedTuple):
    request: Request
    opened: asyncio.Future[StreamCall]


class Line:
    """One line before each lane. Those are let in for whom there is room; nobody has to try again and lose a turn."""

    def __init__(self, open_call: Callable[[Request], StreamCall], longest: int, clock: Callable[[], float]) -> None:
        """Make the lines.

        Args:
            open_call: opens a call, or raises `Overloaded`.
            longest: callers that may stand in all lines together.
            clock: tells instants, in seconds.
        """
        self._open_call = open_call
        self._longest = longest
        self._clock = clock
        self._length = 0
        self._lines: defaultdict[Lane, deque[_Waiting]] = defaultdict(deque)
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._length

    async def open(self, request: Request, patience: float) -> StreamCall:
        """Open a call, now or when its turn comes. Cancelling the wait leaves nothing behind.

        Args:
            request: what to open.
            patience: seconds to wait at most.

        Raises:
            CallError: the call was not admitted, `Overloaded` if it was not its turn in time, `DeadlineExceeded` if
                that time was the caller's.
        """
        if not self._lines[request.method.lane]:  # or a newcomer would overtake those who wait
            try:
                return self._open_call(request)
            except Overloaded as exc:
                if isinstance(exc, TooOften):
                    self._look_again(exc.retry_after)
        return await self._wait(request, patience)

    async def _wait(self, request: Request, patience: float) -> StreamCall:
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

    def let_in(self) -> None:
        """Open the calls of those who wait, oldest first, as far as there is room.

        One whose caller has too many calls of its own stays where it is, and holds up nobody.
        """
        if not self._length:
            return
        soonest: float | None = None
        for line in self._lines.values():
            held: list[_Waiting] = []
            while line:
                waiting = line[0]
                if not waiting.opened.done():
                    try:
                        waiting.opened.set_result(self._open_call(waiting.request))
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
        self._look_again(soonest)

    def close(self) -> None:
        """Let in everybody, whom `open_call` has to refuse by now."""
        self.let_in()
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self, delay: float | None) -> None:
        """Let in after so many seconds: a caller's rate allows a call by then, and no other event may come."""
        if delay is None:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None  # it may have fired a moment early, and then is not the one to wait for
        self.let_in()

    def _leave(self, waiting: _Waiting) -> None:
        line = self._lines[waiting.request.method.lane]
        if waiting in line:
            line.remove(waiting)
            self._length -= 1
        elif not waiting.opened.cancelled() and waiting.opened.exception() is None:
            waiting.opened.result().close()  # let in at the very moment of leaving

    def __repr__(self) -> str:
        return f"<Line {self._length} of {self._longest}>"
