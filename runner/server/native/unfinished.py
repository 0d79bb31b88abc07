"""Calls of which no whole request has come: how many there may be, how much of their messages, and their deadlines.

No worker and no queue knows of them, and nobody else watches over them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.server.native.call import Call
    from runner.server.native.unary_call import UnaryCall

MAX_OPENED = 16_384
"""Calls of all connections of which no whole request has come. Their clients may take as long as they like: to type the
first words of a conversation, to send a long input over a slow line. So beyond it none is refused, but the one gives
way that has said nothing for the longest. Most never are among them for longer than it takes to read one piece of a
socket."""

MAX_ARRIVING_BYTES = 1 << 32
"""Bytes of messages of all connections that are not there as a whole. Beyond it, the call gives way of whose message
nothing has come for the longest: to begin long messages and end none costs a client as much as us, and we have more of
them."""


class Unfinished:
    """Those of all connections of a transport.

    Attributes:
        arriving_bytes: what is there of messages that are not whole.
    """

    def __init__(self) -> None:
        self.arriving_bytes = 0
        self._opened: OrderedDict[Call, None] = OrderedDict()  # who was heard of last is last
        self._arriving: OrderedDict[Call, int] = OrderedDict()  # bytes of each, in the same order
        self._expected: list[UnaryCall] = []  # with a deadline; their heads came in this turn of the loop

    def __len__(self) -> int:
        return len(self._opened)

    def add(self, call: Call) -> None:
        """The head of a call has come."""
        if len(self._opened) >= MAX_OPENED:
            next(iter(self._opened)).give_way("too many calls are open without a request")
        self._opened[call] = None

    def expect_message(self, call: UnaryCall) -> None:
        """The head of a call with a deadline has come. Most messages come with their heads, and need no timer."""
        if not self._expected:
            asyncio.get_running_loop().call_soon(self._watch_expected)
        self._expected.append(call)

    def _watch_expected(self) -> None:
        expected, self._expected = self._expected, []
        now = time.monotonic()
        for call in expected:
            call.watch(now)

    def heard(self, call: Call) -> None:
        """Something of a call's first request has come."""
        if call in self._opened:
            self._opened.move_to_end(call)

    def arrived(self, call: Call, size: int) -> None:
        """So much is there of a call's message that is not whole; 0: it has none."""
        self.arriving_bytes += size - self._arriving.pop(call, 0)
        if size:
            self._arriving[call] = size
            while self.arriving_bytes > MAX_ARRIVING_BYTES:
                stale, its = self._arriving.popitem(last=False)
                self.arriving_bytes -= its
                stale.give_way("too much is under way; send the call again later")

    def remove(self, call: Call) -> None:
        """A call's first request is there, or will not come. May be said again."""
        self._opened.pop(call, None)

    def __repr__(self) -> str:
        return f"<Unfinished {len(self._opened)} calls, {self.arriving_bytes} bytes>"
