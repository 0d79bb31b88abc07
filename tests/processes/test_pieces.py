"""Frames in pieces: whole again whatever comes between, in order within a call, and bounded at both ends."""

from __future__ import annotations

import struct
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.processes.pieces import (
    FIRST_TAG,
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    MAX_FRAMES,
    NEXT_TAG,
    PIECE_BYTES,
    Cutter,
    Joiner,
    body,
)
from runner.wire.payload import Payload

TAG = 3


def frame(size: int, mark: int = 0) -> bytes:
    """Return a frame of `size` bytes that is not like its neighbours."""
    filling = bytes([mark % 251, (mark + 1) % 251, (mark + 2) % 251]) * (size // 3 + 1)
    return (struct.pack("<IB", size - 4, TAG) + filling)[:size]


def first(place: int, total: int, size: int) -> memoryview:
    return memoryview(struct.pack("<IBBQ", 10 + size, FIRST_TAG, place, total) + bytes(size))


def following(place: int, size: int) -> memoryview:
    return memoryview(struct.pack("<IBB", 2 + size, NEXT_TAG, place) + bytes(size))


def joined(parts: list[Payload]) -> memoryview:
    return memoryview(b"".join(parts))


class Far:
    """The other end: keeps the frames that arrive, as the receiver of a link would."""

    def __init__(self) -> None:
        self.joiner = Joiner()
        self.frames: list[bytes] = []

    def take(self, piece: memoryview) -> None:
        if piece[4] < FIRST_TAG:
            self.frames.append(bytes(piece))
        elif (whole := self.joiner.take(piece)) is not None:
            self.frames.append(bytes(whole))


long_sizes = st.one_of(
    st.integers(PIECE_BYTES + 1, 3 * PIECE_BYTES),
    st.sampled_from([PIECE_BYTES + 1, 2 * PIECE_BYTES - 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1, 5 * 1024 * 1024]),
)
sizes = st.one_of(long_sizes, st.integers(13, 100))


@given(st.lists(st.tuples(st.integers(1, 4), sizes), max_size=12), st.data())
def test_any_interleaving_gives_the_same_frames_in_order_within_each_call(frames, data):
    cutter, far = Cutter(), Far()
    sent: dict[int, list[bytes]] = defaultdict(list)
    left = list(enumerate(frames))
    while left or cutter.calls:
        if left and (not cutter.calls or data.draw(st.booleans())):
            number, (call, size) = left.pop(0)
            # The call's number stands where every frame about a call has it, so that the far end can tell them apart.
            whole = frame(size, number)[:5] + call.to_bytes(8, "little") + frame(size, number)[13:]
            sent[call].append(whole)
            cut_at = data.draw(st.integers(1, size))
            if size > PIECE_BYTES or call in cutter.calls:
                cutter.add(call, [part for part in (whole[:cut_at], whole[cut_at:]) if part], size)
            else:
                far.take(memoryview(whole))
        else:
            far.take(joined(cutter.next()))
    arrived: dict[int, list[bytes]] = defaultdict(list)
    for each in far.frames:
        arrived[int.from_bytes(each[5:13], "little")].append(each)
    assert arrived == sent
    assert repr(cutter) == "<Cutter 0 frames of 0 calls, 0 under way>"
    assert repr(far.joiner) == "<Joiner 0 frames, 0 bytes>"


def test_no_piece_is_longer_than_its_bound_and_payloads_are_not_copied():
    cutter = Cutter()
    payload = memoryview(bytearray(3 * PIECE_BYTES))
    cutter.add(1, [frame(PIECE_BYTES)[:13], payload], 13 + len(payload))
    pieces: list[list[Payload]] = []
    while cutter.calls:
        pieces.append(cutter.next())
    assert [sum(map(len, piece)) for piece in pieces] == [
        HEAD_BYTES + PIECE_BYTES,
        6 + PIECE_BYTES,
        6 + PIECE_BYTES,
        6 + 13,
    ]
    bodies = [part for piece in pieces for part in piece[1:] if len(part) > 13]
    assert all(isinstance(part, memoryview) and part.obj is payload.obj for part in bodies)


def test_calls_take_turns():
    cutter = Cutter()
    for call in (1, 2, 3):
        cutter.add(call, [frame(2 * PIECE_BYTES, call)], 2 * PIECE_BYTES)
    far = Far()
    for _ in range(3):
        far.take(joined(cutter.next()))
    assert not far.frames
    for _ in range(3):
        far.take(joined(cutter.next()))
    assert far.frames == [frame(2 * PIECE_BYTES, call) for call in (1, 2, 3)]


def test_a_short_frame_behind_a_long_one_of_its_call_goes_whole_and_after_it():
    cutter, far = Cutter(), Far()
    cutter.add(1, [frame(PIECE_BYTES + 1)], PIECE_BYTES + 1)
    cutter.add(1, [frame(20)], 20)
    far.take(joined(cutter.next()))
    far.take(joined(cutter.next()))
    assert far.frames == [frame(PIECE_BYTES + 1)]
    assert cutter.next() == [frame(20)]
    assert not cutter.calls


def test_the_sender_has_only_so_many_frames_under_way():
    cutter, joiner = Cutter(), Joiner()
    for call in range(MAX_FRAMES + 5):
        cutter.add(call, [frame(2 * PIECE_BYTES)], 2 * PIECE_BYTES)
    for _ in range(MAX_FRAMES):
        joiner.take(joined(cutter.next()))
    assert repr(joiner) == f"<Joiner {MAX_FRAMES} frames, {MAX_FRAMES * 2 * PIECE_BYTES} bytes>"
    complete = 0
    while cutter.calls:
        complete += joiner.take(joined(cutter.next())) is not None
    assert complete == MAX_FRAMES + 5


def test_the_sender_has_only_so_many_bytes_under_way_but_always_one_frame():
    payload = memoryview(bytes(1024 * 1024)).cast("B")
    gigabyte = [payload] * 1024  # the same bytes again and again: nothing here takes a gigabyte
    cutter = Cutter()
    cutter.add(1, list(gigabyte), 1 << 30)
    cutter.add(2, list(gigabyte), 1 << 30)
    cutter.add(3, list(gigabyte), 1 << 30)
    for _ in range(8):
        cutter.next()
    assert repr(cutter) == "<Cutter 3 frames of 3 calls, 2 under way>"
    alone = Cutter()
    alone.add(1, [*gigabyte, *gigabyte, payload], MAX_FRAME_BYTES + len(payload))
    assert len(alone.next()) == 2


def test_what_was_in_memory_before_is_written_over():
    size = 6 * 1024 * 1024
    cutter, far = Cutter(), Far()
    cutter.add(1, [frame(size, 9)], size)
    while cutter.calls:
        far.take(joined(cutter.next()))
    assert far.frames == [frame(size, 9)]


TOTAL = 2 * PIECE_BYTES


@pytest.mark.parametrize(
    "pieces",
    [
        [memoryview(b"\x01\x00\x00\x00" + bytes([FIRST_TAG]))],
        [memoryview(b"\x01\x00\x00\x00" + bytes([NEXT_TAG]))],
        [memoryview(b"\x01\x00\x00\x00" + bytes([NEXT_TAG + 1]))],
        [following(0, 10)],
        [first(0, PIECE_BYTES, 10)],
        [first(0, MAX_FRAME_BYTES + 1, 10)],
        [first(0, 2**64 - 1, 10)],
        [first(MAX_FRAMES, TOTAL, 10)],
        [first(0, TOTAL, 0)],
        [first(0, TOTAL, PIECE_BYTES + 1)],
        [first(0, TOTAL, 10), first(0, TOTAL, 10)],
        [first(0, TOTAL, 10), following(1, 10)],
        [first(0, TOTAL, 10), following(0, 0)],
        [first(0, TOTAL, PIECE_BYTES), following(0, 10), following(0, PIECE_BYTES - 9)],
        [first(0, MAX_FRAME_BYTES, 10), first(1, TOTAL, 10)],
        [first(0, TOTAL, PIECE_BYTES), following(0, PIECE_BYTES)],  # what is whole says that it is 4 bytes long
    ],
    ids=[
        "a first one without a head",
        "a following one without a head",
        "another tag",
        "of nothing",
        "of a frame that needs none",
        "of a frame that is too long",
        "of the longest",
        "at a place that there is not",
        "empty at first",
        "too long",
        "at a place that is taken",
        "of another frame",
        "empty",
        "beyond the end",
        "of more bytes than may be under way",
        "of no frame",
    ],
)
def test_what_is_no_piece_is_refused(pieces):
    joiner = Joiner()
    for piece in pieces[:-1]:
        assert joiner.take(piece) is None
    with pytest.raises(ValueError):
        joiner.take(pieces[-1])


@given(st.lists(st.binary(min_size=5, max_size=40), max_size=20))
def test_garbage_is_refused_or_taken_within_the_bounds(garbage):
    joiner = Joiner()
    for each in garbage:
        try:
            joiner.take(memoryview(each[:4] + bytes([FIRST_TAG + each[4] % 2]) + each[5:]))
        except ValueError:
            return


def test_a_piece_may_be_filled_in_bit_by_bit():
    piece = memoryview(struct.pack("<IBBQ", 10 + PIECE_BYTES, FIRST_TAG, 7, TOTAL) + frame(TOTAL)[:PIECE_BYTES])
    joiner = Joiner()
    target = joiner.open(piece[:HEAD_BYTES])
    assert len(target) == PIECE_BYTES
    for begin in range(0, PIECE_BYTES, 100_000):
        target[begin : begin + 100_000] = body(piece)[begin : begin + 100_000]
    assert joiner.close() is None
    rest = memoryview(struct.pack("<IBB", 2 + PIECE_BYTES, NEXT_TAG, 7) + frame(TOTAL)[PIECE_BYTES:])
    whole = joiner.take(rest)
    assert whole is not None
    assert bytes(whole) == frame(TOTAL)
