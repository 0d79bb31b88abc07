"""One socket between two processes: frames go out in few writes, long ones in pieces, and come in whole.

What is sent in neighbouring turns of the loop leaves in one write. Nothing is refused or dropped here, and reading
never stops: what is on its way is bounded by the credits of whoever sends.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Final, Protocol, cast

from runner.processes.framing import JOIN_BELOW, LENGTH
from runner.processes.pieces import FIRST_TAG, HEAD_BYTES, PIECE_BYTES, Cutter, Joiner, body
from runner.wire.payload import Payload

_READ_BYTES: Final = 256 * 1024
"""bytes read at once. What is longer is read to where it is to lie."""

_HOLD: Final = 0.001
"""seconds a message waits for others at most, however busy the loop is."""

MAX_UNCUT_BYTES: Final = 64 * 1024 * 1024
"""Only messages that are not about a call are longer than a piece and not cut: a worker's `Ready`, say, with all that
there is to know of a model's methods. A frame beyond this can only be garbage, and the channel is closed then."""


_MOST_PIECES: Final = 1024
"""buffers in one system call (IOV_MAX)."""


class Owner(Protocol):
    """Who is told what a channel brings."""

    def complete(self, channel: Channel) -> None:
        """The channel is about to write: put into its `outbox` what else was to be sent."""

    def received(self, frame: memoryview) -> None:
        """Take a whole frame, its length included. A short one is read over later. An exception ends the channel."""

    def lost(self, channel: Channel) -> None:
        """The other end is gone; nothing more will come. Called once."""


class Channel(asyncio.BufferedProtocol):
    """Splits what arrives into frames, and writes what a few turns of the loop have gathered in `outbox`.

    Args:
        owner: told of frames, and of the end.
        loop: where it all happens.
        quiet_turns: of the loop without anything new before what has gathered is written.
    """

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, quiet_turns: int) -> None:
        self._owner = owner
        self._loop = loop
        self._quiet_turns = quiet_turns
        self._transport: asyncio.WriteTransport | None = None
        self._socket = -1
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._filled = 0
        self._long: memoryview | None = None  # what is longer than the buffer and is being filled
        self._is_piece = False  # whether that is a piece or a frame
        self._joiner = Joiner()
        self.outbox: list[Payload] = []
        self._held = 0  # messages since the last write, which stand in the outbox or are soon put there
        self.announced = 0  # bytes of payloads that messages in the outbox bring, or say where they lie
        self.cutter = Cutter()
        self._paused = False
        self._pumping = False
        self._holding = False
        self._until = 0.0

    def hold(self) -> None:
        """Write a message soon: after `quiet_turns` of the loop in which no other came, or after `_HOLD`."""
        self._held += 1
        if self._held > 1:
            return
        self._until = time.monotonic() + _HOLD
        if not self._holding:
            self._holding = True
            self._loop.call_soon(self._next_turn, 1, self._quiet_turns)

    def _next_turn(self, held: int, quiet: int) -> None:
        if self._held != held:
            quiet = self._quiet_turns
        if not self._held or quiet <= 0 or time.monotonic() >= self._until:
            self._holding = False
            self.flush()
        else:
            self._loop.call_soon(self._next_turn, self._held, quiet - 1)

    def cut(self, call: int, begin: int, size: int) -> bool:
        """Have a call's frame sent in pieces that stands in the outbox from `begin` on; False if it can stay there.

        Args:
            call: everything of it keeps its order.
            begin: index of the frame's first part.
            size: bytes of the frame.
        """
        if size <= PIECE_BYTES and call not in self.cutter.calls:
            return False
        parts = self.outbox[begin:]
        del self.outbox[begin:]
        if self._transport is not None:
            self.cutter.add(call, parts, size)
            self._pump_soon()
        return True

    def _pump_soon(self) -> None:
        if not self._pumping and not self._paused:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Write one piece in each turn of the loop for as long as the socket takes them."""
        self._pumping = False
        if self._transport is None or self._transport.is_closing() or self._paused or not self.cutter.calls:
            return
        self.flush()  # what stands there was sent before, and has waited long enough
        self._write(self._transport, self.cutter.next())
        self._pump_soon()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._paused = False
        self._pump()

    def flush_now(self) -> bool:
        """Have what stands there written in this very turn; False if the socket is behind, so that it has to wait."""
        transport = self._transport
        if transport is None or self._paused or self.cutter.calls:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Write what has gathered."""
        self._owner.complete(self)
        self.announced = self._held = 0
        outbox, self.outbox = self.outbox, []
        if self._transport is None or self._transport.is_closing() or not outbox:
            return
        # Pieces of `JOIN_BELOW` and more are sent from where they lie; a write of many small ones costs more than
        # joining them.
        if len(outbox) > 1 and all(len(piece) < JOIN_BELOW for piece in outbox):
            outbox = [b"".join(outbox)]
        self._write(self._transport, outbox)

    def _write(self, transport: asyncio.WriteTransport, pieces: Sequence[Payload]) -> None:
        """Write what the socket takes at once, and leave the rest to the transport.

        To write wakes the other process, often on this very core: this thread then stands still until that has done
        its part. So it does without the interpreter's lock, which uvloop keeps: a model's thread may want it.
        """
        if transport.get_write_buffer_size() or len(pieces) > _MOST_PIECES:
            transport.writelines(pieces)
            return
        try:
            sent = os.writev(self._socket, pieces)
        except OSError:  # it is full, or it is gone: the transport finds out
            sent = 0
        for position, piece in enumerate(pieces):
            if sent < len(piece):
                transport.writelines([memoryview(piece)[sent:], *pieces[position + 1 :]])
                return
            sent -= len(piece)

    def close(self) -> None:
        """Write all that was sent, and end."""
        if self._transport is not None:
            self.flush()
            while self.cutter.calls and not self._transport.is_closing():
                self._write(self._transport, self.cutter.next())
            self._transport.close()

    def forked(self) -> None:
        """This is a process that was forked: the socket is its parent's, and something else takes its place here."""
        if self._transport is not None:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self._socket, inheritable=False)
            os.close(nothing)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports subclass none of asyncio's
        self._socket = transport.get_extra_info("socket").fileno()
        # One piece may wait there: a short message never stands behind more than that and what the socket holds.
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)

    @property
    def open(self) -> bool:
        """True until its end."""
        return self._transport is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        self.cutter, self._joiner = Cutter(), Joiner()
        self._owner.lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        target = self._buffer if self._long is None else self._long
        return target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        self._filled += nbytes
        if self._long is not None:
            if self._filled == len(self._long):
                frame, self._long, self._filled = self._long, None, 0
                whole = self._joiner.close() if self._is_piece else frame
                if whole is not None:
                    self._owner.received(whole)
            return
        buffer, filled, start = self._buffer, self._filled, 0
        received, length = self._owner.received, LENGTH.unpack_from
        while filled - start >= 4:
            end = start + 4 + length(buffer, start)[0]
            if end > filled:
                break
            frame = buffer[start:end]
            if end - start == 4 or frame[4] < FIRST_TAG:
                received(frame if end - start < JOIN_BELOW else _detached(frame))
            elif (whole := self._joiner.take(frame)) is not None:
                received(whole)
            start = end
        self._keep(start)

    def _keep(self, start: int) -> None:
        """Move the begun frame to where the next read continues it."""
        begun = self._buffer[start : self._filled]
        length = 4 + int.from_bytes(begun[:4], "little") if len(begun) >= 4 else 0
        if length > MAX_UNCUT_BYTES:
            raise ValueError(f"a frame of {length} bytes between two processes")
        told = len(begun) >= HEAD_BYTES  # with less a piece may look like a frame, and what it is can wait for more
        if told and begun[4] >= FIRST_TAG:
            self._long, self._is_piece = self._joiner.open(begun), True
            begun = body(begun)
            self._long[: len(begun)] = begun
        elif told and length > len(self._buffer):
            self._long, self._is_piece = memoryview(bytearray(length)), False
            self._long[: len(begun)] = begun
        elif start and begun:
            self._buffer[: len(begun)] = bytes(begun)
        self._filled = len(begun)


def _detached(frame: memoryview) -> memoryview:
    """The buffer is read into again, so a payload that is left in place needs memory of its own."""
    return memoryview(bytearray(frame))
