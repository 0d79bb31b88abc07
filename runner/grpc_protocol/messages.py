"""Messages in the body of a stream: a flag, four bytes of length, and the message, joined and split anywhere.

A message that came in one piece is cut out of it, or left in it if it is long and nothing will be read over it. Any
other long one is collected in one buffer, which holds memory for what has come and not for what was announced: the
length is the peer's word. Whoever takes the messages may have a better place for it, from which it need not be copied
again. What becomes of a compressed one is up to a thousand times its length, and it stays `Packed` until somebody takes
it.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Final, TypeAlias

from runner.allocator import uncleared
from runner.grpc_protocol.compression import Decompress
from runner.grpc_protocol.status import CallFailure, StatusCode
from runner.http2.stream import Received

Message: TypeAlias = bytes | memoryview
"""A view if it is long. One that can be written to is the memory of `MemoryFor`."""

MemoryFor: TypeAlias = Callable[[int], memoryview | None]
"""Returns memory in which a message of so many bytes can lie, which is lent for as long as there is a view of it; None:
it has none. It holds anything."""

HEAD: Final = 5
"""Bytes before each message."""

_VIEW_FROM: Final = 16 * 1024
"""Length from which on a message stays where it came in: below, a copy costs less than a view."""

_VIEW_SHARE: Final = 4
"""A view keeps all of the piece. One that is less than this part of it is copied out, so that what waits somewhere
keeps no more than this many times its own length."""

_MAPPED_FROM: Final = 8 * 1024 * 1024
"""Length from which on a buffer is memory of its own, which the kernel gives and takes. Shorter ones lie where others
lay: to have a page given costs as much as to fill it."""


def frame(message: Message, *, compressed: bool = False) -> bytes:
    """Return a message as it travels."""
    return b"".join((head(len(message), compressed=compressed), message))


def head(length: int, *, compressed: bool = False) -> bytes:
    """Return what stands before a message of this length.

    Raises:
        OverflowError: the length does not fit into four bytes.
    """
    return (b"\1" if compressed else b"\0") + length.to_bytes(4, "big")


class Packed:
    """A compressed message, as it came. Its length is what it takes of our memory."""

    __slots__ = ("_data", "_decompress", "_max_bytes")

    def __init__(self, data: Message, decompress: Decompress, max_bytes: int) -> None:
        self._data = data
        self._decompress = decompress
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._data)

    def plain(self) -> Message:
        """Return the message.

        Raises:
            CallFailure: it is longer than it may be, or cannot be decompressed.
        """
        return self._decompress(self._data, self._max_bytes)


class MessageReader:
    """Cuts the body of one stream into messages.

    Args:
        max_bytes: a longer message ends the call, before there is memory for it. What would be longer than this once it
            is decompressed cannot be taken.
        decompress: reads compressed messages; None: there may be none.
        memory_for: where messages lie that come in several pieces, but for compressed ones; None: in memory of their
            own.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_decompress",
        "_filled",
        "_head",
        "_length",
        "_lent",
        "_max_bytes",
        "_memory_for",
    )

    def __init__(
        self, max_bytes: int, decompress: Decompress | None = None, memory_for: MemoryFor | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._decompress = decompress
        self._memory_for = memory_for
        self._head = b""  # the beginning of a head
        # A message under way: its buffer, how much of it is there, and its length.
        self._buffer: memoryview | None = None
        self._filled = 0
        self._length = 0
        self._compressed = False
        self._lent = False

    def __repr__(self) -> str:
        return f"<MessageReader: {self._filled} of {self._length} bytes, head of {len(self._head)}>"

    @property
    def filled(self) -> int:
        """Bytes that are there of the message under way."""
        return self._filled

    @property
    def missing(self) -> int:
        """Bytes that will come to end the message under way; 0 if none is, or if its head is not complete."""
        return self._length - self._filled

    @property
    def between(self) -> bool:
        """True if no message is under way, so that the stream may end."""
        return self._buffer is None and not self._head

    def feed(self, data: Received, start: int, stop: int) -> list[Message | Packed]:
        """Take `data[start:stop]` and return the messages that end in it.

        Raises:
            CallFailure: a message is too long, or compressed without a word about how. Nothing may be fed after that.
        """
        messages: list[Message | Packed] = []
        while start < stop:
            if self._buffer is not None:
                start = self._collect(self._buffer, data, start, stop, messages)
                continue
            if self._head or stop - start < HEAD:
                wanted = HEAD - len(self._head)
                self._head += bytes(data[start : min(start + wanted, stop)])
                start += wanted
                if start > stop:
                    break
                flag, length = self._head[0], int.from_bytes(self._head[1:], "big")
                self._head = b""
            else:
                flag, length = data[start], int.from_bytes(data[start + 1 : start + HEAD], "big")
                start += HEAD
            if flag or length > self._max_bytes:
                self._check(flag, length)
            end = start + length
            if end <= stop and length < _VIEW_FROM:
                message: Message = bytes(data[start:end])
            elif end <= stop and isinstance(data, bytes):
                message = _cut(data, start, end)
            else:
                self._length = length
                self._compressed = flag == 1
                self._buffer = self._begin(length)
                continue
            messages.append(message if not flag else self._packed(message))
            start = end
        return messages

    def _begin(self, length: int) -> memoryview:
        """Return where a message of this length comes to lie."""
        lent = None
        if self._memory_for is not None and length >= _VIEW_FROM and not self._compressed:
            lent = self._memory_for(length)
        self._lent = lent is not None
        if lent is not None:
            return lent
        return uncleared(length) if length < _MAPPED_FROM else memoryview(mmap.mmap(-1, length))

    def _check(self, flag: int, length: int) -> None:
        if flag > 1:
            raise CallFailure(StatusCode.INTERNAL, f"a message begins with {flag}, and not with 0 or 1")
        if length > self._max_bytes:
            raise CallFailure(
                StatusCode.RESOURCE_EXHAUSTED, f"a message of {length} bytes; {self._max_bytes} are taken at most"
            )
        if self._decompress is None:
            raise CallFailure(StatusCode.INTERNAL, "a compressed message, and no grpc-encoding to say how")

    def middle(self, data: Received, start: int, stop: int) -> bool:
        """Take `data[start:stop]` if it is of a message that goes on behind it; return whether it is."""
        buffer, filled = self._buffer, self._filled + stop - start
        if buffer is None or filled >= self._length:
            return False
        buffer[self._filled : filled] = memoryview(data)[start:stop]
        self._filled = filled
        return True

    def _collect(
        self, buffer: memoryview, data: Received, start: int, stop: int, messages: list[Message | Packed]
    ) -> int:
        """Move bytes into the buffer; return the position behind them."""
        stop = min(stop, start + self.missing)
        filled = self._filled + stop - start
        buffer[self._filled : filled] = memoryview(data)[start:stop]
        self._filled = filled
        if filled == self._length:
            if filled < _VIEW_FROM:
                message = bytes(buffer)
            elif self._lent:
                message = buffer
            else:
                message = buffer.toreadonly()
            messages.append(self._packed(message) if self._compressed else message)
            self._buffer = None
            self._filled = self._length = 0
        return stop

    def _packed(self, message: Message) -> Packed:
        assert self._decompress is not None  # `_check`
        return Packed(message, self._decompress, self._max_bytes)


def _cut(data: bytes, start: int, end: int) -> Message:
    return memoryview(data)[start:end] if (end - start) * _VIEW_SHARE >= len(data) else data[start:end]
