from __future__ import annotations

import pytest

from runner.http2 import frames
from tests.http2.peer import Frame, split


@pytest.mark.parametrize(
    ("data", "frame"),
    [
        (frames.rst_stream(5, 8), Frame(3, 0, 5, b"\0\0\0\x08")),
        (frames.window_update(0, 65_536), Frame(8, 0, 0, b"\0\x01\0\0")),
        (frames.ping(b"12345678", ack=True), Frame(6, 1, 0, b"12345678")),
        (frames.goaway(7, 11, b"why"), Frame(7, 0, 0, b"\0\0\0\x07\0\0\0\x0bwhy")),
        (frames.settings({4: 65_535, 5: 16_384}), Frame(4, 0, 0, b"\0\x04\0\0\xff\xff\0\x05\0\0\x40\0")),
        (frames.SETTINGS_ACK, Frame(4, 1)),
    ],
)
def test_frames(data: bytes, frame: Frame) -> None:
    assert split(data) == [frame]


@pytest.mark.parametrize("size", [0, 1, 10, 11, 20, 25])
def test_a_block_in_frames_of_ten_bytes(size: int) -> None:
    block = bytes(range(size))
    pieces = split(frames.headers(3, block, end_stream=True, max_frame=10))
    assert b"".join(each.payload for each in pieces) == block
    assert [each.kind for each in pieces] == [frames.HEADERS] + [frames.CONTINUATION] * (len(pieces) - 1)
    assert [bool(each.flags & frames.END_HEADERS) for each in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[0].flags & frames.END_STREAM
