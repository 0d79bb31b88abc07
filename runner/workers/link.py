"""A link carries messages between the server and one worker, in both directions.

`SocketLink` stands on two socket pairs, one for payloads and one for control; `MemoryLink` joins two ends in one
process. Neither knows what the messages mean. What is on its way is bounded by the credits of whoever sends: a link
itself never refuses and never drops, and never stops reading.

On the socket for payloads a long message goes in pieces, as fast as the other end reads them, and short ones go between
them. So messages of one call arrive in the order in which they were sent, and messages of two calls need not.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Protocol, cast

from runner.wire.payload import Payload
from runner.workers.frames import JOIN_BELOW, LENGTH, pack, unpack
from runner.workers.messages import Call, EndInput, Failed, Item, Message, Result
from runner.workers.pieces import FIRST_TAG, HEAD_BYTES, PIECE_BYTES, Cutter, Joiner, body
from runner.workers.shared import Shared

_READ_BYTES = 256 * 1024
"""bytes read at once. What is longer is read to where it is to lie."""

SERVER_QUIET_TURNS = 12
WORKER_QUIET_TURNS = 0
"""turns of the loop without a new message before what has gathered is written. Waking the other process is the dearest
part of sending. The server's calls trickle in over several turns of a loop that is busy with gRPC; a worker's answers
come together in one turn, and an empty one costs it about as much as an answer."""

_ENOUGH = 16
"""pieces before a call, or before an answer, that leave with it and wait for no more: the other process begins with
them while this one goes on. With 64 calls in flight that keeps both busy, where they would take turns. The chunks of
streams do wait for each other: a write for each few of them would cost more than it gives."""

_ENOUGH_BYTES = 512 * 1024
"""bytes of calls or answers that are told of in this very turn. What is read or written for each of them takes long
enough for the other process to do its part meanwhile; a turn may bring sixteen of 150 KB."""

_LAST_READ = 0.05
"""seconds in which payloads are still read after the other channel has ended: both end together when a process dies."""

_HOLD = 0.001
"""seconds a message waits for others at most, however busy the loop is."""

MAX_UNCUT_BYTES = 64 * 1024 * 1024
"""Only messages that are not about a call are longer than a piece and not cut: `Ready`, say, with all that there is to
know of a model's methods. A frame beyond this can only be garbage, and the link is closed then."""


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

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """Put together a payload that is to be sent over this link. From any thread."""
        ...

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

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """See `Link`."""
        return b"".join(pieces)

    def close(self) -> None:
        """See `Link`."""
        if self._peer is not None:
            peer, self._peer = self._peer, None
            self._loop.call_soon(peer.on_closed)


class SocketLink:
    """One end of a link over two connected sockets. What is sent in neighbouring turns leaves in one write."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        quiet_turns: int,
        shared: Shared | None = None,
    ) -> None:
        self.loop = loop
        self.quiet_turns = quiet_turns
        self.writer, self.reader = (None, None) if shared is None else shared
        self._receiver = receiver
        self._data = _Channel(self)
        self._control = _Channel(self)
        self._closed = False
        self._ending: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        data: socket.socket,
        control: socket.socket,
        receiver: Receiver,
        quiet_turns: int,
        shared: Shared | None = None,
    ) -> SocketLink:
        """Take over two connected stream sockets, and memory for long payloads if there is some."""
        loop = asyncio.get_running_loop()
        link = cls(loop, receiver, quiet_turns, shared)
        await loop.create_connection(lambda: link._control, sock=control)
        await loop.create_connection(lambda: link._data, sock=data)
        return link

    def send(self, message: Message) -> None:
        """See `Link`."""
        channel = self._control if message.CONTROL else self._data
        begin = len(channel.outbox)
        size = pack(message, channel.outbox, self.writer)
        if size < PIECE_BYTES and isinstance(message, Call | Result):
            channel.announced += len(message.payload)
        if (size > PIECE_BYTES or channel.cutter.calls) and channel.cut(message, begin, size):
            return
        if begin >= _ENOUGH and type(message) is not Item:
            channel.flush()
        elif not (channel.announced >= _ENOUGH_BYTES and channel.flush_now()) and not begin:
            channel.hold()

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """See `Link`."""
        return b"".join(pieces) if self.writer is None else self.writer.join(pieces)

    def close(self) -> None:
        """See `Link`. What was sent before is still written."""
        # The end of either channel is the end of the link, so the one that may have megabytes to write goes first: when
        # it has ended, `lost` closes the other.
        self._control.flush()
        self._data.close()

    def received(self, message: Message) -> None:
        """Hand a message up; called by the channels."""
        self._receiver.on_message(message)

    def lost(self, channel: _Channel) -> None:
        """Either channel's end is the end of the link."""
        if channel is self._control and self._data.open and self._ending is None:
            # What the other end had said before it died is still to be read.
            self._ending = self.loop.call_later(_LAST_READ, self._end)
        elif channel is self._data:
            self._end()

    def _end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if not self._closed:
            self._closed = True
            for channel in (self._control, self._data):
                channel.close()
            self._receiver.on_closed()


class _Channel(asyncio.BufferedProtocol):
    """One socket of a link: splits what arrives into frames, and writes what the turn of the loop has gathered."""

    def __init__(self, link: SocketLink) -> None:
        self._link = link
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._filled = 0
        self._long: memoryview | None = None  # what is longer than the buffer and is being filled
        self._is_piece = False  # whether that is a piece or a frame
        self._joiner = Joiner()
        self.outbox: list[Payload] = []
        self.announced = 0  # bytes of payloads that messages in the outbox bring, or say where they lie
        self.cutter = Cutter()
        self._paused = False
        self._pumping = False
        self._holding = False
        self._until = 0.0

    def hold(self) -> None:
        """Write soon: after `quiet_turns` of the loop in which nothing was added, or after `_HOLD`."""
        self._until = time.monotonic() + _HOLD
        if not self._holding:
            self._holding = True
            self._link.loop.call_soon(self._next_turn, 0, self._link.quiet_turns)

    def _next_turn(self, pieces: int, quiet: int) -> None:
        if len(self.outbox) != pieces:
            quiet = self._link.quiet_turns
        if not self.outbox or quiet <= 0 or time.monotonic() >= self._until:
            self._holding = False
            self.flush()
        else:
            self._link.loop.call_soon(self._next_turn, len(self.outbox), quiet - 1)

    def cut(self, message: Message, begin: int, size: int) -> bool:
        """Have a message sent in pieces that stands in the outbox from `begin` on; False if it can stay there."""
        if not isinstance(message, Call | Item | EndInput | Result | Failed):
            return False
        if size <= PIECE_BYTES and message.id not in self.cutter.calls:
            return False
        parts = self.outbox[begin:]
        del self.outbox[begin:]
        if self._transport is not None:
            self.cutter.add(message.id, parts, size)
            self._pump_soon()
        return True

    def _pump_soon(self) -> None:
        if not self._pumping and not self._paused:
            self._pumping = True
            self._link.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Write one piece in each turn of the loop for as long as the socket takes them."""
        self._pumping = False
        if self._transport is None or self._transport.is_closing() or self._paused or not self.cutter.calls:
            return
        self.flush()  # what stands there was sent before, and has waited long enough
        self._transport.writelines(self.cutter.next())
        self._pump_soon()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def flush_now(self) -> bool:
        """Have what stands there written in this very turn; False if the socket is behind, so that it has to wait."""
        transport = self._transport
        if transport is None or self._paused or self.cutter.calls:
            return False
        # uvloop writes at the end of a turn, but for what the buffer has no room for.
        transport.set_write_buffer_limits(high=0)
        self.flush()
        transport.set_write_buffer_limits(high=PIECE_BYTES)
        return True

    def flush(self) -> None:
        self.announced = 0
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
            while self.cutter.calls and not self._transport.is_closing():
                self._transport.writelines(self.cutter.next())
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports subclass none of asyncio's
        # One piece may wait there: a short message never stands behind more than that and what the socket holds.
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)

    @property
    def open(self) -> bool:
        """True until its end."""
        return self._transport is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.cutter, self._joiner = Cutter(), Joiner()
        self._link.lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        target = self._buffer if self._long is None else self._long
        return target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._long is not None:
            if self._filled == len(self._long):
                frame, self._long, self._filled = self._long, None, 0
                whole = self._joiner.close() if self._is_piece else frame
                if whole is not None:
                    self._link.received(unpack(whole, self._link.reader))
            return
        buffer, filled, start = self._buffer, self._filled, 0
        received, shared, length = self._link.received, self._link.reader, LENGTH.unpack_from
        while filled - start >= 4:
            end = start + 4 + length(buffer, start)[0]
            if end > filled:
                break
            frame = buffer[start:end]
            if end - start == 4 or frame[4] < FIRST_TAG:
                received(unpack(frame if end - start < JOIN_BELOW else _detached(frame), shared))
            elif (whole := self._joiner.take(frame)) is not None:
                received(unpack(whole, shared))
            start = end
        self._keep(start)

    def _keep(self, start: int) -> None:
        """Move the begun frame to where the next read continues it."""
        begun = self._buffer[start : self._filled]
        if len(begun) >= HEAD_BYTES and begun[4] >= FIRST_TAG:
            self._long, self._is_piece = self._joiner.open(begun), True
            begun = body(begun)
            self._long[: len(begun)] = begun
        elif len(begun) >= 4 and (length := 4 + int.from_bytes(begun[:4], "little")) > len(self._buffer):
            if length > MAX_UNCUT_BYTES:
                raise ValueError(f"a frame of {length} bytes on the link to a worker")
            self._long, self._is_piece = memoryview(bytearray(length)), False
            self._long[: len(begun)] = begun
        elif start and begun:
            self._buffer[: len(begun)] = bytes(begun)
        self._filled = len(begun)


def _detached(frame: memoryview) -> memoryview:
    """The buffer is read into again, so a payload that `unpack` would leave in place needs memory of its own."""
    return memoryview(bytearray(frame))
