"""Long frames travel in pieces, so that nothing short waits behind them. Bytes in, bytes out; no sockets.

A frame of more than `PIECE_BYTES` is cut. Its first piece says how long the whole is; pieces of other frames, and whole
frames, may come between it and the last. What belongs to one call keeps its order: while a frame of a call is under
way, everything else of that call stands behind it.

Both ends know the same bounds on what is under way at once. The sender makes frames wait to stay within them; the
receiver closes the link on a sender that does not, whose beginnings could fill its memory.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from runner.allocator import uncleared
from runner.wire.payload import Payload

PIECE_BYTES: Final = 256 * 1024
"""bytes of one piece without its head: a tenth of a millisecond on a socket, which a short message may have to wait."""

MAX_FRAME_BYTES: Final = 2**31
"""bytes of the longest frame, and of all frames under way together. gRPC messages end at 1 GiB."""

MAX_FRAMES: Final = 64
"""frames under way at once. More would not travel faster, and the first to begin would be among the last to arrive."""

FIRST_TAG: Final = 240
NEXT_TAG: Final = 241

_FIRST: Final = struct.Struct("<IBBQ")  # length of what follows, tag, place among the frames under way, bytes in all
_NEXT: Final = struct.Struct("<IBB")
HEAD_BYTES: Final = _FIRST.size
"""bytes of the longer of the two heads."""


class _Cut:
    """A frame on its way out. Without a place among those under way it is not cut."""

    __slots__ = ("left", "parts", "place", "size")

    def __init__(self, parts: list[Payload], size: int) -> None:
        self.parts = deque(parts)
        self.size = self.left = size
        self.place = -1

    def take(self) -> list[Payload]:
        """Return the next piece with its head, or the whole frame."""
        if self.place < 0:
            self.left = 0
            return list(self.parts)
        size = min(PIECE_BYTES, self.left)
        if self.left == self.size:
            out: list[Payload] = [_FIRST.pack(_FIRST.size - 4 + size, FIRST_TAG, self.place, self.size)]
        else:
            out = [_NEXT.pack(_NEXT.size - 4 + size, NEXT_TAG, self.place)]
        self.left -= size
        while size:
            part = self.parts.popleft()
            if len(part) > size:
                part = memoryview(part)
                self.parts.appendleft(part[size:])
                part = part[:size]
            out.append(part)
            size -= len(part)
        return out


class Cutter:
    """The frames that are under way in pieces, and those that wait. A call's frames go one after the other."""

    def __init__(self) -> None:
        self.calls: dict[int, deque[_Cut]] = {}
        """What is held of each call, the oldest first. Everything else of a call in here has to be added too."""
        self._turns: deque[int] = deque()  # calls whose oldest frame is under way, in the order of their turns
        self._waiting: deque[int] = deque()  # calls whose oldest frame is not
        self._places = list(range(MAX_FRAMES))
        self._bytes = 0  # of the frames that have a place, whole

    def add(self, call: int, parts: list[Payload], size: int) -> None:
        """Take a frame of `size` bytes, in parts as `frames.pack` makes them."""
        cuts = self.calls.get(call)
        if cuts is None:
            cuts = self.calls[call] = deque()
            self._waiting.append(call)
        cuts.append(_Cut(parts, size))

    def next(self) -> list[Payload]:
        """Return the next piece, of each call in turn, or a short frame that stood behind a long one, as it is.

        Something must be held.
        """
        self._begin()
        call = self._turns.popleft()
        cuts = self.calls[call]
        cut = cuts[0]
        piece = cut.take()
        if cut.left:
            self._turns.append(call)
            return piece
        if cut.place >= 0:
            self._places.append(cut.place)
            self._bytes -= cut.size
        cuts.popleft()
        if cuts:
            self._waiting.append(call)
        else:
            del self.calls[call]
        return piece

    def _begin(self) -> None:
        """Begin the frames that have waited longest, as many as the bounds allow; there is always one under way."""
        while self._waiting:
            cut = self.calls[self._waiting[0]][0]
            if cut.size > PIECE_BYTES:
                if not self._places or (self._bytes and self._bytes + cut.size > MAX_FRAME_BYTES):
                    return
                cut.place = self._places.pop()
                self._bytes += cut.size
            self._turns.append(self._waiting.popleft())

    def __repr__(self) -> str:
        frames = sum(map(len, self.calls.values()))
        return f"<Cutter {frames} frames of {len(self.calls)} calls, {len(self._turns)} under way>"


class Joiner:
    """Puts pieces together again. Each is filled in where it belongs: `open`, fill, `close`."""

    def __init__(self) -> None:
        self._frames: dict[int, tuple[memoryview, int]] = {}  # by place: the whole, and how much of it is there
        self._bytes = 0  # of the frames under way, whole
        self._open = -1  # the place of the piece that is being filled in

    @property
    def under_way(self) -> int:
        """How many frames have begun and are not whole."""
        return len(self._frames)

    def open(self, head: memoryview) -> memoryview:
        """Begin a piece; return where what follows its head goes.

        Args:
            head: the whole piece, or at least the first `HEAD_BYTES` of it.

        Raises:
            ValueError: it is no piece, of no frame, or of more than is allowed.
        """
        tag = head[4]
        layout = _FIRST if tag == FIRST_TAG else _NEXT
        if len(head) < layout.size:
            raise ValueError("a piece without a whole head")
        length, _, place, *rest = layout.unpack_from(head)
        size = length + 4 - layout.size
        if tag == FIRST_TAG:
            (total,) = rest
            if not PIECE_BYTES < total <= MAX_FRAME_BYTES - self._bytes or place >= MAX_FRAMES or place in self._frames:
                raise ValueError(f"frame {place} of {total} bytes does not go with what is under way: {self!r}")
            self._frames[place] = (uncleared(total), 0)
            self._bytes += total
        elif tag != NEXT_TAG or place not in self._frames:
            raise ValueError(f"a piece of frame {place}, which has not begun")
        whole, begin = self._frames[place]
        if not 0 < size <= min(PIECE_BYTES, len(whole) - begin):
            raise ValueError(f"a piece of {size} bytes, where {len(whole) - begin} are missing")
        self._frames[place] = (whole, begin + size)
        self._open = place
        return whole[begin : begin + size]

    def close(self) -> memoryview | None:
        """The piece was filled in; return the whole frame if it was the last."""
        whole, end = self._frames[self._open]
        if end < len(whole):
            return None
        del self._frames[self._open]
        self._bytes -= end
        if int.from_bytes(whole[:4], "little") + 4 != end:
            raise ValueError("what was put together is not one frame")
        return whole

    def take(self, piece: memoryview) -> memoryview | None:
        """Take a whole piece; return the whole frame if it was the last.

        Raises:
            ValueError: as for `open`.
        """
        target = self.open(piece)
        target[:] = body(piece)
        return self.close()

    def __repr__(self) -> str:
        return f"<Joiner {len(self._frames)} frames, {self._bytes} bytes>"


def body(piece: memoryview) -> memoryview:
    """Return what follows a piece's head."""
    return piece[_FIRST.size if piece[4] == FIRST_TAG else _NEXT.size :]
