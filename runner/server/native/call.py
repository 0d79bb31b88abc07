"""A call of gRPC on a stream of a connection, as far as all kinds of calls are alike: its messages, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from runner.grpc_protocol.compression import IDENTITY, compress
from runner.grpc_protocol.messages import HEAD, MemoryFor, Message, MessageReader, Packed, frame, head
from runner.grpc_protocol.response import OK, trailers_only
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.connection import Connection
from runner.http2.fields import Fields
from runner.http2.frames import DEFAULT_MAX_FRAME
from runner.http2.sender import HeaderBlock
from runner.http2.stream import Received, Stream
from runner.server.native.meaning import Meaning

if TYPE_CHECKING:
    from runner.server.native.calls import Calls

JOIN_BELOW: Final = 16 * 1024
"""A shorter message is joined with its head; a longer one is sent where it lies."""

COMPRESSED: Final = range(1024, 256 * 1024 + 1)
"""Lengths of the replies that are compressed, where they are. A shorter one gains nothing; to compress a longer one
would hold up everybody else's calls."""

WELL: Final = HeaderBlock(OK, end_stream=True)
"""How most calls end."""


class Call(Stream):
    """What both kinds of calls share."""

    __slots__ = (
        "_arrived",
        "_begun",
        "_calls",
        "_reader",
        "_task",
        "_timer",
        "deadline",
        "meaning",
        "peer",
        "trailers",
    )

    def __init__(self, connection: Connection, stream_id: int, calls: Calls, meaning: Meaning, peer: str) -> None:
        super().__init__(connection, stream_id)
        self._calls = calls
        self.meaning = meaning
        self.peer = peer
        self._reader: MessageReader | None = None
        self._arrived = 0  # bytes of a message that is not whole, as `calls` knows them
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the deadline, where nobody else watches it
        self.deadline: float | None = None  # its instant, if that is not what `meaning` says from now on
        self._begun = False  # the head of the response was sent
        self.trailers: list[tuple[str, str]] | None = None  # what the RPC has to say of the call behind its end

    def _feed(
        self, data: Received, start: int, stop: int, ended: bool, memory_for: MemoryFor | None = None
    ) -> list[Message | Packed]:
        """Return the messages that end in a piece of the body.

        Args:
            data, start, stop: `data[start:stop]` is the piece.
            ended: it is the last.
            memory_for: see `MessageReader`.

        Raises:
            CallFailure: they are none.
        """
        reader = self._reader
        if reader is None:
            reader = self._reader = MessageReader(
                self._calls.max_message_bytes, self.meaning.head.decompress, memory_for
            )
        messages = reader.feed(data, start, stop)
        if ended and not reader.between:
            raise CallFailure(StatusCode.INTERNAL, "the request ended in the middle of a message")
        if reader.filled != self._arrived:
            self._count_arrived(reader.filled)
        return messages

    def _count_arrived(self, size: int) -> None:
        self._arrived = size
        self._calls.unfinished.arrived(self, size)

    def _expect(self) -> None:
        """Make room for the rest of a message that has begun. It fits: the reader has looked at its length."""
        if self._reader is not None and (missing := self._reader.missing):
            self.connection.inflow.expect(self, missing)

    def _send(self, *message: Message) -> None:
        """Send one message of the response, which may be in several pieces."""
        sender = self.connection.sender
        meaning = self.meaning
        if not self._begun:
            self._begun = True
            sender.begin(self, meaning.begin)
        size = sum(map(len, message))
        packed = meaning.coding is not IDENTITY and size in COMPRESSED
        if size >= JOIN_BELOW and not packed:
            sender.long_data(self, (head(size), *message))
            return
        whole = message[0] if len(message) == 1 else b"".join(message)
        if packed:
            sender.data(self, frame(compress(meaning.coding, whole), compressed=True))
        else:
            sender.data(self, whole, size.to_bytes(5, "big"))  # a flag of 0, and the length in four bytes

    def _send_some(self, messages: Sequence[Message], start: int) -> int:
        """Send a message of the response, and those behind it that fit into one frame with it; return how many.

        Args:
            messages: those that are ready.
            start: index of the first that is to be sent.
        """
        if start + 1 < len(messages) and self.meaning.coding is IDENTITY:
            pieces: list[Message] = []
            room = DEFAULT_MAX_FRAME
            for message in islice(messages, start, None):
                size = len(message)
                room -= HEAD + size
                if room < 0:
                    break
                pieces += (size.to_bytes(HEAD, "big"), message)  # a flag of 0, and the length in four bytes
            if len(pieces) > 2:
                if not self._begun:
                    self._begun = True
                    self.connection.sender.begin(self, self.meaning.begin)
                self.connection.sender.data(self, b"".join(pieces))
                return len(pieces) // 2
        self._send(messages[start])
        return 1

    def _end(self, trailers: Fields | HeaderBlock) -> None:
        if self._begun:
            self.connection.sender.end(self, trailers)
        elif isinstance(trailers, HeaderBlock):
            self.connection.sender.headers(self, trailers_only(OK), end_stream=True)
        else:
            self.connection.sender.headers(self, trailers_only(trailers), end_stream=True)

    def give_way(self, why: str) -> None:
        """End the call, whose client is slow, in favour of others."""
        self._fail(CallFailure(StatusCode.RESOURCE_EXHAUSTED, why))

    def _watch_deadline(self, timeout: float) -> None:
        """End the call in so many seconds, unless `_unwatch_deadline` comes first, or its end."""
        self._timer = asyncio.get_running_loop().call_later(timeout, self._expire)

    def _unwatch_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._fail(CallFailure(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"))

    def _fail(self, error: BaseException) -> None:
        """End the call with an error, unless it is over."""
        self._forget_request()
        if self.local_open:
            self._end(self._calls.trailers(error, self.trailers or ()))
            self.local_open = False
        if self._task is not None:
            self._task.cancel()

    def on_reset(self, code: int) -> None:
        """See `Stream`."""
        self._forget_request()
        if self._task is not None:
            self._task.cancel()

    def _forget_request(self) -> None:
        """What is there of a request is wanted no more, nor its memory, which others wait for."""
        self._unwatch_deadline()
        self._calls.unfinished.remove(self)
        self._reader = None
        if self._arrived:
            self._count_arrived(0)
