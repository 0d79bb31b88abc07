"""A link carries messages between the server and one worker, in both directions.

`SocketLink` stands on two socket pairs, one for payloads and one for control; `MemoryLink` joins two ends in one
process. Neither knows what the messages mean. What is on its way is bounded by the credits of whoever sends: a link
itself never refuses and never drops.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Protocol, cast

from runner.wire.payload import Payload
from runner.workers.frames import JOIN_BELOW, pack, unpack
from runner.workers.messages import Message

_READ_BYTES = 256 * 1024
"""bytes read at once. A longer frame gets a buffer of its own size, so that its payload can be used where it lies."""

SERVER_QUIET_TURNS = 12
WORKER_QUIET_TURNS = 0
"""turns of the loop without a new message before what has gathered is written. Waking the other process is the dearest
part of sending. The server's calls trickle in over several turns of a loop that is busy with gRPC; a worker's answers
come together in one turn, and an empty one costs it about as much as an answer."""

_HOLD = 0.001
"""seconds a message waits for others at most, however busy the loop is."""

MAX_FRAME_BYTES = 2**31
"""A longer frame can only be garbage: gRPC messages end at 1 GiB. The link is closed then."""


class Receiver(Protocol):
    """Who is told what a link brings."""

    def on_message(self, message: Message) -> None:
        """Take one message. Must not raise."""

    def on_closed(self) -> None:
        """The other end is gone; nothing more will come. Called once."""


class Link(Protocol):
    """One end of a link."""

    def send(self, message: Message) -> None:
        """Send a message; what is sent after the other end has gone is dropped."""

    def close(self) -> None:
        """Close both directions."""


class MemoryLink:
    """One end of a link inside a process. Messages arrive in a later turn of the loop, as over a socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._peer: Receiver | None = None

    @staticmethod
    def pair(loop: asyncio.AbstractEventLoop) -> tuple[MemoryLink, MemoryLink]:
        """Return two ends; each must be given its receiver's peer with `connect`."""
        return MemoryLink(loop), MemoryLink(loop)

    def connect(self, peer: Receiver) -> None:
        """Set who receives what this end sends."""
        self._peer = peer

    def send(self, message: Message) -> None:
        """See `Link`."""
        if self._peer is not None:
            self._loop.call_soon(self._peer.on_message, message)

    def close(self) -> None:
        """See `Link`."""
        if self._peer is not None:
            peer, self._peer = self._peer, None
            self._loop.call_soon(peer.on_closed)


class SocketLink:
    """One end of a link over two connected sockets. What is sent in neighbouring turns leaves in one write."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: Receiver, quiet_turns: int) -> None:
        self.loop = loop
        self.quiet_turns = quiet_turns
        self._receiver = receiver
        self._data = _Channel(self)
        self._control = _Channel(self)
        self._closed = False

    @classmethod
    async def open(
        cls, data: socket.socket, control: socket.socket, receiver: Receiver, quiet_turns: int
    ) -> SocketLink:
        """Take over two connected stream sockets."""
        loop = asyncio.get_running_loop()
        link = cls(loop, receiver, quiet_turns)
        await loop.create_connection(lambda: link._control, sock=control)
        await loop.create_connection(lambda: link._data, sock=data)
        return link

    def send(self, message: Message) -> None:
        """See `Link`."""
        channel = self._control if message.CONTROL else self._data
        if not channel.outbox:
            channel.hold()
        pack(message, channel.outbox)

    def close(self) -> None:
        """See `Link`. What was sent before is still written."""
        for channel in (self._control, self._data):
            channel.close()

    def received(self, message: Message) -> None:
        """Hand a message up; called by the channels."""
        self._receiver.on_message(message)

    def lost(self) -> None:
        """Either channel's end is the end of the link."""
        if not self._closed:
            self._closed = True
            self.close()
            self._receiver.on_closed()


class _Channel(asyncio.BufferedProtocol):
    """One socket of a link: splits what arrives into frames, and writes what the turn of the loop has gathered."""

    def __init__(self, link: SocketLink) -> None:
        self._link = link
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._filled = 0
        self._long: memoryview | None = None  # a frame longer than the buffer, being filled
        self.outbox: list[Payload] = []
        self._until = 0.0

    def hold(self) -> None:
        """Write soon: after `quiet_turns` of the loop in which nothing was added, or after `_HOLD`."""
        self._until = time.monotonic() + _HOLD
        self._link.loop.call_soon(self._next_turn, 0, self._link.quiet_turns)

    def _next_turn(self, pieces: int, quiet: int) -> None:
        if len(self.outbox) != pieces:
            quiet = self._link.quiet_turns
        if quiet <= 0 or time.monotonic() >= self._until:
            self.flush()
        else:
            self._link.loop.call_soon(self._next_turn, len(self.outbox), quiet - 1)

    def flush(self) -> None:
        outbox, self.outbox = self.outbox, []
        if self._transport is None or self._transport.is_closing() or not outbox:
            return
        # Pieces of `JOIN_BELOW` and more are sent from where they lie; a write of many small ones costs more than
        # joining them.
        if all(len(piece) < JOIN_BELOW for piece in outbox):
            self._transport.write(b"".join(outbox))
        else:
            self._transport.writelines(outbox)

    def close(self) -> None:
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports subclass none of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._link.lost()

    def get_buffer(self, sizehint: int) -> memoryview:
        target = self._buffer if self._long is None else self._long
        return target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._long is not None:
            if self._filled == len(self._long):
                frame, self._long, self._filled = self._long, None, 0
                self._link.received(unpack(frame))
            return
        buffer, filled, start = self._buffer, self._filled, 0
        while filled - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4], "little")
            if end > filled:
                break
            self._link.received(unpack(_detached(buffer[start:end])))
            start = end
        self._keep(start)

    def _keep(self, start: int) -> None:
        """Move the begun frame to where the next read continues it."""
        left = self._filled - start
        if left >= 4:
            length = 4 + int.from_bytes(self._buffer[start : start + 4], "little")
            if length > MAX_FRAME_BYTES:
                self._link.close()
                return
            if length > len(self._buffer):
                self._long = memoryview(bytearray(length))
                self._long[:left] = self._buffer[start : self._filled]
                self._filled = left
                return
        if start and left:
            self._buffer[:left] = bytes(self._buffer[start : self._filled])
        self._filled = left


def _detached(frame: memoryview) -> memoryview:
    """The buffer is read into again, so a payload that `unpack` would leave in place needs memory of its own."""
    return frame if len(frame) < JOIN_BELOW else memoryview(bytearray(frame))
