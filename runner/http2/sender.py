"""What leaves a connection: in order, within the peer's windows (RFC 9113, 5.2), and in fair turns.

Most of what a server sends is small and fits: it becomes frames at once. DATA that does not fit, because of a window or
because this turn has sent enough, is queued with its stream. Streams whose own window is open stand in line, and each
turn sends 64 KiB of the first and moves it to the end: a long answer never holds up a short one by more than that for
each stream before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from runner.http2 import frames
from runner.http2.backlog import Backlog
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.fields import Fields
from runner.http2.frames import DATA, DEFAULT_MAX_FRAME, DEFAULT_WINDOW, END_HEADERS, END_STREAM, HEADERS, MAX_WINDOW
from runner.http2.hpack import HeaderEncoder
from runner.http2.stream import Stream

TURN_BYTES: Final = 256 * 1024
"""DATA between two calls of `take`, that is, in one write: enough to keep a socket busy, and soon over."""

_TURN_OF_STREAM: Final = 65_536
"""DATA of one stream before it is another's turn: a frame, or several if the peer takes no longer ones."""

LOW_WATER: Final = 8 * 1024
"""A stream with no more than this in its queue is told that it may write on."""

HIGH_WATER: Final = 16 * 1024
"""A stream with more than this in its queue should wait. Nothing enforces it: one message may be much longer."""


class HeaderBlock:
    """A header section that is sent often: all of its frame but the stream's number is ready.

    Its block leaves the compression table alone, so that it is the same on every connection and at any time.
    """

    __slots__ = ("block", "end_stream", "start")

    def __init__(self, fields: Fields, *, end_stream: bool) -> None:
        self.end_stream = end_stream
        block = HeaderEncoder().encode(fields, sensitive=[name for name, _ in fields if name != b":status"])
        assert len(block) <= DEFAULT_MAX_FRAME
        self.block = block
        self.start = frames.head(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), 0, len(block))[:5]


class Sender:
    """The sending half of a connection.

    Args:
        wake: called when there is something to take after there was nothing.
        ended: called when the last frame of a stream was sent.
        max_answer_bytes: of frames that the peer has asked for since it last read.
        backlog: counts what waits on this and other connections; None: nobody does.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        ended: Callable[[Stream], None],
        max_answer_bytes: int,
        backlog: Backlog | None = None,
    ) -> None:
        self.encoder = HeaderEncoder()
        self.window = DEFAULT_WINDOW  # what the peer takes on all streams together
        self.initial_window = DEFAULT_WINDOW  # what it takes on a new stream
        self.max_frame = DEFAULT_MAX_FRAME
        self.data_frames = 0  # sent so far
        self.queued = 0  # bytes that wait with streams
        self._backlog = backlog
        self._resized = False  # the next block begins with a size update (RFC 7541, 4.2)
        self._wake = wake
        self._ended = ended
        self._out: list[bytes | memoryview] = []
        self._room = TURN_BYTES
        self._answers = 0  # bytes of `answer` that were not taken
        self._max_answers = max_answer_bytes
        self._ready: deque[Stream] = deque()

    # What a stream sends.

    def headers(self, stream: Stream, fields: Fields, *, end_stream: bool = False) -> None:
        """Send a header section. With `end_stream` it is the whole response."""
        self._headers(stream, fields, end_stream=end_stream)
        if end_stream:
            self._end(stream)

    def begin(self, stream: Stream, block: HeaderBlock) -> None:
        """Send a header section that is ready."""
        if self._resized:
            self._send_block(stream, self.encoder.encode(()) + block.block, end_stream=block.end_stream)
        else:
            self.control(block.start + stream.id_bytes + block.block)

    def data(self, stream: Stream, data: bytes | memoryview, head: bytes = b"") -> None:
        """Send a piece of the body, with something short before it perhaps, now or when there is room for it."""
        size = len(head) + len(data)
        if (
            size <= self._room
            and size <= stream.send_window
            and size <= self.window
            and size <= DEFAULT_MAX_FRAME
            and not stream.queued
            and not self._ready
        ):
            self._room -= size
            self.window -= size
            stream.send_window -= size
            self.data_frames += 1
            if not self._out:
                self._wake()
            self._out.append(b"".join(((size << 16).to_bytes(5, "big"), stream.id_bytes, head, data)))
        elif size:
            if stream.queue is None:
                stream.queue = deque()
            if head:
                stream.queue.append(head)
            if data:
                stream.queue.append(data)
            self._queue(stream, size)

    def long_data(self, stream: Stream, pieces: Sequence[bytes | memoryview]) -> None:
        """Send so much that it fills frames: in turns with others, and each piece from where it lies."""
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.extend(pieces)
        self._queue(stream, sum(map(len, pieces)))

    def end(self, stream: Stream, trailers: Fields | HeaderBlock = ()) -> None:
        """End a stream behind what is queued, with a trailer section or without."""
        self._finish(stream, trailers)

    def respond(
        self, stream: Stream, block: HeaderBlock, data: bytes, trailers: HeaderBlock, head: bytes = b""
    ) -> None:
        """Send a whole response of one piece: `begin`, `data` and `trailers` in one."""
        size = len(head) + len(data)
        if (
            size <= self._room
            and size <= stream.send_window
            and size <= self.window
            and size <= DEFAULT_MAX_FRAME
            and not self._ready
            and not self._resized
        ):
            self._room -= size
            self.window -= size
            self.data_frames += 1
            if not self._out:
                self._wake()
            number = stream.id_bytes
            self._out.append(
                b"".join(
                    (
                        block.start,
                        number,
                        block.block,
                        (size << 16).to_bytes(5, "big"),  # the head of a DATA frame up to its stream
                        number,
                        head,
                        data,
                        trailers.start,
                        number,
                        trailers.block,
                    )
                )
            )
            stream.local_open = False
            self._ended(stream)
        else:
            self.begin(stream, block)
            self.data(stream, data, head)
            self._finish(stream, trailers)

    # What the connection sends, and what it learns from the peer.

    def control(self, frame: bytes) -> None:
        """Send frames that no window holds up."""
        if not self._out:
            self._wake()
        self._out.append(frame)

    def answer(self, frame: bytes) -> None:
        """Send a frame that one of the peer's asks for.

        Raises:
            ConnectionFailure: it asks for more and more, and reads nothing.
        """
        self._answers += len(frame)
        self.control(frame)
        if self._answers > self._max_answers:
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "the peer does not read what it asks for")

    def forget(self, stream: Stream) -> None:
        """Drop what is queued of a stream that is over."""
        stream.local_open = False
        stream.queue = stream.last = None
        if stream.queued:
            self._unqueue(stream, stream.queued)

    def resize_table(self, size: int) -> None:
        """The peer allows for a compression table of this size. The next block has to say what we use of it."""
        self.encoder.set_peer_max_table_bytes(size)
        self._resized = True

    def widen(self, increment: int) -> bool:
        """The peer takes more on the connection. False: the window would be too large."""
        self.window += increment
        if self._ready:
            self._wake()
        return self.window <= MAX_WINDOW

    def widen_stream(self, stream: Stream, increment: int) -> bool:
        """The peer takes more on a stream, or less. False: the window would be too large."""
        stream.send_window += increment
        if stream.queued:
            self._schedule(stream)
        return stream.send_window <= MAX_WINDOW

    # What the shell asks.

    @property
    def pending(self) -> bool:
        """True if `take` has something to give."""
        return bool(self._out) or (bool(self._ready) and self.window > 0)

    @property
    def waiting(self) -> int:
        """Frames, or pieces of them, that are ready to be taken."""
        return len(self._out)

    def take(self) -> list[bytes | memoryview]:
        """Return what is to be written now. More may be `pending` after it: ask again when this has been written."""
        if self._ready:
            self._take_turns()
        self._room = TURN_BYTES
        self._answers = 0
        out, self._out = self._out, []
        return out

    def _queue(self, stream: Stream, size: int) -> None:
        stream.queued += size
        self.queued += size
        self._schedule(stream)
        if self._backlog is not None:
            self._backlog.add(size)

    def _unqueue(self, stream: Stream, size: int) -> None:
        stream.queued -= size
        self.queued -= size
        if self._backlog is not None:
            self._backlog.remove(size)

    def _schedule(self, stream: Stream) -> None:
        if not stream.scheduled and stream.send_window > 0:
            stream.scheduled = True
            self._ready.append(stream)
            if not self._out:
                self._wake()

    def _take_turns(self) -> None:
        ready = self._ready
        room = self._room
        while ready and room > 0 and self.window > 0:
            stream = ready.popleft()
            stream.scheduled = False
            if not stream.queue or stream.send_window <= 0:
                continue  # it was reset, or its window was made smaller
            size = min(stream.queued, stream.send_window, self.window, _TURN_OF_STREAM)
            room -= size
            self._send_frames(stream, stream.queue, size)
            if stream.queued:
                self._schedule(stream)
            elif stream.last is not None:
                self._send_last(stream, stream.last)
            if stream.queued <= LOW_WATER < stream.queued + size:
                stream.on_writable()

    def _send_frames(self, stream: Stream, queue: deque[bytes | memoryview], size: int) -> None:
        self.window -= size
        stream.send_window -= size
        self._unqueue(stream, size)
        out, number, longest = self._out, stream.id_bytes, min(self.max_frame, _TURN_OF_STREAM)
        whole = (longest << 16).to_bytes(5, "big") + number  # the head of a frame that is as long as may be
        piece: bytes | memoryview = b""
        start = end = 0  # piece[start:end] is still to be sent
        while size:
            self.data_frames += 1
            if size >= longest <= end - start:  # most frames of a long piece
                out += (whole, piece[start : start + longest])
                size -= longest
                start += longest
                continue
            left = min(longest, size)
            size -= left
            out.append((left << 16).to_bytes(5, "big") + number)
            while left:
                if start == end:
                    piece = memoryview(queue.popleft())
                    start, end = 0, len(piece)
                until = min(end, start + left)
                out.append(piece[start:until])
                left -= until - start
                start = until
        if start < end:
            queue.appendleft(piece[start:])

    def _headers(self, stream: Stream, fields: Fields, *, end_stream: bool) -> None:
        # Encoded as it leaves and not before: blocks change the table in the order in which they are sent.
        self._send_block(stream, self.encoder.encode(fields), end_stream=end_stream)

    def _send_block(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        self._resized = False
        self.control(frames.headers(stream.id, block, end_stream=end_stream, max_frame=self.max_frame))

    def _finish(self, stream: Stream, last: Fields | HeaderBlock) -> None:
        if stream.queued:
            stream.last = last
        else:
            self._send_last(stream, last)

    def _send_last(self, stream: Stream, last: Fields | HeaderBlock) -> None:
        if isinstance(last, HeaderBlock):
            self.begin(stream, last)
        elif last:
            self._headers(stream, last, end_stream=True)
        else:
            self.control(frames.head(DATA, END_STREAM, stream.id, 0))
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        stream.local_open = False
        self._ended(stream)

    def __repr__(self) -> str:
        return f"<Sender window {self.window}, {len(self._out)} pieces to take, {len(self._ready)} streams in line>"
