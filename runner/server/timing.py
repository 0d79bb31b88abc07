"""Where the time of a call went, as the trailing metadata behind its end on our own service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner.execution.times import Times
from runner.server.rpcs import CallInfo
from runner.wire.statistics import TIMES_KEY


class Timed(Protocol):
    """A call, or how one ended."""

    @property
    def waited(self) -> float:
        """Seconds in the server's queue."""
        ...

    @property
    def times(self) -> Times | None:
        """What its worker says; None: nothing."""
        ...


def slowest(calls: Sequence[Timed]) -> Timed:
    """Return the one of a list's calls that took the longest: it is what the whole list waited for."""

    def total(call: Timed) -> float:
        times = call.times
        return call.waited + (0.0 if times is None else times.queued + times.decode + times.run + times.encode)

    return max(calls, key=total)


def times_text(waited: float, times: Times | None) -> str:
    """Return the times of a call in milliseconds: `queue=0.12;wait=1.5;decode=0.03;run=4.21;encode=0.02;batch=8`.

    `queue`: in the server, until a replica had room, given as `waited` in seconds. `wait`: in the worker, until it ran.
    `batch`: calls that ran together, 0 if it ran by itself. Nothing but `queue` where no worker has said anything.
    """
    if times is None:
        return f"queue={waited * 1000:.3f}"
    queued, decode, run, encode, size = times
    parts = (("queue", waited), ("wait", queued), ("decode", decode), ("run", run), ("encode", encode))
    return ";".join(f"{name}={seconds * 1000:.3f}" for name, seconds in parts) + f";batch={size}"


def tell_times(call: CallInfo, timed: Timed) -> None:
    """Have it told behind the last reply, or with the error, where the time of a call went, if that is possible."""
    if call.trailers is not None:
        call.trailers.append((TIMES_KEY, times_text(timed.waited, timed.times)))
