"""One socket between two processes."""

from __future__ import annotations

import asyncio

import pytest

from runner.processes.channel import _READ_BYTES, Channel
from runner.processes.framing import LENGTH
from runner.processes.pieces import FIRST_TAG, HEAD_BYTES, PIECE_BYTES, Cutter
from tests.running import on_loop

SHORT = LENGTH.pack(6) + b"\1short"
LONG = LENGTH.pack(PIECE_BYTES + 1000) + b"\2" + bytes(PIECE_BYTES + 999)


class Owner:
    """Keeps the frames that a channel brings."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def complete(self, channel: Channel) -> None:
        pass

    def received(self, frame: memoryview) -> None:
        self.frames.append(bytes(frame))

    def lost(self, channel: Channel) -> None:
        pass


def in_pieces(frame: bytes) -> bytes:
    cutter = Cutter()
    cutter.add(1, [frame], len(frame))
    pieces: list[bytes | memoryview] = []
    while cutter.calls:
        pieces += cutter.next()
    return b"".join(pieces)


def read(channel: Channel, data: bytes) -> None:
    """Have a channel read so much, as far as it has room for it at a time."""
    while data:
        buffer = channel.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        channel.buffer_updated(size)
        data = data[size:]


@pytest.mark.parametrize("before", [b"", SHORT])
@pytest.mark.parametrize("frame", [in_pieces(LONG), LENGTH.pack(_READ_BYTES + 9) + b"\3" + bytes(_READ_BYTES + 8)])
@pytest.mark.parametrize("there", range(1, HEAD_BYTES + 2))
@on_loop
async def test_a_read_may_end_within_the_head_of_what_is_long(before: bytes, frame: bytes, there: int) -> None:
    owner = Owner()
    channel = Channel(owner, asyncio.get_running_loop(), 0)
    read(channel, before + frame[:there])
    read(channel, frame[there:] + SHORT)
    whole = LONG if frame[4] == FIRST_TAG else frame
    assert owner.frames == [before] * bool(before) + [whole, SHORT]
