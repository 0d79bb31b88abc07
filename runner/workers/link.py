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
from collections.abc import Sequence
from typing import Protocol

from runner.processes.channel import Channel
from runner.processes.pieces import PIECE_BYTES
from runner.processes.shared import Shared
from runner.wire.payload import Payload
from runner.workers.frames import pack, unpack
from runner.workers.messages import Call, Calls, EndInput, Failed, Item, Message, Mixed, Result, Results
from runner.workers.short_items import SHORT, ShortItems

SERVER_QUIET_TURNS = 12
WORKER_QUIET_TURNS = 0
"""turns of the loop without a new message before what has gathered is written. Waking the other process is the dearest
part of sending. The server's calls trickle in over several turns of a loop that is busy with gRPC; a worker's answers
come together in one turn, and an empty one costs it about as much as an answer."""

_ENOUGH = 16
"""pieces before a call, or before an answer, that leave with it and wait for no more; and as many calls or answers in
one message. The other process begins with them while this one goes on: with 64 calls in flight that keeps both busy,
where they would take turns. The chunks of streams do wait for each other: a write for each few of them would cost more
than it gives."""

_ENOUGH_BYTES = 512 * 1024
"""bytes of calls or answers that are told of in this very turn. What is read or written for each of them takes long
enough for the other process to do its part meanwhile; a turn may bring sixteen of 150 KB."""

_LAST_READ = 0.05
"""seconds in which payloads are still read after the other channel has ended: both end together when a process dies."""

_ANNOUNCED = (Call, Calls, Result, Results)
"""Messages whose payloads count for `_ENOUGH_BYTES`."""

_OF_CALLS = (Call, Calls, Item, EndInput, Result, Results, Failed, Mixed)
"""What travels in order with everything else of its call, and is cut if it is long."""


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

    def draft(self, size: int) -> memoryview | None:
        """Return memory for a message of so many bytes, whose payload need not be copied to be sent over this link.

        Where it is sent as a view that can be written to, the other end may change it. None: there is none.
        """
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

    def draft(self, size: int) -> memoryview | None:
        """See `Link`."""
        return None

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
        self._loop = loop
        self.writer, self.reader = (None, None) if shared is None else shared
        self._receiver = receiver
        self._data = Channel(self, loop, quiet_turns)
        self._control = Channel(self, loop, quiet_turns)
        self._items = ShortItems()
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
        if type(message) is Item and len(message.payload) < SHORT and message.id not in channel.cutter.calls:
            if self._items.add(message):
                self.complete(channel)
            channel.hold()
            return
        if self._items:
            self.complete(channel)  # what was sent before goes before
        begin = len(channel.outbox)
        size = pack(message, channel.outbox, self.writer)
        if size < PIECE_BYTES and isinstance(message, _ANNOUNCED):
            channel.announced += len(message.payload)
        long = size > PIECE_BYTES or channel.cutter.calls
        if long and isinstance(message, _OF_CALLS) and channel.cut(message.id, begin, size):
            return
        enough = begin >= _ENOUGH or _calls_in(message) >= _ENOUGH
        if enough and type(message) is not Item:
            channel.flush()
        elif not (channel.announced >= _ENOUGH_BYTES and channel.flush_now()):
            channel.hold()

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """See `Link`."""
        return b"".join(pieces) if self.writer is None else self.writer.join(pieces)

    def draft(self, size: int) -> memoryview | None:
        """See `Link`."""
        return None if self.writer is None else self.writer.draft(size)

    def close(self) -> None:
        """See `Link`. What was sent before is still written."""
        # The end of either channel is the end of the link, so the one that may have megabytes to write goes first: when
        # it has ended, `lost` closes the other.
        self._control.flush()
        self._data.close()

    def forked(self) -> None:
        """This is a process that was forked: it hears and says nothing here. Its parent's end stays as it is."""
        for channel in (self._control, self._data):
            channel.forked()

    def complete(self, channel: Channel) -> None:
        """See `Owner`."""
        if channel is self._data and (message := self._items.take()) is not None:
            pack(message, channel.outbox)

    def received(self, frame: memoryview) -> None:
        """See `Owner`."""
        self._receiver.on_message(unpack(frame, self.reader))

    def lost(self, channel: Channel) -> None:
        """See `Owner`. Either channel's end is the end of the link."""
        if channel is self._control and self._data.open and self._ending is None:
            # What the other end had said before it died is still to be read.
            self._ending = self._loop.call_later(_LAST_READ, self._end)
        elif channel is self._data:
            self._end()

    def _end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if not self._closed:
            self._closed = True
            for channel in (self._control, self._data):
                channel.close()
            self.writer = self.reader = (
                None  # memory that goes with its last payload, and not when garbage is collected
            )
            self._receiver.on_closed()


def _calls_in(message: Message) -> int:
    """Return how many calls a message is about that is about several."""
    if type(message) is Calls:
        return len(message.request_ids)
    return message.calls if type(message) is Results else 0
