"""Frames: their types, flags and settings (RFC 9113, sections 4 and 6), and the bytes of those that we send."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (3.4); its first frame, SETTINGS, follows."""

HEAD_BYTES: Final = 9
"""Length of a frame's head: length (24 bits), type (8), flags (8), a reserved bit, stream (31)."""

unpack_head = struct.Struct(">IBI").unpack_from
"""(length << 8 | type, flags, stream with its reserved bit) of the frame at an offset."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME: Final = 16_384
"""Also the least that a peer may set (6.5.2): a frame of this size can always be sent."""
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1

_pack_head = struct.Struct(">IBI").pack
_pack_word = struct.Struct(">I").pack
_pack_setting = struct.Struct(">HI").pack
_iter_settings = struct.Struct(">HI").iter_unpack


def head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return the head of a frame."""
    return _pack_head(length << 8 | kind, flags, stream_id)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return a whole frame (6.4)."""
    return _pack_head(4 << 8 | RST_STREAM, 0, stream_id) + _pack_word(code)


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a whole frame (6.9)."""
    return _pack_head(4 << 8 | WINDOW_UPDATE, 0, stream_id) + _pack_word(increment)


def ping(data: bytes, *, ack: bool) -> bytes:
    """Return a whole frame (6.7). `data`: eight bytes."""
    return _pack_head(8 << 8 | PING, ACK if ack else 0, 0) + data


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return a whole frame (6.8)."""
    return _pack_head((8 + len(debug)) << 8 | GOAWAY, 0, 0) + _pack_word(last_stream_id) + _pack_word(code) + debug


def settings(values: dict[int, int]) -> bytes:
    """Return a whole frame (6.5)."""
    return _pack_head((6 * len(values)) << 8 | SETTINGS, 0, 0) + b"".join(
        _pack_setting(name, value) for name, value in values.items()
    )


SETTINGS_ACK: Final = _pack_head(SETTINGS, ACK, 0)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the pairs of a SETTINGS frame whose length is a multiple of six."""
    return list(_iter_settings(payload))


def headers(stream_id: int, block: bytes, *, end_stream: bool, max_frame: int) -> bytes:
    """Return a field block as one HEADERS frame and, if it is long, CONTINUATION frames (4.3)."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame:
        return _pack_head(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = [_pack_head(max_frame << 8 | HEADERS, flags, stream_id), block[:max_frame]]
    for start in range(max_frame, len(block), max_frame):
        piece = block[start : start + max_frame]
        last = END_HEADERS if start + max_frame >= len(block) else 0
        pieces += (_pack_head(len(piece) << 8 | CONTINUATION, last, stream_id), piece)
    return b"".join(pieces)
