"""The server's side of an HTTP/2 connection (RFC 9113), without I/O: bytes in, method calls on streams out.

    connection.receive(data, now)        what the peer sent; calls the `on_...` methods of its streams
    connection.sender                    what leaves: headers, data, trailers (see `sender.py`)
    connection.sender.take()             the bytes to write now
    connection.inflow                    what may come: told by who reads it (see `inflow.py`)

No socket, no loop and no clock: `now` is an instant of any clock that only goes forward, in seconds.

How it works, in the order of the RFC
-------------------------------------

**Frames (4).** A connection is a preface of 24 bytes (3.4) and then frames, each a head of nine bytes and a payload.
`frame_reader.py` goes through them in one loop. A frame that is not complete waits there; its length was checked
before, so that what waits is bounded. A long frame of DATA does not wait: its stream gets what is there of it, and the
rest as it comes. What the frames of requests mean says `requests.py`, and what all others do `control_frames.py`.
Unknown types are skipped (4.1).

**Field blocks (4.3).** Headers travel compressed, by HPACK (RFC 7541), in HEADERS and the CONTINUATION frames right
behind it, with no frame of any stream between. Both ends keep a table that every block may change. So *each* block is
decoded, also for a stream that is refused, closed or unknown; an undecodable one is the end of the connection.

**Streams (5.1).** A client opens streams with odd numbers that grow. As a server sees one:

    idle ──HEADERS──▶ open ──END_STREAM──▶ half-closed (remote) ──our END_STREAM──▶ closed
                       │                                                              ▲
                       └──our END_STREAM──▶ half-closed (local): we add RST_STREAM ───┘
                                            with NO_ERROR (8.1): the answer is complete, send no more

  `streams.py` holds those that are open or half-closed (remote). A number that is not in it is idle if it is above the
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
answer proves that the peer has seen the GOAWAY: what it opened before is known. Then a second GOAWAY names the last
stream that will be answered. When the last one is over, `finished` is true and the connection may be closed.

**A peer that means harm (10.5).** What costs us more than the peer is counted, by what is in `limits.py`. Two counts
take care of nearly all known attacks: resets of streams, and frames that do nothing for any call (`misuse.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from runner.http2 import frames
from runner.http2.backlog import Backlog
from runner.http2.control_frames import ControlFrames
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.fields import RequestHead
from runner.http2.frame_reader import FrameReader
from runner.http2.inflow import Inflow
from runner.http2.limits import Limits
from runner.http2.requests import Requests
from runner.http2.sender import Sender
from runner.http2.stream import Received, Stream
from runner.http2.streams import Streams

logger = logging.getLogger("runner.http2")


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
        self.sender = Sender(wake, self._answered, limits.max_unsent_control_bytes, backlog)
        self.inflow = Inflow(limits, self.sender)
        self.failure: ConnectionFailure | None = None
        self.reads = 0  # how often `receive` was called
        self._streams = Streams(self.sender, self.inflow, limits, now)
        self._control = ControlFrames(self._streams, self.sender)
        requests = Requests(self, self._streams, open_stream)
        self._reader = FrameReader(requests, self._control.receive, limits)
        self._greet()

    # What the shell calls.

    def receive(self, data: Received, now: float) -> None:
        """Take what the peer has sent, in pieces of any size."""
        if self.failure is not None:
            return
        self._streams.now = now
        self.reads += 1
        try:
            self._reader.receive(data)
        except ConnectionFailure as failure:
            self.fail(failure)

    def lost(self) -> None:
        """The transport is gone: so are all streams."""
        if self.failure is None:
            self._end(ConnectionFailure(ErrorCode.NO_ERROR, "the connection was lost"))
        self._streams.end_all(ErrorCode.CANCEL)

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection: GOAWAY with a code (5.4.1), and the end of every stream."""
        if self.failure is not None:
            return
        self._end(failure)
        if failure.code is not ErrorCode.NO_ERROR:
            logger.info("connection closed: %s, %s", failure.code.name, failure.reason)
        numbers = self._streams.numbers
        last = min(numbers.last, numbers.taken_until)
        self.sender.control(frames.goaway(last, failure.code, failure.reason.encode()[:256]))
        self._streams.end_all(failure.code or ErrorCode.CANCEL)

    def drain(self) -> None:
        """Take no more streams than those that the peer opens before it hears of this, and answer these (6.8)."""
        if self.failure is None:
            self._control.drain()

    def ping(self) -> None:
        """Ask whether the peer is alive; `pinged` is true until it has answered."""
        if self.failure is None:
            self._control.ping()

    @property
    def pinged(self) -> bool:
        """True while a PING of `ping` waits for its answer."""
        return self._control.pinged

    @property
    def finished(self) -> bool:
        """True if the connection should be closed once everything was written."""
        return self.failure is not None or self._control.drained

    @property
    def draining(self) -> bool:
        """True once either side has said that no more streams are to come."""
        return self._control.draining

    @property
    def active(self) -> int:
        """Streams that are open."""
        return len(self._streams.open)

    @property
    def opened(self) -> int:
        """The number of the stream that the peer has opened last; it goes up with each."""
        return self._streams.numbers.last

    # What owners of streams call, beside `sender` and `inflow`.

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream before its time."""
        self._streams.reset(stream, code)

    # Beginning and end.

    def _greet(self) -> None:
        limits = self.limits
        self.sender.control(
            frames.settings(
                {
                    frames.HEADER_TABLE_SIZE: limits.header_table_bytes,
                    frames.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    frames.INITIAL_WINDOW_SIZE: limits.initial_window,
                    frames.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    frames.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
            + frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW)
        )

    def _answered(self, stream: Stream) -> None:
        """Our side of a stream has ended; called by the sender."""
        try:
            self._streams.answered(stream)
        except ConnectionFailure as failure:  # nothing of whoever answers: the peer does not read
            self.fail(failure)

    def _end(self, failure: ConnectionFailure) -> None:
        self.failure = failure
        self._reader.stop()

    def __repr__(self) -> str:
        state = f"failed: {self.failure.reason}" if self.failure else "draining" if self.draining else "open"
        return f"<Connection {state}, {self._streams!r}, {self.sender!r}>"
