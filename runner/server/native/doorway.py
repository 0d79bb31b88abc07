"""A socket of the native transport before anybody knows whose bytes it carries: HTTP/2's or HTTP/1.1's."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

from runner.http2.frames import PREFACE
from runner.server.native.protocol import Http2Protocol

if TYPE_CHECKING:
    from runner.server.native.transport import NativeTransport

_is_http1 = re.compile(rb"[A-Z]{1,20} ").match
"""How a request of HTTP/1.1 begins. HTTP/2's preface begins so too, on purpose."""

_LONGEST_METHOD = 21


class Doorway(asyncio.Protocol):
    """A connection of which nobody knows yet what it speaks. The first bytes say it, and another takes its place."""

    def __init__(self, server: NativeTransport) -> None:
        self._server = server
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports subclass none of asyncio's
        if not self._server.admit(self):
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(self._server.patience.first_bytes, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        transport = self._transport
        assert transport is not None
        self._first += data
        first = self._first
        if PREFACE.startswith(first[: len(PREFACE)]):
            if len(first) < len(PREFACE):
                return
            http2 = Http2Protocol(self._server)
            self._server.succeed(self, http2)
            successor: asyncio.Protocol | Http2Protocol = http2
        elif _is_http1(first):
            successor = self._server.http1(transport)
        elif len(first) < _LONGEST_METHOD and first.isalpha() and first.isupper():
            return
        else:
            # TLS where there is none, for example: a client that only tries must hear that at once.
            transport.abort()
            return
        self._leave()
        transport.set_protocol(successor)
        successor.connection_made(transport)
        if isinstance(successor, Http2Protocol):
            successor.receive(first)
        else:
            successor.data_received(first)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._leave()

    def drain(self) -> None:
        """Close the connection: nothing is under way."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def unread(self) -> int:
        """Nothing is ever read here."""
        return 0

    def cut_off(self) -> None:
        """Close the connection."""
        self.close()

    @property
    def sent(self) -> bool:
        """Nothing is ever under way here."""
        return True

    @property
    def undelivered(self) -> bool:
        """Nothing is ever said here."""
        return False

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.leave(self)
