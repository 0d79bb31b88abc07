"""Unary calls that come together are begun together: most of what a small call costs is then paid once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.server.rpcs import CallInfo, UnaryRpc

if TYPE_CHECKING:
    from runner.server.native.unary_call import UnaryCall

MAX_GATHERED = 64
"""Calls that are begun together. A worker may have the first ones of a long read while the others are still read."""


class Gathering:
    """The calls that one piece of a socket has brought, or several in one turn of the loop."""

    def __init__(self, info: Callable[[UnaryCall], CallInfo]) -> None:
        """Begin without calls. `info`: returns what an RPC is told of a call beside its bytes."""
        self._info = info
        self._gathered: list[UnaryCall] = []
        self._rpc: UnaryRpc | None = None  # what they ask for
        self._due = False  # they are begun when the turn of the loop ends
        self._others = False  # and come from several connections
        self._several = False  # those of the turn before did
        self._first = 0  # the connection that was read first in this turn
        self._read_at = -1.0

    def add(self, rpc: UnaryRpc, call: UnaryCall) -> None:
        """Have an RPC begin with a call, and with others that come with it, when `begin` is called or before."""
        if rpc is not self._rpc:
            self.begin()
            self._rpc = rpc
        self._gathered.append(call)
        if len(self._gathered) >= MAX_GATHERED:
            self.begin()

    def has_read(self, connection: object, now: float) -> None:
        """What there was to read on a connection has been read: have the calls begun that it brought.

        At once, where one connection has something at a time. Where several have something in one turn of the loop, at
        the turn's end, all together; and in the next turn too, in case there are several again.

        Args:
            connection: any object that stands for it.
            now: instant, by the loop's clock, which stands still for a turn (uvloop's does; by another, each connection
                has turns of its own).
        """
        if not self._gathered:
            return
        others = now == self._read_at and id(connection) != self._first
        if not others:
            self._first = id(connection)
            self._read_at = now
        if not (others or self._several):
            self.begin()
        elif self._due:
            self._others |= others
        else:
            self._due, self._others = True, others
            asyncio.get_running_loop().call_soon(self._turn_ended)

    def _turn_ended(self) -> None:
        self._due = False
        self._several = self._others
        self.begin()

    def begin(self) -> None:
        """Have the calls begun that have come."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        rpc = self._rpc
        assert rpc is not None
        assert rpc.begin is not None
        calls = [call for call in gathered if call.waits]
        for call in calls:
            call.info = self._info(call)
        try:
            rpc.begin(calls)
        except Exception as exc:  # a bug, and these calls' only
            for call in calls:
                call.told(exc)
        for call in calls:
            call.begun(rpc)

    def __repr__(self) -> str:
        return f"<Gathering {len(self._gathered)} calls>"
