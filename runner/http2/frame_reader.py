"""What a peer sends becomes frames and field blocks (RFC 9113, 3.4, 4 and 6.1 to 6.2), in pieces of any size.

Knows nothing of streams, windows or requests. It holds a frame that has begun, of which the length was checked before,
and a field block that goes on. A long frame of DATA does not wait for its end: what is there of it is handed over, and
the rest as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    unpack_head,
)
from runner.http2.limits import Limits
from runner.http2.open_block import OpenBlock
from runner.http2.stream import Received, Stream

_CUT_FROM: Final = 8 * 1024
"""bytes of a frame of DATA from which on it is handed over as it comes. To put it together would be two more copies; to
look at the beginning of a short message and again at its end costs more than those."""


class RequestFrames(Protocol):
    """Who is told of the frames that requests are made of."""

    def on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A whole field block: of HEADERS, and of the CONTINUATION frames behind it. `ended`: with END_STREAM."""

    def on_data(
        self, stream_id: int, flags: int, size: int, content: int, data: Received, start: int, stop: int, missing: int
    ) -> Stream | None:
        """A frame of DATA, or its beginning; return the stream that gets it, None if nobody does.

        Args:
            stream_id: its stream's number.
            flags: the frame's.
            size: bytes of its whole payload.
            content: those of them that are no padding.
            data, start, stop: `data[start:stop]` is what there is of the content.
            missing: bytes of the payload that are still to come.
        """
        ...

    def on_more_data(self, stream: Stream, data: Received, start: int, stop: int, missing: int) -> None:
        """More of a frame whose beginning `stream` has. It may have ended meanwhile."""


class FrameReader:
    """See the module's text. One for each connection.

    Args:
        requests: told of the frames of requests, as soon as they are there.
        control: told of all others: type, flags, stream and payload.
        limits: of the connection.

    Whoever is told may raise a `ConnectionFailure`, which ends the reading.
    """

    __slots__ = (
        "_block",
        "_content_left",
        "_control",
        "_cut",
        "_limits",
        "_long",
        "_needed",
        "_padding_left",
        "_read",
        "_requests",
        "_rest",
        "_stopped",
    )

    def __init__(
        self, requests: RequestFrames, control: Callable[[int, int, int, bytes], None], limits: Limits
    ) -> None:
        self._requests = requests
        self._control = control
        self._limits = limits
        # The longest of most frames, as a comparison with the first word of a head needs it: the type in the low byte.
        self._long = limits.max_other_frame_bytes << 8 | 0xFF
        self._read: Callable[[Received, int], int] = self._read_preface
        self._rest = bytearray()  # a frame, or the preface, that has begun
        self._needed = 0  # length at which it is complete
        # A frame of DATA that is handed over as it comes: whose it is, and what is still to come of it.
        self._cut: Stream | None = None
        self._content_left = 0
        self._padding_left = 0
        self._block: OpenBlock | None = None
        self._stopped = False

    @property
    def held(self) -> int:
        """Bytes of a frame that has begun."""
        return len(self._rest)

    @property
    def missing(self) -> int:
        """Bytes that are still to come of a frame of DATA whose beginning was handed over."""
        return self._content_left + self._padding_left

    def receive(self, data: Received) -> None:
        """Take what has come.

        Raises:
            ConnectionFailure: it breaks the protocol. Nothing may be received after that.
        """
        rest = self._rest
        position = self._read_cut(data, 0) if self._content_left or self._padding_left else 0
        # A frame that has begun is put together by itself: what came with its end is not copied.
        while rest and not self._stopped:
            until = position + self._needed - len(rest)
            rest += data[position:until]
            if until > len(data):
                return
            position = until
            frame = bytes(rest)
            rest.clear()
            done = self._read(frame, 0)  # if nothing, then now we know how long it is
            rest += frame[done:]
            if self._content_left or self._padding_left:
                position = self._read_cut(data, position)
        if self._stopped:
            return
        done = self._read(data, position) if position < len(data) else position
        if done < len(data):
            rest += data[done:] if done else data

    def stop(self) -> None:
        """Tell of nothing more: the connection has failed, in the middle of what was told perhaps."""
        self._stopped = True

    def _read_preface(self, data: Received, position: int) -> int:
        assert not position  # it is the first thing that comes
        data = bytes(data)
        if not data.startswith(PREFACE):
            if PREFACE.startswith(data):
                self._needed = len(PREFACE)
                return 0
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._read = self._read_first
        return self._read_first(data, len(PREFACE))

    def _read_first(self, data: Received, position: int) -> int:
        """Look at the head of the first frame, and go on with all of them."""
        if len(data) - position < HEAD_BYTES:
            self._needed = HEAD_BYTES
            return position
        first, flags, _ = unpack_head(data, position)
        if first & 0xFF != SETTINGS or flags & ACK:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # 3.4
        self._read = self._read_frames
        return self._read_frames(data, position)

    def _read_frames(self, data: Received, position: int) -> int:
        """Take all complete frames, and what there is of a long one of DATA; return where an incomplete one begins."""
        end = len(data)
        requests, long = self._requests, self._long
        while end - position >= HEAD_BYTES:
            first, flags, stream_id = unpack_head(data, position)
            if first > long:
                self._check_long(first)
            kind = first & 0xFF
            start = position + HEAD_BYTES
            stop = start + (first >> 8)
            if stop > end:
                if kind != DATA or stop - start < _CUT_FROM:
                    self._needed = stop - position
                    return position
                if flags & PADDED and start == end:
                    self._needed = start + 1 - position  # how long the padding is
                    return position
            position = stop
            stream_id &= MAX_STREAM_ID
            if self._block is not None and kind != CONTINUATION:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a frame inside a field block")  # 6.10
            if kind == DATA:
                size = stop - start
                if flags & PADDED:
                    start, stop = _unpad(data, start, stop)
                if position <= end:
                    requests.on_data(stream_id, flags, size, stop - start, data, start, stop, 0)
                else:
                    self._content_left, self._padding_left = max(stop - end, 0), position - max(stop, end)
                    there, missing = min(stop, end), position - end
                    self._cut = requests.on_data(stream_id, flags, size, stop - start, data, start, there, missing)
            elif kind == HEADERS:
                if flags & (PADDED | WITH_PRIORITY):
                    start, stop = _headers_block(flags, data, start, stop)
                if not stream_id & 1:
                    raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a stream that a client cannot open")  # 5.1.1
                block = bytes(data[start:stop])
                if flags & END_HEADERS:
                    requests.on_block(stream_id, block, flags & END_STREAM != 0)
                else:
                    self._block = OpenBlock(stream_id, flags & END_STREAM != 0, block, self._limits)
            elif kind == CONTINUATION:
                self._continue_block(flags, stream_id, bytes(data[start:stop]))
            else:
                self._control(kind, flags, stream_id, bytes(data[start:stop]))
            if self._stopped:
                return end
        self._needed = HEAD_BYTES
        return min(position, end)

    def _check_long(self, first: int) -> None:
        """Refuse a frame that is longer than most, by the first word of its head, unless it is DATA (4.2)."""
        if first & 0xFF != DATA or first >> 8 > self._limits.max_frame_bytes:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a frame is longer than we take")

    def _read_cut(self, data: Received, start: int) -> int:
        """Hand over some more of a frame; return where what follows it begins."""
        stop = min(start + self._content_left, len(data))
        self._content_left -= stop - start
        end = min(stop + self._padding_left, len(data))
        self._padding_left -= end - stop
        if self._cut is not None:
            self._requests.on_more_data(self._cut, data, start, stop, self.missing)
        return end

    def _continue_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        block.add(stream_id, payload)
        if flags & END_HEADERS:
            self._block = None
            self._requests.on_block(stream_id, block.whole(), block.ends_stream)

    def __repr__(self) -> str:
        return f"<FrameReader {self.held} bytes held, {self.missing} of DATA to come>"


def _unpad(data: Received, start: int, stop: int) -> tuple[int, int]:
    """Return the bounds of a padded payload without its padding (6.1)."""
    if start == stop:
        raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its pad length")
    padding = data[start]
    start += 1
    if padding > stop - start:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return start, stop - padding


def _headers_block(flags: int, data: Received, start: int, stop: int) -> tuple[int, int]:
    """Return the bounds of a HEADERS frame's block (6.2). Priorities mean nothing any more (5.3)."""
    if flags & PADDED:
        start, stop = _unpad(data, start, stop)
    if flags & WITH_PRIORITY:
        start += 5
        if start > stop:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame too short for its priority")
    return start, stop
