"""Streams by their numbers alone (RFC 9113, 5.1.1): which are idle, which may still get late frames, which are refused.

A client numbers the streams that it opens upwards, so that its number says something of a stream that nobody has any
more.
"""

from __future__ import annotations

import enum
from typing import Final

from runner.http2.frames import MAX_STREAM_ID

RESETS_KEPT: Final = 512
"""Streams we have reset and of which late frames are dropped: as many as can be under way in a round trip or so."""


class Late(enum.Enum):
    """What a frame means that comes for a stream that was closed."""

    UNDER_WAY = enum.auto()
    """Its peer sent it before it could know that we had ended the stream, or would not answer it."""

    FORGOTTEN = enum.auto()
    """Nobody knows any more whether we had reset the stream."""

    ENDED = enum.auto()
    """The peer knew: it had ended or reset the stream itself."""


class Numbers:
    """What is known of streams that are not open."""

    __slots__ = ("_forgotten", "_reset_by_us", "last", "taken_until")

    def __init__(self) -> None:
        self.last = 0
        """The highest that the peer has opened."""
        self.taken_until = MAX_STREAM_ID
        """Streams above are not answered, and the peer was told so, or said so, by GOAWAY (6.8)."""
        self._reset_by_us: dict[int, None] = {}
        self._forgotten = 0  # the highest that has left `_reset_by_us`

    @property
    def closing(self) -> bool:
        """True if no stream is taken beyond those that the peer has opened."""
        return self.taken_until != MAX_STREAM_ID

    def close(self) -> None:
        """Take no streams beyond those that the peer has opened."""
        self.taken_until = min(self.taken_until, self.last)

    def never_opened(self, number: int) -> bool:
        """Tell whether a stream is idle, or the connection itself."""
        return number == 0 or number > self.last

    def reset(self, number: int) -> None:
        """Remember that we have reset a stream."""
        kept = self._reset_by_us
        if len(kept) >= RESETS_KEPT:
            oldest = next(iter(kept))
            del kept[oldest]
            self._forgotten = max(self._forgotten, oldest)
        kept[number] = None

    def late(self, number: int) -> Late:
        """Judge DATA or HEADERS for a stream that is closed."""
        if number in self._reset_by_us or number > self.taken_until:
            return Late.UNDER_WAY
        return Late.FORGOTTEN if number <= self._forgotten else Late.ENDED

    def __repr__(self) -> str:
        return f"<Numbers up to {self.last}, taken until {self.taken_until}, {len(self._reset_by_us)} reset by us>"
