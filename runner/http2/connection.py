"""The server's side of an HTTP/2 connection (RFC 9113), without I/O: bytes in, method calls on streams out.

    connection.receive(data, now)        what the peer sent; calls the `on_...` methods of its streams
    connection.sender                    what leaves: headers, data, trailers (see `sender.py`)
    connection.sender.take()             the bytes to write now
    connection.inflow                    what may come: told by who reads it (see `inflow.py`)

No socket, no loop and no clock: `now` is an instant of any clock that only goes forward, in seconds.

How it works, in the order of the RFC
-------------------------------------

**Frames (4).** A connection is a preface of 24 bytes (3.4) and then frames, each a head of nine bytes and a payload.
`receive` goes through them in one loop. A frame that is not complete waits in a buffer; its length was checked before,
so that the buffer is bounded. A long frame of DATA does not wait: its stream gets what is there of it, and the rest as
it comes. Unknown types are skipped (4.1).

**Field blocks (4.3).** Headers travel compressed, by HPACK (RFC 7541), in HEADERS and the CONTINUATION frames right
behind it, with no frame of any stream between. Both ends keep a table that every block may change. So *each* block is
decoded, also for a stream that is refused, closed or unknown; an undecodable one is the end of the connection.

**Streams (5.1).** A client opens streams with odd numbers that grow. As a server sees one:

    idle ──HEADERS──▶ open ──END_STREAM──▶ half-closed (remote) ──our END_STREAM──▶ closed
                       │                                                              ▲
                       └──our END_STREAM──▶ half-closed (local): we add RST_STREAM ───┘
                                            with NO_ERROR (8.1): the answer is complete, send no more

  `_streams` holds those that are open or half-closed (remote). A number that is not in it is idle if it is above the
  highest that was opened, and closed otherwise (`numbers.py`). Which frames a closed stream may still get depends on
  why it is closed:

  - Both sides ended it, or the peer reset it: WINDOW_UPDATE, RST_STREAM and PRIORITY may have been under way. DATA or
    HEADERS may not: the peer had said that it was done. A connection error, STREAM_CLOSED.
  - We reset it: whatever the peer had sent by then is still coming, and is dropped. The last few hundred are kept in
    mind. Beyond the oldest of these nobody can know, and a late frame gets a stream error.

**Two kinds of errors (5.4).** A stream error costs one RST_STREAM and leaves the others alone. A connection error is
raised as `ConnectionFailure` and becomes GOAWAY with its code; nothing that arrives after it is looked at.

**Windows (5.2, 6.9).** DATA alone is under flow control, padding included, twice: by the stream and by the connection.
What *we* may send is the business of `sender.py`, and what the *peer* may send that of `inflow.py`.

**Settings (6.5).** Ours go out first and hold from the beginning, since none is narrower than the default. The peer's
are applied in the order in which they stand and acknowledged at once; a new initial window changes the windows of the
open streams by the difference, perhaps to less than nothing (6.9.2).

**The end (6.8).** `drain` says GOAWAY with the highest number there is, which refuses nothing, and sends a PING. Its
answer proves that the peer has seen the GOAWAY: what it opened before is in `_streams`. Then a second GOAWAY names the
last stream that will be answered. When the last one is over, `finished` is true and the connection may be closed.

**A peer that means harm (10.5).** What costs us more than the peer is counted, by what is in `limits.py`. Two counts
take care of nearly all known attacks: resets of streams, and frames that do nothing for any call (`misuse.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from runner.http2 import frames
from runner.http2.backlog import Backlog
from runner.http2.errors import ConnectionFailure, ErrorCode, MalformedMessage
from runner.http2.fields import RequestHead, RequestReader, check_trailers
from runner.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    WITH_PRIORITY,
    unpack_head,
)
from runner.http2.hpack import CompressionError, HeaderDecoder, HeaderListTooLarge, Section
from runner.http2.inflow import Inflow
from runner.http2.limits import Limits
from runner.http2.misuse import Misuse
from runner.http2.numbers import Late, Numbers
from runner.http2.open_block import OpenBlock
from runner.http2.sender import HeaderBlock, Sender
from runner.http2.stream import Received, Stream

logger = logging.getLogger("runner.http2")

_CUT_FROM: Final = 8 * 1024
"""bytes of a frame of DATA from which on it is handed over as it comes. To put it together would be two more copies; to
look at the beginning of a short message and again at its end costs more than those."""

_DRAIN_PING: Final = b"\0goaway\0"
_ALIVE_PING: Final = b"\0alive?\0"

_HEADER_LIST_TOO_LARGE: Final = HeaderBlock([(b":status", b"431")], end_stream=True)

_STREAMS_AT_ONCE: Final = 64
"""Open streams of which the windows change for the cost of one idle frame."""


class Connection:
    """One connection.

    Args:
        open_stream: makes the stream of a new request.
        wake: called when there is something to take from `sender` after there was nothing.
        limits: the bounds.
        now: the instant at which it begins.
        backlog: counts what waits for peers, of many connections; None: nobody does.
    """

    def __init__(
        self,
        open_stream: Callable[[Connection, int, RequestHead], Stream],
        wake: Callable[[], None],
        limits: Limits,
        now: float,
        backlog: Backlog | None = None,
    ) -> None:
        self.limits = limits
        self.sender = Sender(wake, self._answered, backlog)
        self.inflow = Inflow(limits, self.sender)
        self.failure: ConnectionFailure | None = None
        self.now = now  # of the last `receive`
        self.reads = 0  # how often that was called
        self.pinged = False  # a PING of `ping` waits for its answer
        self._open_stream = open_stream
        self._decoder = HeaderDecoder(
            max_list_bytes=limits.max_header_list_bytes,
            max_fields=limits.max_header_fields,
            max_table_bytes=limits.header_table_bytes,
        )
        self._requests = RequestReader()
        # The longest of most frames, as a comparison with the first word of a head needs it: the type in the low byte.
        self._long = limits.max_other_frame_bytes << 8 | 0xFF
        self._read: Callable[[Received, int], int] = self._read_preface
        self._rest = bytearray()  # a frame, or the preface, that has begun
        self._needed = 0  # length at which it is complete
        # A frame of DATA that is handed over as it comes: whose it is, what is still to come of it, and of its padding.
        self._cut: Stream | None = None
        self._cut_left: int = 0
        self._cut_padding: int = 0
        self._cut_ends_stream = False
        self._settings_seen = False
        self._block: OpenBlock | None = None
        # Streams.
        self._streams: dict[int, Stream] = {}
        self._numbers = Numbers()
        # Hostile peers.
        self._misuse = Misuse(limits, now)
        self._data_received = 0
        self._draining = False
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            CONTINUATION: self._on_continuation,
        }
        self._greet()

    # What the shell calls.

    def receive(self, data: Received, now: float) -> None:
        """Take what the peer has sent, in pieces of any size."""
        if self.failure is not None:
            return
        self.now = now
        self.reads += 1
        rest = self._rest
        position = 0
        try:
            if self._cut_left or self._cut_padding:
                position = self._read_cut(data, 0)
            # A frame that has begun is put together by itself: what came with its end is not copied.
            while rest:
                until = position + self._needed - len(rest)
                rest += data[position:until]
                if until > len(data):
                    return
                position = until
                frame = bytes(rest)
                rest.clear()
                done = self._read(frame, 0)  # if nothing, then now we know how long it is
                if self.failure is not None:
                    return
                rest += frame[done:]
                if self._cut_left or self._cut_padding:
                    position = self._read_cut(data, position)
            if self.failure is not None:
                return
            done = self._read(data, position) if position < len(data) else position
        except ConnectionFailure as failure:
            self.fail(failure)
            return
        if done < len(data) and self.failure is None:
            rest += data[done:] if done else data

    def lost(self) -> None:
        """The transport is gone: so are all streams."""
        if self.failure is None:
            self.failure = ConnectionFailure(ErrorCode.NO_ERROR, "the connection was lost")
        self._end_streams(ErrorCode.CANCEL)

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection: GOAWAY with a code (5.4.1), and the end of every stream."""
        if self.failure is not None:
            return
        self.failure = failure
        if failure.code is not ErrorCode.NO_ERROR:
            logger.info("connection closed: %s, %s", failure.code.name, failure.reason)
        last = min(self._numbers.last, self._numbers.taken_until)
        self.sender.control(frames.goaway(last, failure.code, failure.reason.encode()[:256]))
        self._end_streams(failure.code or ErrorCode.CANCEL)

    def drain(self) -> None:
        """Take no more streams than those that the peer opens before it hears of this, and answer these (6.8)."""
        if not self._draining and self.failure is None:
            self._draining = True
            self.sender.control(frames.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR) + frames.ping(_DRAIN_PING, ack=False))

    def ping(self) -> None:
        """Ask whether the peer is alive; `pinged` is true until it has answered."""
        if not self.pinged and self.failure is None:
            self.pinged = True
            self.sender.control(frames.ping(_ALIVE_PING, ack=False))

    @property
    def finished(self) -> bool:
        """True if the connection should be closed once everything was written."""
        return self.failure is not None or (not self._streams and self._draining and self._numbers.closing)

    @property
    def draining(self) -> bool:
        """True once either side has said that no more streams are to come."""
        return self._draining

    @property
    def active(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def opened(self) -> int:
        """The number of the stream that the peer has opened last; it goes up with each."""
        return self._numbers.last

    # What owners of streams call, beside `sender` and `inflow`.

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream before its time."""
        if stream.id in self._streams:
            self._drop(stream)
            self._send_reset(stream.id, code)

    # Frames.

    def _greet(self) -> None:
        limits = self.limits
        self.sender.control(
            frames.settings(
                {
                    1: limits.header_table_bytes,
                    3: limits.max_concurrent_streams,
                    4: limits.initial_window,
                    5: limits.max_frame_bytes,
                    6: limits.max_header_list_bytes,
                }
            )
            + frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW)
        )

    def _read_preface(self, data: Received, position: int) -> int:
        assert not position  # it is the first thing that comes
        data = bytes(data)
        if not data.startswith(PREFACE):
            if PREFACE.startswith(data):
                self._needed = len(PREFACE)
                return 0
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._read = self._read_frames
        return self._read_frames(data, len(PREFACE))

    def _read_frames(self, data: Received, position: int) -> int:
        """Take all complete frames, and what there is of a long one of DATA; return where an incomplete one begins."""
        end = len(data)
        streams, inflow, long = self._streams, self.inflow, self._long
        while end - position >= 9:
            first, flags, stream_id = unpack_head(data, position)
            if first > long:
                self._check_long(first)
            start = position + 9
            stop = start + (first >> 8)
            if stop > end:
                if first & 0xFF != DATA or stop - start < _CUT_FROM:
                    self._needed = stop - position
                    return position
                if flags & PADDED and start == end:
                    self._needed = start + 1 - position  # how long the padding is
                    return position
                self._cut, self._cut_padding = None, stop - end  # nobody's, unless a stream is found for it
            position = stop
            kind = first & 0xFF
            stream_id &= MAX_STREAM_ID
            if self._block is not None and kind != CONTINUATION:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a frame inside a field block")  # 6.10
            if kind == DATA:
                # The peer's window counts the whole payload; what is in it, below.
                size = stop - start
                inflow.window -= size
                if inflow.window < inflow.low:
                    inflow.refill()
                if flags & PADDED:
                    start, stop = self._unpad(data, start, stop)
                stream = streams.get(stream_id)
                if stream is None or not stream.remote_open:
                    self._data_on_closed(stream, stream_id)
                    continue
                stream.receive_window -= size
                if stream.receive_window < 0:
                    self._stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR)  # 6.9.1
                    continue
                if flags & END_STREAM:
                    stream.remote_open = False
                elif start == stop:
                    self._count_idle()
                if stream.content_left >= 0 and not self._count_content(stream, stop - start):
                    continue
                if stop > start:
                    self._data_received += 1
                if position > end:
                    stop = self._cut_off(stream, stop, end)
                    if stop > start:
                        stream.on_data(data, start, stop, False)
                else:
                    stream.on_data(data, start, stop, not stream.remote_open)
                if stream.receive_window < inflow.stream_low and stream.remote_open:
                    inflow.refill_stream(stream)
            elif kind == HEADERS:
                if flags & (PADDED | WITH_PRIORITY):
                    start, stop = self._headers_start(flags, data, start, stop)
                if not stream_id & 1:
                    raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a stream that a client cannot open")  # 5.1.1
                if flags & END_HEADERS:
                    self._on_block(stream_id, bytes(data[start:stop]), bool(flags & END_STREAM))
                else:
                    first_part = bytes(data[start:stop])
                    self._block = OpenBlock(stream_id, bool(flags & END_STREAM), first_part, self.limits)
            else:
                handler = self._handlers.get(kind)
                if handler is None:
                    self._count_idle()
                else:
                    handler(flags, stream_id, bytes(data[start:stop]))
            if not self._settings_seen:
                self._check_first(kind, flags)
            if self.failure is not None:
                return end
        self._needed = 9
        return min(position, end)

    def _check_long(self, first: int) -> None:
        """Refuse a frame that is longer than most, by the first word of its head, unless it is DATA (4.2)."""
        if first & 0xFF != DATA or first >> 8 > self.limits.max_frame_bytes:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a frame is longer than we take")

    def _cut_off(self, stream: Stream, stop: int, end: int) -> int:
        """Note what is still to come of a frame, whose data is to end at `stop`; return where what is there ends."""
        self._cut, self._cut_ends_stream = stream, not stream.remote_open
        left = stop - end if stop > end else 0
        self._cut_left, self._cut_padding = left, self._cut_padding - left
        return min(stop, end)

    def _read_cut(self, data: Received, start: int) -> int:
        """Hand over some more of a frame; return where what follows it begins."""
        stop = min(start + self._cut_left, len(data))
        self._cut_left -= stop - start
        end = min(stop + self._cut_padding, len(data))
        self._cut_padding -= end - stop
        stream = self._cut
        if stream is not None and self._streams.get(stream.id) is stream:  # or it has been reset meanwhile
            ended = self._cut_ends_stream and not self._cut_left and not self._cut_padding
            if stop > start or ended:
                stream.on_data(data, start, stop, ended)
            if stream.receive_window < self.inflow.stream_low and stream.remote_open:
                self.inflow.refill_stream(stream)
        return end

    def _check_first(self, kind: int, flags: int) -> None:
        if kind != frames.SETTINGS or flags & ACK:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # 3.4
        self._settings_seen = True

    def _unpad(self, data: Received, start: int, stop: int) -> tuple[int, int]:
        """Return the bounds of a padded payload without its padding (6.1)."""
        if start == stop:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its pad length")
        padding = data[start]
        start += 1
        if padding > stop - start:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
        return start, stop - padding

    # Requests.

    def _headers_start(self, flags: int, data: Received, start: int, stop: int) -> tuple[int, int]:
        """Return the bounds of a HEADERS frame's block (6.2). Priorities mean nothing any more (5.3)."""
        if flags & PADDED:
            start, stop = self._unpad(data, start, stop)
        if flags & WITH_PRIORITY:
            start += 5
            if start > stop:
                raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame too short for its priority")
        return start, stop

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        block.add(stream_id, payload)
        if flags & END_HEADERS:
            self._block = None
            self._on_block(stream_id, block.whole(), block.ends_stream)

    def _on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        """Take a whole field block: a request, or the trailers of one."""
        section: Section | None
        try:
            section = self._decoder.read(block)
        except CompressionError as exc:
            raise ConnectionFailure(ErrorCode.COMPRESSION_ERROR, str(exc)) from exc
        except HeaderListTooLarge:
            section = None
        numbers = self._numbers
        if stream_id <= numbers.last:
            self._on_later_block(stream_id, section, ended)
            return
        numbers.last = stream_id
        if stream_id > numbers.taken_until:
            return  # it was told by GOAWAY that this is not answered (6.8)
        if len(self._streams) >= self.limits.max_concurrent_streams:
            self._stream_error(stream_id, ErrorCode.REFUSED_STREAM)  # 5.1.2
            return
        if section is None:
            self._refuse_large(stream_id, ended)
            return
        head = section.reading
        if not isinstance(head, RequestHead):
            try:
                section.reading = head = self._requests.read(section.fields, section.fresh)
            except MalformedMessage:
                self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1.1
                return
        if ended and head.content_length > 0:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1.1
            return
        stream = self._open_stream(self, stream_id, head)
        stream.content_left = head.content_length
        if ended:
            stream.remote_open = False
        self._streams[stream_id] = stream
        stream.on_request(head, ended)

    def _on_later_block(self, stream_id: int, section: Section | None, ended: bool) -> None:
        """Take a second block of a stream: its trailers, if it is open."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._late(stream_id)
        elif not stream.remote_open:
            self._stream_error(stream_id, ErrorCode.STREAM_CLOSED)  # 5.1
        elif not ended or section is None or stream.content_left > 0:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)  # 8.1
        else:
            try:
                check_trailers(section.fields)
            except MalformedMessage:
                self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
            stream.remote_open = False
            stream.on_trailers(section.fields)

    def _refuse_large(self, stream_id: int, ended: bool) -> None:
        """Answer a request whose header section was too large to keep (6.5.2, 10.5.1)."""
        self.sender.begin(Stream(self, stream_id), _HEADER_LIST_TOO_LARGE)
        if not ended:
            self._send_reset(stream_id, ErrorCode.NO_ERROR)

    def _count_content(self, stream: Stream, size: int) -> bool:
        """Compare a body with its content-length (8.1.1)."""
        stream.content_left -= size
        if stream.content_left < 0 or (stream.content_left and not stream.remote_open):
            self._stream_error(stream.id, ErrorCode.PROTOCOL_ERROR)
            return False
        return True

    # Streams that end.

    def _answered(self, stream: Stream) -> None:
        """Our side of a stream has ended; called by the sender."""
        self._streams.pop(stream.id, None)
        if stream.unread:
            self.inflow.forget(stream)
        if stream.remote_open:
            # The answer is complete without the rest of the request (8.1).
            stream.remote_open = False
            try:
                self._send_reset(stream.id, ErrorCode.NO_ERROR)
            except ConnectionFailure as failure:  # nothing of whoever answers: the peer does not read
                self.fail(failure)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream that is reset."""
        self._streams.pop(stream.id, None)
        self.inflow.forget(stream)
        stream.remote_open = False
        self.sender.forget(stream)

    def _stream_error(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream because of what its peer did. Counted: such an end costs as much as one that the peer sends."""
        stream = self._streams.get(stream_id)
        self._send_reset(stream_id, code)
        if stream is not None:
            self._drop(stream)
            stream.on_reset(code)
        self._misuse.stream_reset(self.now)

    def _send_reset(self, stream_id: int, code: ErrorCode) -> None:
        self._numbers.reset(stream_id)
        self._answer(frames.rst_stream(stream_id, code))

    def _data_on_closed(self, stream: Stream | None, stream_id: int) -> None:
        if stream is not None:
            self._stream_error(stream_id, ErrorCode.STREAM_CLOSED)  # half-closed (remote), 5.1
        elif self._numbers.never_opened(stream_id):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "DATA on a stream that is not open")  # 6.1
        else:
            self._late(stream_id)

    def _late(self, stream_id: int) -> None:
        """DATA or HEADERS came for a closed stream."""
        match self._numbers.late(stream_id):
            case Late.UNDER_WAY:
                self._count_idle()
            case Late.FORGOTTEN:
                self._stream_error(stream_id, ErrorCode.STREAM_CLOSED)
            case Late.ENDED:
                raise ConnectionFailure(ErrorCode.STREAM_CLOSED, "a frame on a stream that had ended")  # 5.1

    def _end_streams(self, code: ErrorCode) -> None:
        streams = list(self._streams.values())
        for stream in streams:
            self._drop(stream)
        for stream in streams:
            stream.on_reset(code)

    # Frames that are not of any request.

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            self._stream_error(stream_id, ErrorCode.FRAME_SIZE_ERROR)  # 6.3
        self._count_idle()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a wrong length")  # 6.4
        if self._numbers.never_opened(stream_id):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on a stream that is not open")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._count_idle()
            return
        self._drop(stream)
        stream.on_reset(int.from_bytes(payload, "big"))
        self._misuse.stream_reset(self.now)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")  # 6.5
        self._count_idle()
        if flags & ACK:
            return
        window = self.sender.initial_window
        for name, value in frames.read_settings(payload):
            if name == 4:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
                window = value
            else:
                self._apply(name, value)
        if window != self.sender.initial_window:
            self._widen_streams(window)
        self._answer(frames.SETTINGS_ACK)

    def _widen_streams(self, window: int) -> None:
        """Take the initial window that the peer's settings end with: it changes that of every open stream (6.9.2).

        One frame may name thousands, of which the last counts, and a short frame costs as much as streams are open.
        """
        for _ in range(len(self._streams) // _STREAMS_AT_ONCE):
            self._count_idle()
        increment = window - self.sender.initial_window
        self.sender.initial_window = window
        for stream in self._streams.values():
            if not self.sender.widen_stream(stream, increment):
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")  # 6.9.2

    def _apply(self, name: int, value: int) -> None:
        """Take one of the peer's settings (6.5.2), but for its initial window; unknown ones are skipped."""
        if name == 1:
            self.sender.resize_table(value)
        elif name == 2 and value > 1:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        elif name == 5:
            if not frames.DEFAULT_MAX_FRAME <= value < 1 << 24:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
            self.sender.max_frame = value

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a client cannot push")  # 8.4

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong length")  # 6.7
        self._count_idle()
        if not flags & ACK:
            self._answer(frames.ping(payload, ack=True))
        elif payload == _ALIVE_PING:
            self.pinged = False
        elif payload == _DRAIN_PING and self._draining and not self._numbers.closing:
            self._say_last()

    def _say_last(self) -> None:
        """Take no more streams than there are, and say so (6.8)."""
        self._numbers.close()
        self.sender.control(frames.goaway(self._numbers.last, ErrorCode.NO_ERROR))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong length")
        # The client leaves, and still wants its answers. It might open more streams all the same: it is told that they
        # would not be answered.
        self._count_idle()
        self._draining = True
        if not self._numbers.closing:
            self._say_last()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length")  # 6.9
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        self._count_idle()
        if stream_id == 0:
            if not increment:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            if not self.sender.widen(increment):
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")  # 6.9.1
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._numbers.never_opened(stream_id):
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is not open")
        elif not increment:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif not self.sender.widen_stream(stream, increment):
            self._stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR)

    # Hostile peers.

    def _count_idle(self) -> None:
        work = self._numbers.last // 2 + self._data_received + self.sender.data_frames
        self._misuse.idle_frame(self.now, work)

    def _answer(self, frame: bytes) -> None:
        """Send what the peer's frame asks for, as long as it reads."""
        if not self.sender.answer(frame, self.limits.max_unsent_control_bytes):
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "the peer does not read what it asks for")

    def __repr__(self) -> str:
        state = f"failed: {self.failure.reason}" if self.failure else "draining" if self._draining else "open"
        return f"<Connection {state}, {len(self._streams)} streams, {self._numbers!r}, {self.sender!r}>"
