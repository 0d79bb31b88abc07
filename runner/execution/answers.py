"""Answers that leave together: what ends in one step of the loop is told at its end, in as few words as may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.execution.times import Times
from runner.wire import run
from runner.wire.payload import VIEW_FROM, Payload

if TYPE_CHECKING:
    from runner.execution.executor import Outlet

_MOST: Final = 32
"""Answers that wait for each other at most: the server begins with them while the next ones are made. To send sixteen
at a time costs a sixth more, and with 64 at a time the two processes take turns: see `docs/performance.md`."""

_MOST_BYTES: Final = 128 * 1024
"""Of outputs told together, so that they go in one piece."""


class Answers:
    """Answers of calls that ended well. Whoever adds some sees to it that `tell` is called before the loop goes on."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._waiting: list[tuple[int, Payload, Times]] = []
        self._bytes = 0

    def add(self, call_id: int, output: Payload, times: Times) -> None:
        """Have an answer told soon. A long one goes at once, by itself."""
        size = len(output)
        if size >= VIEW_FROM:
            self._outlet.ended(call_id, output, times)
            return
        if len(self._waiting) >= _MOST or self._bytes + size > _MOST_BYTES:
            self.tell()
        self._waiting.append((call_id, output, times))
        self._bytes += size

    def tell(self) -> None:
        """Tell all that wait: those of neighbouring numbers with one word."""
        if not self._waiting:
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        waiting.sort()  # those of threads end in any order
        if waiting[-1][0] - waiting[0][0] < len(waiting):  # as most do, all of them at once
            self._tell(waiting)
            return
        first = 0
        for place in range(1, len(waiting) + 1):
            if place == len(waiting) or waiting[place][0] != waiting[place - 1][0] + 1:
                self._tell(waiting[first:place])
                first = place

    def _tell(self, members: list[tuple[int, Payload, Times]]) -> None:
        if len(members) == 1:
            self._outlet.ended(*members[0])
            return
        numbers, outputs, times = zip(*members, strict=True)
        self._outlet.ended_together(numbers[0], len(members), b"".join(run.pieces(run.OUTPUT_TAG, outputs)), times)

    def __repr__(self) -> str:
        return f"<Answers {len(self._waiting)} waiting>"
