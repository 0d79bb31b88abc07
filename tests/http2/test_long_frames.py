"""Long frames of DATA, which a stream gets as they come: cut anywhere, it hears what it would have heard otherwise."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2.errors import ErrorCode
from runner.http2.frames import DATA, END_STREAM, GOAWAY, PADDED, PING, RST_STREAM, WINDOW_UPDATE
from tests.http2.peer import Frame, Peer, Recorder, data, receive, word

LONG = 20_000


def padded(stream: int, payload: bytes, padding: int, *, end: bool) -> Frame:
    flags = PADDED | (END_STREAM if end else 0)
    return Frame(DATA, flags, stream, bytes([padding]) + payload + bytes(padding))


def numbered(size: int) -> bytes:
    return bytes(index * 7 % 251 for index in range(size))


Heard: TypeAlias = tuple[dict[int, tuple[bytes, bool, list[int]]], ErrorCode | None]


def heard(peer: Peer) -> Heard:
    failure = peer.connection.failure
    streams = {number: (each.body, each.ended, each.resets) for number, each in peer.streams.items()}
    return streams, None if failure is None else failure.code


PIECES = st.builds(
    lambda stream, size, padding, end: (
        data(stream, numbered(size), end=end) if padding < 0 else padded(stream, numbered(size), padding, end=end)
    ),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0, 1, 100, 8_191, 8_192, LONG, 60_000]),
    st.sampled_from([-1, -1, 0, 1, 255]),
    st.booleans(),
)
OTHERS = st.sampled_from([Frame(PING, 0, 0, bytes(8)), Frame(RST_STREAM, 0, 3, word(8)), Frame(99, 0, 0, bytes(9_000))])


@given(st.lists(PIECES | OTHERS, max_size=8), st.lists(st.integers(1, 30_000), max_size=30))
def test_cut_anywhere(script: list[Frame], sizes: list[int]) -> None:
    whole, cut = Peer(), Peer()
    for peer in (whole, cut):
        for stream in (1, 3, 5):  # 7 is never opened
            peer.open(stream)
    for frame in script:
        whole.say(frame)
    said = b"".join(map(bytes, script))
    for size in [*sizes, len(said)]:
        receive(cut.connection, said[:size], cut.now)
        said = said[size:]
    assert heard(cut) == heard(whole)
    for stream in whole.streams:
        assert cut.streams[stream].remote_open == whole.streams[stream].remote_open
    if cut.connection.failure is None:
        cut.heard()
        assert [each.kind for each in cut.say(Frame(PING, 0, 0, bytes(8)))] == [PING]  # nothing is still to come


def begun(peer: Peer, frame: Frame, there: int) -> bytes:
    """Send the beginning of a frame; return the rest."""
    said = bytes(frame)
    peer.say(said[:there])
    return said[there:]


def test_a_long_frame_is_handed_over_as_it_comes() -> None:
    peer = Peer()
    stream = peer.open(1)
    rest = begun(peer, data(1, numbered(60_000), end=True), 10_000)
    assert stream.body == numbered(60_000)[: 10_000 - 9]
    for _ in range(4):
        peer.say(rest[:12_000])
        rest = rest[12_000:]
        assert len(stream.body) == 60_000 - len(rest)
        assert not stream.ended
    peer.say(rest)
    assert stream.ended
    assert stream.body == numbered(60_000)


@pytest.mark.parametrize("there", range(1, 12))
def test_cut_within_its_head(there: int) -> None:
    for frame in (data(1, numbered(60_000), end=True), padded(1, numbered(60_000), 7, end=True)):
        peer = Peer()
        stream = peer.open(1)
        rest = begun(peer, frame, there)
        peer.say(rest[:20_000])
        assert len(stream.body) >= 20_000 - 10
        peer.say(rest[20_000:])
        assert stream.ended
        assert stream.body == numbered(60_000)


def test_a_short_frame_is_handed_over_whole() -> None:
    peer = Peer()
    stream = peer.open(1)
    rest = begun(peer, data(1, bytes(8_000)), 5_000)
    assert not stream.body
    peer.say(rest)
    assert len(stream.body) == 8_000


def test_the_end_comes_with_the_last_of_the_padding() -> None:
    peer = Peer()
    stream = peer.open(1)
    rest = begun(peer, padded(1, numbered(LONG), 200, end=True), 9 + 1 + LONG + 50)
    assert stream.body == numbered(LONG)
    assert not stream.ended
    peer.say(rest[:100])
    assert not stream.ended
    assert [each.kind for each in peer.say(rest[100:] + bytes(Frame(PING, 0, 0, bytes(8))))] == [PING]
    assert stream.ended
    assert stream.body == numbered(LONG)


def test_a_stream_that_ends_within_a_frame_costs_the_connection_nothing() -> None:
    peer = Peer()
    stream = peer.open(1)
    rest = begun(peer, data(1, bytes(LONG)), 10_000)
    peer.connection.reset(stream, ErrorCode.CANCEL)
    there = len(stream.body)
    other = peer.request(3, end=True)
    assert [each.kind for each in peer.say(rest, other)] == [RST_STREAM]
    assert len(stream.body) == there
    assert peer.streams[3].ended


class _Leaver(Recorder):
    """Ends its stream at the first word."""

    __slots__ = ()

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        super().on_data(data, start, stop, ended)
        self.connection.reset(self, ErrorCode.CANCEL)


def test_a_stream_may_end_itself_at_the_first_part_of_a_frame() -> None:
    peer = Peer(kind=_Leaver)
    peer.say(peer.request(1))
    rest = begun(peer, data(1, bytes(LONG)), 10_000)
    assert peer.say(rest, Frame(PING, 0, 0, bytes(8)))[-1].kind == PING
    assert len(peer.streams[1].body) == 10_000 - 9


@pytest.mark.parametrize("there", [10_000, LONG])
def test_a_long_frame_counts_as_one_from_its_beginning(there: int) -> None:
    peer = Peer()
    stream = peer.open(1)
    before = stream.receive_window
    begun(peer, data(1, bytes(LONG)), there)
    assert stream.receive_window == before - LONG
    assert peer.connection.inflow.data_frames == 1


def test_a_frame_beyond_the_window_or_the_length_is_refused_at_its_beginning() -> None:
    peer = Peer()
    stream = peer.open(1)
    stream.receive_window = LONG - 1
    begun(peer, data(1, bytes(LONG)), 10_000)
    assert stream.resets == [ErrorCode.FLOW_CONTROL_ERROR]
    assert not stream.body
    peer = Peer()
    peer.open(1)
    said = bytes(data(1, bytes(peer.limits.max_frame_bytes + 1)))
    (goaway,) = peer.say(said[:10_000])
    assert (goaway.kind, goaway.code) == (GOAWAY, ErrorCode.FRAME_SIZE_ERROR)


def test_windows_are_opened_while_long_frames_come_in_parts() -> None:
    peer = Peer()
    peer.open(1)
    granted = {0: 0, 1: 0}
    for _ in range(40):
        said = bytes(data(1, bytes(60_000)))
        for start in range(0, len(said), 16_384):
            for each in peer.say(said[start : start + 16_384]):
                assert each.kind == WINDOW_UPDATE
                granted[each.stream] += each.number
    assert granted[1] >= 40 * 60_000 - peer.limits.initial_window
    assert granted[0] >= 40 * 60_000 - peer.limits.connection_window
