"""A link carries messages between the main process and one ingress process, over one socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from runner.processes.channel import Channel
from runner.processes.pieces import PIECE_BYTES
from runner.processes.shared import Shared
from runner.server.ingress.frames import pack, unpack
from runner.server.ingress.messages import Call, Cancel, EndInput, Failed, Item, Message, Result

_QUIET_TURNS: Final = 0
"""turns of the loop without a new message before what has gathered is written: it comes together in one turn."""

_ENOUGH_BYTES: Final = 512 * 1024
"""bytes of payloads that are told of in this very turn: the other process begins with them while this one goes on."""

_OF_CALLS: Final = (Call, Item, EndInput, Cancel, Result, Failed)
"""What travels in order with everything else of its call, and is cut if it is long."""

_ANNOUNCED: Final = (Call, Result)
"""What brings a payload, or says where it lies."""


class Receiver(Protocol):
    """Who is told what a link brings."""

    def on_message(self, message: Message) -> None:
        """Take one message. An exception ends the link."""

    def on_closed(self) -> None:
        """The other end is gone; nothing more will come. Called once."""


class IngressLink:
    """One end of a link."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: Receiver, shared: Shared | None) -> None:
        self._receiver = receiver
        self._writer, self._reader = (None, None) if shared is None else shared
        self._channel = Channel(self, loop, _QUIET_TURNS)

    @classmethod
    async def open(
        cls,
        end: socket.socket,
        receiver: Receiver,
        shared: Shared | None,
        attach: Callable[[IngressLink], None] | None = None,
    ) -> IngressLink:
        """Return a link over a connected stream socket.

        Args:
            end: the socket, taken over.
            receiver: told what comes.
            shared: memory for long payloads, if there is some.
            attach: given the link before anything can come.
        """
        loop = asyncio.get_running_loop()
        link = cls(loop, receiver, shared)
        if attach is not None:
            attach(link)
        await loop.create_connection(lambda: link._channel, sock=end)
        return link

    def send(self, message: Message) -> None:
        """Send a message; what is sent after the other end has gone is dropped."""
        channel = self._channel
        begin = len(channel.outbox)
        size = pack(message, channel.outbox, self._writer)
        if size > PIECE_BYTES or channel.cutter.calls:
            if isinstance(message, _OF_CALLS) and channel.cut(message.id, begin, size):
                return
        elif isinstance(message, _ANNOUNCED):
            channel.announced += len(message.payload)
            if channel.announced >= _ENOUGH_BYTES and channel.flush_now():
                return
        channel.hold()

    def draft(self, size: int) -> memoryview | None:
        """Return memory for a message of so many bytes, which need not be copied to be sent; None: there is none."""
        return None if self._writer is None else self._writer.draft(size)

    def close(self) -> None:
        """Close it. What was sent before is still written."""
        self._channel.close()

    def complete(self, channel: Channel) -> None:
        """See `Owner`. All that is sent is in the outbox at once."""

    def received(self, frame: memoryview) -> None:
        """See `Owner`."""
        self._receiver.on_message(unpack(frame, self._reader))

    def lost(self, channel: Channel) -> None:
        """See `Owner`."""
        self._writer = self._reader = None  # memory that goes with its last payload, and not when garbage is collected
        self._receiver.on_closed()

    def __repr__(self) -> str:
        return f"<IngressLink {'open' if self._channel.open else 'closed'}>"
