"""Flow control of what a peer sends (RFC 9113, 5.2 and 6.9): how much more may come, on each stream and on all of them.

DATA alone is counted, padding included, twice. Both windows are given back by WINDOW_UPDATE, but not at the same time:

- A stream's window holds `initial_window`. It is given back as the stream's owner says that bytes are done with
  (`keep`, `consumed`), in halves of a window. A reader that stops stops its sender, and no other stream. An owner that
  knows how much will come and has room for it says so with `expect`, and the peer need not stop on the way. So what a
  stream has sent unread is a window and one message at most.
- The connection's window is given back as bytes arrive, whoever reads them, so that a stream that nobody reads does not
  take the others' share; but not while more than `max_unread_bytes` are unread.

What we may send is the business of `sender.py`.
"""

from __future__ import annotations

from runner.http2 import frames
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits
from runner.http2.sender import Sender
from runner.http2.stream import Stream


class Inflow:
    """What may come on a connection, and what has come and waits to be read.

    The connection takes what comes from `window` and from its stream's `receive_window`, and has them opened again when
    they are below `low` and `stream_low`.
    """

    __slots__ = ("_limits", "_sender", "data_frames", "low", "stream_low", "unread", "window")

    def __init__(self, limits: Limits, sender: Sender) -> None:
        """Begin with the windows that the limits name.

        Args:
            limits: the connection's.
            sender: sends WINDOW_UPDATE.
        """
        self._limits = limits
        self._sender = sender
        self.window = limits.connection_window
        self.low = limits.connection_window // 2
        self.stream_low = limits.initial_window // 2
        self.unread = 0  # bytes, of all streams
        self.data_frames = 0  # that have come so far and were not empty

    # What owners of streams call.

    def keep(self, stream: Stream, size: int) -> None:
        """So many bytes of a stream's DATA wait to be read. What is not kept counts as read once `on_data` returns."""
        stream.unread += size
        self.unread += size

    def consumed(self, stream: Stream, size: int) -> None:
        """So many of the bytes that were kept are done with: the peer may send as many again."""
        if not stream.local_open:
            return  # it is over, and what was kept of it is not counted any more
        stream.unread -= size
        self.unread -= size
        if stream.receive_window < self.stream_low and stream.remote_open:
            self.refill_stream(stream)
        if self.window < self.low:
            self.refill()

    def expect(self, stream: Stream, size: int) -> None:
        """So many bytes will come on a stream and have room: open its window for them.

        Not while a window of its bytes is unread, or each message would make room for the next one. To be said again
        when some were consumed.
        """
        if stream.remote_open and stream.receive_window < size and stream.unread < self._limits.initial_window:
            self._grant(stream, size - stream.receive_window)

    # What the connection calls.

    def refill(self) -> None:
        """Open the connection's window again, unless too much is unread.

        Raises:
            ConnectionFailure: the peer has sent more than it might.
        """
        if self.window < 0:
            raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")  # 6.9.1
        if self.unread <= self._limits.max_unread_bytes and self.window <= self.low:
            increment = self._limits.connection_window - self.window
            self.window += increment
            self._sender.control(frames.window_update(0, increment))

    def refill_stream(self, stream: Stream) -> None:
        """Open a stream's window again by what was read."""
        increment = self._limits.initial_window - stream.unread - stream.receive_window
        if increment >= self.stream_low:
            self._grant(stream, increment)

    def forget(self, stream: Stream) -> None:
        """A stream is over: nobody will read what was kept of it."""
        self.unread -= stream.unread

    def _grant(self, stream: Stream, increment: int) -> None:
        stream.receive_window += increment
        self._sender.control(frames.window_update(stream.id, increment))

    def __repr__(self) -> str:
        return f"<Inflow window {self.window}, {self.unread} bytes unread>"
