"""An HTTP/2 connection over a socket of the native transport."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import random
import socket
import termios
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from runner.http2.connection import Connection
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.stream import Received

if TYPE_CHECKING:
    from runner.server.native.transport import NativeTransport

logger = logging.getLogger("runner.server")

_WRITE_BYTES: Final = 512 * 1024
"""bytes that wait for the socket before we stop giving it more."""

READ_BYTES: Final = 256 * 1024
"""bytes that are read at once. All connections of a server are read into the same memory: nobody keeps any of it."""

_SHORT_READ: Final = 16 * 1024
"""bytes. To copy as many costs less than to handle them as a part of that memory."""

_LONG_WRITE: Final = 64 * 1024
_LONG_PIECE: Final = 4 * 1024
"""A write of more bytes than this, in pieces of more than that on average, is written from where they lie. To join them
costs less than to name each to the kernel otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a connection may be or do what. Seconds.

    Attributes:
        first_bytes: until the client has said what it speaks, and until the handshake of TLS is over.
        silence: without a byte from the client before it is asked, by a PING, whether it is there. It has as long again
            to answer. A client that reads nothing for so long while there is something to read is gone too.
        idle: without a call, and a look more, after which a client is asked to connect again when it has one; if it
            neither goes nor calls for as long again, the connection is closed. Whoever does nothing but answer PINGs,
            or sends a frame byte by byte, does not keep its place for ever.
        max_age: until clients are asked to connect again, so that load spreads over new servers, with a tenth of
            chance; 0: they may stay for ever.
        age_grace: what calls may take after that.
    """

    first_bytes: float = 10.0
    silence: float = 60.0
    idle: float = 300.0
    max_age: float = 0.0
    age_grace: float = 30.0


class Http2Protocol(asyncio.BufferedProtocol):
    """A socket that speaks HTTP/2: writes what a turn of the loop has gathered, at once."""

    def __init__(self, server: NativeTransport) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._read_into = server.read_into
        self._scheduled = False  # a flush is under way, or will come in this turn
        self._paused = False
        self._leaving = False  # nothing more is said, and what comes is not looked at
        self._stuck = False  # the socket takes nothing, and did not when last looked at
        self._heard = 0.0  # when bytes came last
        self._called = 0.0  # when a look found that there had been calls
        self._opened = 0  # calls by then
        self._timer: asyncio.TimerHandle | None = None
        self._age_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BYTES)
        now = self._loop.time()
        self._heard = self._called = now
        opener = self._server.calls.opener(host_of(self._transport))
        self._connection = Connection(opener, self._wake, self._server.limits, now, self._server.backlog)
        patience = self._server.patience
        self._timer = self._loop.call_later(patience.silence, self._look)
        if patience.max_age:
            # Not all at once: clients that came together would come back together.
            age = patience.max_age * random.uniform(0.9, 1.1)
            self._age_timer = self._loop.call_later(age, self._grow_old)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return self._read_into

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        data = self._read_into[:nbytes]
        self.receive(data if nbytes > _SHORT_READ else bytes(data))

    def receive(self, data: Received) -> None:
        """Take bytes that have come."""
        connection = self._connection
        assert connection is not None
        self._heard = now = self._loop.time()
        if self._leaving:
            return
        self._scheduled = True  # what is said meanwhile leaves below
        try:
            connection.receive(data, now)
            self._server.calls.gathering.has_read(self, now)
        finally:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        for timer in (self._timer, self._age_timer):
            if timer is not None:
                timer.cancel()
        self._server.leave(self)
        self._transport = None
        if self._connection is not None:
            self._connection.lost()

    def eof_received(self) -> bool:
        """See asyncio. A client that can no longer ask has gone."""
        return False

    def pause_writing(self) -> None:
        """See asyncio. What is written stays with its stream, where the writers wait for it to leave."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._paused = self._stuck = False
        self._flush()

    def drain(self) -> None:
        """Take no more calls on this connection, and close it when the last has ended."""
        if self._connection is not None:
            self._connection.drain()

    def close(self) -> None:
        """End all calls and the connection."""
        if self._connection is not None:
            self._connection.lost()
        if self._transport is not None:
            self._transport.close()

    @property
    def unread(self) -> int:
        """Bytes of answers that wait for the client to read."""
        return 0 if self._connection is None else self._connection.sender.queued

    def cut_off(self) -> None:
        """End all calls and the connection, of a client that does not read its answers."""
        if self._connection is not None:
            self._connection.fail(ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "answers wait that nobody reads"))
            self._flush()

    @property
    def sent(self) -> bool:
        """True if no call is open, and all that was said is with the kernel or on its way there; or all is lost."""
        connection = self._connection
        return (
            connection is None or connection.failure is not None or not (connection.active or connection.sender.pending)
        )

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        connection, transport = self._connection, self._transport
        if transport is None or connection is None or self._leaving:
            return
        if self._paused:
            if connection.sender.waiting > connection.limits.max_unsent_frames:
                logger.info("a client at %s does not read its answers: its connection is cut", host_of(transport))
                transport.abort()
            return
        sender = connection.sender
        out = sender.take()
        if out:
            if len(out) == 1:
                transport.write(out[0])
            elif (size := sum(map(len, out))) > _LONG_WRITE and size > _LONG_PIECE * len(out):
                transport.writelines(out)
            else:
                transport.write(b"".join(out))
            if sender.pending:
                self._wake()
                return
        if connection.finished:
            self._leave(connection, transport)
        elif connection.draining:
            self._server.flushed()

    def _leave(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Say that this was all, and wait for the client to close, in time.

        Clients open windows as they read. If such a frame meets a socket that is closed, the kernel drops what it has
        not sent yet, perhaps megabytes of the last answer. (TLS says the same in its own words before it closes.)
        """
        self._leaving = True
        if connection.failure is None and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
        self._server.flushed()

    @property
    def undelivered(self) -> bool:
        """True if something that was said is not with the client's kernel."""
        transport = self._transport
        if transport is None:
            return False
        if transport.get_write_buffer_size():
            return True
        end = transport.get_extra_info("socket")
        if end.family == socket.AF_UNIX:
            return False  # what was said is there, read or not, and stays
        left = array("i", [0])
        fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, left)
        return left[0] > 0

    def _look(self) -> None:
        """Look whether the client is there."""
        connection, transport = self._connection, self._transport
        assert connection is not None
        if transport is None:
            return
        silence = self._server.patience.silence
        now = self._loop.time()  # timers may come a little early, and so the instants below do
        quiet = now - self._heard
        if self._stuck or connection.pinged:
            logger.info("a client at %s does not answer: its connection is closed", host_of(transport))
            transport.abort()
            return
        self._stuck = self._paused
        if connection.active or connection.opened != self._opened:
            self._opened, self._called = connection.opened, now
        elif now - self._called >= self._server.patience.idle * 0.99:
            if connection.draining:
                transport.abort()
                return
            self._called = now
            connection.drain()
        if quiet >= silence * 0.99:
            connection.ping()
            quiet = 0.0
        self._timer = self._loop.call_later(silence - quiet, self._look)

    def _grow_old(self) -> None:
        self.drain()
        self._age_timer = self._loop.call_later(self._server.patience.age_grace, self.close)


def host_of(transport: asyncio.BaseTransport) -> str:
    """Return the host at the other end; that of a Unix socket has no name."""
    peer = cast("tuple[str, int] | str", transport.get_extra_info("peername"))
    return peer[0] if isinstance(peer, tuple) else "unix"
