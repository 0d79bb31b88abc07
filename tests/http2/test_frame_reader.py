"""Bytes in pieces of any size become frames, and no more is held of them than one that has begun."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.frame_reader import FrameReader
from runner.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    WITH_PRIORITY,
)
from runner.http2.limits import Limits
from runner.http2.stream import Received, Stream
from tests.http2.peer import Frame, Peer, data

LIMITS = Limits()


@dataclass
class Told:
    """Notes what a reader tells, and takes the DATA of stream 1 alone."""

    limits: Limits = LIMITS
    stream: Stream = field(init=False)
    words: list[tuple[object, ...]] = field(init=False, default_factory=list[tuple[object, ...]])
    body: bytes = field(init=False, default=b"")
    missing: int = field(init=False, default=0)
    reader: FrameReader = field(init=False)

    def __post_init__(self) -> None:
        self.stream = Stream(Peer().connection, 1)
        self.reader = FrameReader(self, self.on_other, self.limits)

    def on_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        self.words.append(("block", stream_id, block, ended))

    def on_data(
        self, stream_id: int, flags: int, size: int, content: int, data: Received, start: int, stop: int, missing: int
    ) -> Stream | None:
        self.words.append(("data", stream_id, flags, size, content))
        if stream_id != 1:
            return None
        self.on_more_data(self.stream, data, start, stop, missing)
        return self.stream

    def on_more_data(self, stream: Stream, data: Received, start: int, stop: int, missing: int) -> None:
        assert stream is self.stream
        self.body += data[start:stop]
        self.missing = missing

    def on_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.words.append((kind, flags, stream_id, payload))


def begun(limits: Limits = LIMITS) -> Told:
    """Return what a reader tells that has read how a client begins."""
    told = Told(limits)
    told.reader.receive(PREFACE + bytes(Frame(SETTINGS)))
    assert told.words.pop() == (SETTINGS, 0, 0, b"")
    return told


SCRIPT = (
    Frame(HEADERS, END_HEADERS, 1, b"a block"),
    Frame(DATA, PADDED, 1, b"\x03short\0\0\0"),
    Frame(HEADERS, PADDED | WITH_PRIORITY, 3, b"\x02" + bytes(5) + b"in \0\0"),
    Frame(CONTINUATION, 0, 3, b""),
    Frame(CONTINUATION, END_HEADERS, 3, b"parts"),
    Frame(DATA, END_STREAM, 1, bytes(20_000)),
    Frame(DATA, 0, 5, bytes(9_000)),
    Frame(PING, ACK, 0, bytes(8)),
    Frame(99, 7, 1 << 31 | 9, b"?"),
)


@given(st.lists(st.integers(1, 10_000), max_size=30))
def test_frames_are_the_same_however_they_come(sizes):
    told = Told()
    said = PREFACE + bytes(Frame(SETTINGS)) + b"".join(map(bytes, SCRIPT))
    for size in [*sizes, len(said)]:
        told.reader.receive(said[:size])
        said = said[size:]
    assert told.words == [
        (SETTINGS, 0, 0, b""),
        ("block", 1, b"a block", False),
        ("data", 1, PADDED, 9, 5),
        ("block", 3, b"in parts", False),
        ("data", 1, END_STREAM, 20_000, 20_000),
        ("data", 5, 0, 9_000, 9_000),
        (PING, ACK, 0, bytes(8)),
        (99, 7, 9, b"?"),
    ]
    assert told.body == b"short" + bytes(20_000)
    assert (told.missing, told.reader.missing, told.reader.held) == (0, 0, 0)


@pytest.mark.parametrize("kind", [DATA, HEADERS, CONTINUATION, SETTINGS, GOAWAY, 99])
def test_what_a_begun_frame_holds_is_bounded(kind: int) -> None:
    told = begun()
    held = LIMITS.max_other_frame_bytes
    frame = bytes(Frame(kind, 0, 1, bytes(4 * held if kind == DATA else held)))
    for start in range(0, len(frame) - 1000, 1000):
        told.reader.receive(frame[start : start + 1000])
        assert told.reader.held <= (0 if kind == DATA else held)
    with pytest.raises(ConnectionFailure) as caught:
        begun().reader.receive(bytes(Frame(kind, 0, 1, bytes(4 * held + 1 if kind == DATA else held + 1))))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize("there", range(1, 14))
def test_a_long_frame_of_data_is_held_until_its_beginning_is_known_and_no_longer(there: int) -> None:
    for frame, first in ((data(1, bytes(60_000)), 9), (Frame(DATA, PADDED, 1, b"\x07" + bytes(60_007)), 10)):
        told = begun()
        said = bytes(frame)
        told.reader.receive(said[:there])
        known = there >= first
        assert told.reader.held == (0 if known else there)
        assert told.missing == (len(said) - there if known else 0)
        told.reader.receive(said[there:20_000])
        assert told.reader.held == 0
        assert told.missing == told.reader.missing == len(said) - 20_000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(DATA, PADDED, 1), ErrorCode.FRAME_SIZE_ERROR),
        (Frame(DATA, PADDED, 1, b"\x05abc"), ErrorCode.PROTOCOL_ERROR),
        (Frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
        (Frame(HEADERS, END_HEADERS, 2), ErrorCode.PROTOCOL_ERROR),
        (Frame(CONTINUATION, END_HEADERS, 1), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_frames_that_are_none(frame: Frame, code: ErrorCode) -> None:
    with pytest.raises(ConnectionFailure) as caught:
        begun().reader.receive(bytes(frame))
    assert caught.value.code is code


def test_nothing_comes_between_the_parts_of_a_block() -> None:
    told = begun()
    told.reader.receive(bytes(Frame(HEADERS, 0, 1, b"a")))
    with pytest.raises(ConnectionFailure, match="inside a field block"):
        told.reader.receive(bytes(Frame(PRIORITY, 0, 3, bytes(5))))


@pytest.mark.parametrize("first", [Frame(PING, 0, 0, bytes(8)), Frame(SETTINGS, ACK)])
def test_a_client_begins_with_its_preface_and_settings(first: Frame) -> None:
    with pytest.raises(ConnectionFailure, match="not HTTP/2"):
        Told().reader.receive(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionFailure, match="not SETTINGS"):
        Told().reader.receive(PREFACE + bytes(first))


def test_one_that_was_stopped_tells_nothing_more() -> None:
    said: list[int] = []

    def stop(kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        said.append(kind)
        if kind == PING:
            reader.stop()

    reader = FrameReader(Told(), stop, LIMITS)
    ping = bytes(Frame(PING, 0, 0, bytes(8)))
    reader.receive(PREFACE + bytes(Frame(SETTINGS)) + ping + ping)
    reader.receive(ping)
    assert said == [SETTINGS, PING]
    assert not reader.held
