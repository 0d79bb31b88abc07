"""The streams of a connection that are open, and how each of them ends (RFC 9113, 5.1 and 5.4.2).

What a peer does to no purpose is counted here: ends that it is to blame for, and frames that do nothing for any stream.
"""

from __future__ import annotations

from runner.http2 import frames
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.inflow import Inflow
from runner.http2.limits import Limits
from runner.http2.misuse import Misuse
from runner.http2.numbers import Late, Numbers
from runner.http2.sender import Sender
from runner.http2.stream import Stream


class Streams:
    """Owns the streams, and what is known of all others by their numbers.

    A `ConnectionFailure` from any of these methods means that the peer has done something too often, or what it may
    never do.

    Attributes:
        open: those that are open or half-closed (remote), by number.
        numbers: of the others.
        now: the instant at which what is looked at has come, in seconds; set by the connection.
    """

    __slots__ = ("_inflow", "_misuse", "_sender", "now", "numbers", "open")

    def __init__(self, sender: Sender, inflow: Inflow, limits: Limits, now: float) -> None:
        """Begin without streams.

        Args:
            sender: sends RST_STREAM, and is told what it need not send any more.
            inflow: told what nobody will read any more.
            limits: of the connection.
            now: instant.
        """
        self.open: dict[int, Stream] = {}
        self.numbers = Numbers()
        self.now = now
        self._sender = sender
        self._inflow = inflow
        self._misuse = Misuse(limits, now)

    # Ends.

    def answered(self, stream: Stream) -> None:
        """Our side of a stream has ended."""
        self.open.pop(stream.id, None)
        if stream.unread:
            self._inflow.forget(stream)
        if stream.remote_open:
            # The answer is complete without the rest of the request (8.1).
            stream.remote_open = False
            self.send_reset(stream.id, ErrorCode.NO_ERROR)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream before its time, for reasons of ours."""
        if stream.id in self.open:
            self._drop(stream)
            self.send_reset(stream.id, code)

    def was_reset(self, stream: Stream, code: int) -> None:
        """The peer has ended a stream before its time."""
        self._drop(stream)
        stream.on_reset(code)
        self._misuse.stream_reset(self.now)

    def error(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream because of what its peer did. Counted: such an end costs as much as one that the peer sends."""
        stream = self.open.get(stream_id)
        self.send_reset(stream_id, code)
        if stream is not None:
            self._drop(stream)
            stream.on_reset(code)
        self._misuse.stream_reset(self.now)

    def end_all(self, code: ErrorCode) -> None:
        """The connection is over, and so are all streams."""
        streams = list(self.open.values())
        for stream in streams:
            self._drop(stream)
        for stream in streams:
            stream.on_reset(code)

    def send_reset(self, stream_id: int, code: ErrorCode) -> None:
        """Say that a stream is over, and remember that we did."""
        self.numbers.reset(stream_id)
        self._sender.answer(frames.rst_stream(stream_id, code))

    def _drop(self, stream: Stream) -> None:
        """Forget a stream that is reset."""
        self.open.pop(stream.id, None)
        self._inflow.forget(stream)
        stream.remote_open = False
        self._sender.forget(stream)

    # What comes for streams that are not open.

    def late(self, stream_id: int) -> None:
        """DATA or HEADERS came for a closed stream."""
        match self.numbers.late(stream_id):
            case Late.UNDER_WAY:
                self.count_idle()
            case Late.FORGOTTEN:
                self.error(stream_id, ErrorCode.STREAM_CLOSED)
            case Late.ENDED:
                raise ConnectionFailure(ErrorCode.STREAM_CLOSED, "a frame on a stream that had ended")  # 5.1

    def count_idle(self) -> None:
        """A frame came that does nothing for any stream."""
        work = self.numbers.last // 2 + self._inflow.data_frames + self._sender.data_frames
        self._misuse.idle_frame(self.now, work)

    def __repr__(self) -> str:
        return f"<Streams {len(self.open)} open, {self.numbers!r}>"
