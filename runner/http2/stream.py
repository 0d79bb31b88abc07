"""A stream: one request and its response. Whoever uses a connection derives a class of its own from this one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from runner.http2.fields import Fields, RequestHead

if TYPE_CHECKING:
    from runner.http2.connection import Connection
    from runner.http2.sender import HeaderBlock


Received: TypeAlias = bytes | memoryview
"""What a peer has sent. A view is read over once whoever gets it has returned: what it wants of it, it copies."""


class Stream:
    """What the connection knows of a stream, and what it tells it.

    The attributes are the connection's and its sender's; a derived class reads `id` and `queued` and overrides the
    `on_...` methods. A stream is forgotten when both sides have ended, or by a reset from either.
    """

    __slots__ = (
        "connection",
        "content_left",
        "id",
        "id_bytes",
        "last",
        "local_open",
        "queue",
        "queued",
        "receive_window",
        "remote_open",
        "scheduled",
        "send_window",
        "unread",
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.id_bytes = stream_id.to_bytes(4, "big")
        self.remote_open = True  # the peer has not ended its side
        self.local_open = True  # we have not ended ours
        self.send_window = connection.sender.initial_window
        self.receive_window = connection.limits.initial_window
        self.unread = 0  # bytes received that its owner keeps
        self.content_left = -1  # bytes that content-length still announces; -1: it was not given
        self.queue: deque[bytes | memoryview] | None = None  # DATA that waits for windows
        self.queued = 0  # its bytes
        self.last: Fields | HeaderBlock | None = None  # what ends the stream behind the queue; no fields: empty DATA
        self.scheduled = False  # it waits for its turn in the sender

    # What happens to it. All are called from within `Connection.receive`, but for `on_writable`.

    def on_request(self, head: RequestHead, ended: bool) -> None:
        """The request's head is there; `ended`: it has no body. Called once, first."""

    def on_data(self, data: Received, start: int, stop: int, ended: bool) -> None:
        """A piece of the body is there: `data[start:stop]`, perhaps empty.

        They count as read when this returns, so that the peer may send more, but for those that `Inflow.keep` is
        told of.
        """

    def on_trailers(self, fields: Fields) -> None:
        """The request ended with a trailer section."""

    def on_reset(self, code: int) -> None:
        """The stream is over before its time, by the peer, by its error, or with the connection. The last word."""

    def on_writable(self) -> None:
        """So much of `queued` has left that more may be written."""

    def __repr__(self) -> str:
        sides = f"{'open' if self.remote_open else 'ended'}/{'open' if self.local_open else 'ended'}"
        return f"<{type(self).__name__} {self.id} {sides}, {self.queued} bytes queued>"
