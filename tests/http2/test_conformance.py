"""Every case of RFC 9113 that a server can be tried with, by section number.

Each row: what a client sends after its preface and SETTINGS, and how the connection must take it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from runner.http2 import frames
from runner.http2.errors import ErrorCode
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
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from runner.http2.limits import Limits
from tests.http2.peer import REQUEST, Frame, Peer, data, settings, word

PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR
FLOW_CONTROL_ERROR = ErrorCode.FLOW_CONTROL_ERROR
STREAM_CLOSED = ErrorCode.STREAM_CLOSED
FRAME_SIZE_ERROR = ErrorCode.FRAME_SIZE_ERROR
REFUSED_STREAM = ErrorCode.REFUSED_STREAM
COMPRESSION_ERROR = ErrorCode.COMPRESSION_ERROR
NO_ERROR = ErrorCode.NO_ERROR

Script = Callable[[Peer], Sequence[bytes | Frame]]


def with_fields(*more: tuple[bytes, bytes], without: bytes = b"") -> list[tuple[bytes, bytes]]:
    return [pair for pair in REQUEST if pair[0] != without] + list(more)


def block(*fields: tuple[bytes, bytes]) -> Callable[[Peer], Sequence[Frame]]:
    """A request with these fields, complete."""
    return lambda peer: [peer.request(1, fields, end=True)]


def closed_by_peer(*then: Frame) -> Script:
    return lambda peer: [peer.request(1), Frame(RST_STREAM, 0, 1, word(8)), *then]


def half_closed(*then: Frame) -> Script:
    return lambda peer: [peer.request(1, end=True), *then]


def opened(*then: Frame) -> Script:
    return lambda peer: [peer.request(1), *then]


def padded(stream: int, padding: int, payload: bytes, flags: int = 0, kind: int = DATA) -> Frame:
    return Frame(kind, PADDED | flags, stream, bytes((padding,)) + payload)


CONNECTION_ERRORS: list[tuple[str, str, ErrorCode, Script]] = [
    ("4.2", "DATA longer than MAX_FRAME_SIZE", FRAME_SIZE_ERROR, opened(data(1, bytes(262_145)))),
    ("4.2", "HEADERS longer than we take", FRAME_SIZE_ERROR, lambda _: [Frame(HEADERS, 4, 1, bytes(65_537))]),
    ("4.2", "an unknown frame longer than that", FRAME_SIZE_ERROR, lambda _: [Frame(77, 0, 0, bytes(65_537))]),
    ("4.3", "a block that is no HPACK", COMPRESSION_ERROR, lambda _: [Frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff")]),
    ("4.3", "a block that ends inside a field", COMPRESSION_ERROR, lambda _: [Frame(HEADERS, 5, 1, b"\x40\x05ab")]),
    (
        "4.3",
        "another frame of the stream inside a block",
        PROTOCOL_ERROR,
        lambda _: [Frame(HEADERS, 0, 1, b"\x83"), data(1, b"x")],
    ),
    (
        "4.3",
        "a frame of another stream inside a block",
        PROTOCOL_ERROR,
        lambda _: [Frame(HEADERS, 0, 1, b"\x83"), Frame(PRIORITY, 0, 3, bytes(5))],
    ),
    ("4.3", "an unknown frame inside a block", PROTOCOL_ERROR, lambda _: [Frame(HEADERS, 0, 1, b"\x83"), Frame(99)]),
    (
        "4.3",
        "HEADERS of another stream inside a block",
        PROTOCOL_ERROR,
        lambda peer: [Frame(HEADERS, 0, 1, b"\x83"), peer.request(3)],
    ),
    ("5.1", "DATA on an idle stream", PROTOCOL_ERROR, lambda _: [data(1, b"x")]),
    ("5.1", "RST_STREAM on an idle stream", PROTOCOL_ERROR, lambda _: [Frame(RST_STREAM, 0, 1, word(8))]),
    ("5.1", "WINDOW_UPDATE on an idle stream", PROTOCOL_ERROR, lambda _: [Frame(WINDOW_UPDATE, 0, 1, word(1))]),
    ("5.1", "CONTINUATION on an idle stream", PROTOCOL_ERROR, lambda _: [Frame(CONTINUATION, 4, 1, b"\x83")]),
    ("5.1", "CONTINUATION behind a whole block", PROTOCOL_ERROR, opened(Frame(CONTINUATION, 4, 1, b"\x83"))),
    ("5.1", "CONTINUATION on a half-closed stream", PROTOCOL_ERROR, half_closed(Frame(CONTINUATION, 4, 1, b"\x83"))),
    ("5.1", "DATA after RST_STREAM", STREAM_CLOSED, closed_by_peer(data(1, b"x"))),
    (
        "5.1",
        "HEADERS after RST_STREAM",
        STREAM_CLOSED,
        lambda peer: [peer.request(1), Frame(RST_STREAM, 0, 1, word(8)), peer.request(1, end=True)],
    ),
    ("5.1", "CONTINUATION after RST_STREAM", PROTOCOL_ERROR, closed_by_peer(Frame(CONTINUATION, 4, 1, b"\x83"))),
    ("5.1.1", "an even stream", PROTOCOL_ERROR, lambda peer: [peer.request(2)]),
    ("5.1.1", "stream 0", PROTOCOL_ERROR, lambda peer: [peer.request(0)]),
    ("5.1.1", "a lower number than before", STREAM_CLOSED, lambda peer: [peer.request(5), peer.request(3)]),
    ("6.1", "DATA on stream 0", PROTOCOL_ERROR, lambda _: [data(0, b"x")]),
    ("6.1", "DATA with more padding than payload", PROTOCOL_ERROR, opened(padded(1, 5, b"abcd"))),
    ("6.1", "DATA padded, without a pad length", FRAME_SIZE_ERROR, opened(Frame(DATA, PADDED, 1))),
    ("6.2", "HEADERS with more padding than payload", PROTOCOL_ERROR, lambda _: [padded(1, 9, b"ab", 4, HEADERS)]),
    ("6.2", "HEADERS padded, without a pad length", FRAME_SIZE_ERROR, lambda _: [Frame(HEADERS, PADDED | 4, 1)]),
    ("6.2", "HEADERS too short for its priority", FRAME_SIZE_ERROR, lambda _: [Frame(HEADERS, 0x24, 1, b"abc")]),
    ("6.3", "PRIORITY on stream 0", PROTOCOL_ERROR, lambda _: [Frame(PRIORITY, 0, 0, bytes(5))]),
    ("6.4", "RST_STREAM on stream 0", PROTOCOL_ERROR, lambda _: [Frame(RST_STREAM, 0, 0, word(8))]),
    ("6.4", "RST_STREAM of three bytes", FRAME_SIZE_ERROR, opened(Frame(RST_STREAM, 0, 1, bytes(3)))),
    ("6.5", "SETTINGS on a stream", PROTOCOL_ERROR, lambda _: [Frame(SETTINGS, 0, 1)]),
    ("6.5", "SETTINGS of five bytes", FRAME_SIZE_ERROR, lambda _: [Frame(SETTINGS, 0, 0, bytes(5))]),
    ("6.5", "an ACK with settings", FRAME_SIZE_ERROR, lambda _: [Frame(SETTINGS, ACK, 0, bytes(6))]),
    ("6.5.2", "ENABLE_PUSH 2", PROTOCOL_ERROR, lambda _: [settings((2, 2))]),
    ("6.5.2", "INITIAL_WINDOW_SIZE over 2^31 - 1", FLOW_CONTROL_ERROR, lambda _: [settings((4, 2**31))]),
    ("6.5.2", "MAX_FRAME_SIZE below 2^14", PROTOCOL_ERROR, lambda _: [settings((5, 16_383))]),
    ("6.5.2", "MAX_FRAME_SIZE over 2^24 - 1", PROTOCOL_ERROR, lambda _: [settings((5, 2**24))]),
    ("6.7", "PING on a stream", PROTOCOL_ERROR, lambda _: [Frame(PING, 0, 1, bytes(8))]),
    ("6.7", "PING of six bytes", FRAME_SIZE_ERROR, lambda _: [Frame(PING, 0, 0, bytes(6))]),
    ("6.8", "GOAWAY on a stream", PROTOCOL_ERROR, lambda _: [Frame(GOAWAY, 0, 1, bytes(8))]),
    ("6.8", "GOAWAY of seven bytes", FRAME_SIZE_ERROR, lambda _: [Frame(GOAWAY, 0, 0, bytes(7))]),
    ("6.9", "WINDOW_UPDATE by 0", PROTOCOL_ERROR, lambda _: [Frame(WINDOW_UPDATE, 0, 0, word(0))]),
    ("6.9", "WINDOW_UPDATE of three bytes", FRAME_SIZE_ERROR, lambda _: [Frame(WINDOW_UPDATE, 0, 0, bytes(3))]),
    ("6.9.1", "a window over 2^31 - 1", FLOW_CONTROL_ERROR, lambda _: [Frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1))]),
    (
        "6.9.2",
        "a stream's window over 2^31 - 1 by SETTINGS",
        FLOW_CONTROL_ERROR,
        opened(Frame(WINDOW_UPDATE, 0, 1, word(2**31 - 70_000)), settings((4, 80_000))),
    ),
    ("6.10", "CONTINUATION on stream 0", PROTOCOL_ERROR, lambda _: [Frame(CONTINUATION, 4, 0, b"\x83")]),
    (
        "6.10",
        "CONTINUATION of another stream",
        PROTOCOL_ERROR,
        lambda _: [Frame(HEADERS, 0, 1, b"\x83"), Frame(CONTINUATION, 4, 3, b"\x83")],
    ),
    ("6.10", "CONTINUATION behind DATA", PROTOCOL_ERROR, opened(data(1, b"x"), Frame(CONTINUATION, 4, 1, b"\x83"))),
    (
        "6.10",
        "CONTINUATION behind the last one",
        PROTOCOL_ERROR,
        lambda peer: [*fragments(peer.encoder.encode(REQUEST)), Frame(CONTINUATION, 4, 1, b"\x83")],
    ),
    ("8.4", "PUSH_PROMISE from a client", PROTOCOL_ERROR, lambda _: [Frame(PUSH_PROMISE, 4, 1, word(2) + b"\x83")]),
]

STREAM_ERRORS: list[tuple[str, str, ErrorCode, Script]] = [
    ("5.1", "DATA on a half-closed stream", STREAM_CLOSED, half_closed(data(1, b"x"))),
    (
        "5.1",
        "HEADERS on a half-closed stream",
        STREAM_CLOSED,
        lambda peer: [peer.request(1, end=True), peer.request(1, end=True)],
    ),
    ("6.3", "PRIORITY of four bytes", FRAME_SIZE_ERROR, opened(Frame(PRIORITY, 0, 1, bytes(4)))),
    ("6.9", "WINDOW_UPDATE by 0 on a stream", PROTOCOL_ERROR, opened(Frame(WINDOW_UPDATE, 0, 1, word(0)))),
    (
        "6.9.1",
        "a stream's window over 2^31 - 1",
        FLOW_CONTROL_ERROR,
        opened(Frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1))),
    ),
    ("8.1", "a second section that does not end the stream", PROTOCOL_ERROR, lambda p: [p.request(1), p.request(1)]),
    (
        "8.1",
        "trailers with a pseudo-header field",
        PROTOCOL_ERROR,
        lambda peer: [peer.request(1), peer.request(1, [(b":path", b"/")], end=True)],
    ),
    (
        "8.1",
        "trailers with upper case in a name",
        PROTOCOL_ERROR,
        lambda peer: [peer.request(1), peer.request(1, [(b"X-Test", b"ok")], end=True)],
    ),
    (
        "8.1.1",
        "content-length with a longer body",
        PROTOCOL_ERROR,
        lambda p: [p.request(1, with_fields((b"content-length", b"1"))), data(1, b"ab", end=True)],
    ),
    (
        "8.1.1",
        "content-length with a shorter body",
        PROTOCOL_ERROR,
        lambda p: [p.request(1, with_fields((b"content-length", b"3"))), data(1, b"a"), data(1, b"b", end=True)],
    ),
    ("8.1.1", "content-length with no body", PROTOCOL_ERROR, block(*with_fields((b"content-length", b"3")))),
    (
        "8.1.1",
        "content-length with trailers too soon",
        PROTOCOL_ERROR,
        lambda p: [
            p.request(1, with_fields((b"content-length", b"3"))),
            data(1, b"a"),
            p.request(1, [(b"x", b"y")], end=True),
        ],
    ),
    (
        "8.1.1",
        "two content-lengths",
        PROTOCOL_ERROR,
        block(*with_fields((b"content-length", b"0"), (b"content-length", b"1"))),
    ),
    ("8.1.1", "a content-length that is no number", PROTOCOL_ERROR, block(*with_fields((b"content-length", b"-1")))),
    ("8.2.1", "upper case in a name", PROTOCOL_ERROR, block(*with_fields((b"X-Test", b"ok")))),
    ("8.2.1", "a space in a name", PROTOCOL_ERROR, block(*with_fields((b"x test", b"ok")))),
    ("8.2.1", "an empty name", PROTOCOL_ERROR, block(*with_fields((b"", b"ok")))),
    ("8.2.1", "a colon in a name", PROTOCOL_ERROR, block(*with_fields((b"x:y", b"ok")))),
    ("8.2.1", "a NUL in a name", PROTOCOL_ERROR, block(*with_fields((b"x\0", b"ok")))),
    ("8.2.1", "DEL in a name", PROTOCOL_ERROR, block(*with_fields((b"x\x7f", b"ok")))),
    ("8.2.1", "a name beyond ASCII", PROTOCOL_ERROR, block(*with_fields((b"x\xff", b"ok")))),
    ("8.2.1", "a line feed in a value", PROTOCOL_ERROR, block(*with_fields((b"x", b"a\nb")))),
    ("8.2.1", "a carriage return in a value", PROTOCOL_ERROR, block(*with_fields((b"x", b"a\rb")))),
    ("8.2.1", "a NUL in a value", PROTOCOL_ERROR, block(*with_fields((b"x", b"a\0b")))),
    ("8.2.1", "a space before a value", PROTOCOL_ERROR, block(*with_fields((b"x", b" a")))),
    ("8.2.1", "a tab behind a value", PROTOCOL_ERROR, block(*with_fields((b"x", b"a\t")))),
    ("8.2.2", "connection", PROTOCOL_ERROR, block(*with_fields((b"connection", b"keep-alive")))),
    ("8.2.2", "keep-alive", PROTOCOL_ERROR, block(*with_fields((b"keep-alive", b"1")))),
    ("8.2.2", "proxy-connection", PROTOCOL_ERROR, block(*with_fields((b"proxy-connection", b"close")))),
    ("8.2.2", "transfer-encoding", PROTOCOL_ERROR, block(*with_fields((b"transfer-encoding", b"chunked")))),
    ("8.2.2", "upgrade", PROTOCOL_ERROR, block(*with_fields((b"upgrade", b"h2c")))),
    ("8.2.2", "te that says more than trailers", PROTOCOL_ERROR, block(*with_fields((b"te", b"trailers, deflate")))),
    ("8.3", "an unknown pseudo-header field", PROTOCOL_ERROR, block((b":test", b"x"), *REQUEST)),
    ("8.3", "a response's pseudo-header field", PROTOCOL_ERROR, block((b":status", b"200"), *REQUEST)),
    ("8.3", "a pseudo-header field behind another", PROTOCOL_ERROR, block(*REQUEST[:3], (b"x", b"y"), REQUEST[3])),
    ("8.3.1", "no :method", PROTOCOL_ERROR, block(*with_fields(without=b":method"))),
    ("8.3.1", "no :scheme", PROTOCOL_ERROR, block(*with_fields(without=b":scheme"))),
    ("8.3.1", "no :path", PROTOCOL_ERROR, block(*with_fields(without=b":path"))),
    ("8.3.1", "an empty :path", PROTOCOL_ERROR, block((b":path", b""), *with_fields(without=b":path"))),
    ("8.3.1", "two :method", PROTOCOL_ERROR, block((b":method", b"GET"), *REQUEST)),
    ("8.3.1", "two :scheme", PROTOCOL_ERROR, block((b":scheme", b"http"), *REQUEST)),
    ("8.3.1", "two :path", PROTOCOL_ERROR, block((b":path", b"/"), *REQUEST)),
    ("8.3.1", "two :authority", PROTOCOL_ERROR, block((b":authority", b"x"), *REQUEST)),
    ("8.3.1", "a line feed in :path", PROTOCOL_ERROR, block((b":path", b"/\n"), *with_fields(without=b":path"))),
    ("8.5", "CONNECT with :path", PROTOCOL_ERROR, block((b":method", b"CONNECT"), *with_fields(without=b":method"))),
    ("8.5", "CONNECT without :authority", PROTOCOL_ERROR, block((b":method", b"CONNECT"))),
]

ACCEPTED: list[tuple[str, str, Script]] = [
    ("4.1", "a frame of an unknown type", lambda _: [Frame(0x16, 0xFF, 5, b"anything")]),
    ("4.1", "flags that mean nothing", lambda _: [Frame(PING, 0xFE, 0, bytes(8))]),
    ("4.1", "a reserved bit", lambda peer: [Frame(HEADERS, 5, 1 | 1 << 31, peer.encoder.encode(REQUEST))]),
    ("4.2", "DATA of MAX_FRAME_SIZE", opened(data(1, bytes(262_144)))),
    ("4.3", "a block in three frames", lambda peer: [*fragments(peer.encoder.encode(REQUEST))]),
    ("5.1", "PRIORITY on an idle stream", lambda _: [Frame(PRIORITY, 0, 1, bytes(5))]),
    ("5.1", "WINDOW_UPDATE on a half-closed stream", half_closed(Frame(WINDOW_UPDATE, 0, 1, word(9)))),
    ("5.1", "PRIORITY on a half-closed stream", half_closed(Frame(PRIORITY, 0, 1, bytes(5)))),
    ("5.1", "PRIORITY on a closed stream", closed_by_peer(Frame(PRIORITY, 0, 1, bytes(5)))),
    ("5.1", "WINDOW_UPDATE on a closed stream", closed_by_peer(Frame(WINDOW_UPDATE, 0, 1, word(9)))),
    ("5.1", "RST_STREAM on a closed stream", closed_by_peer(Frame(RST_STREAM, 0, 1, word(8)))),
    ("5.1.1", "the highest number", lambda peer: [peer.request(2**31 - 1)]),
    ("5.1.1", "numbers that were left out", lambda peer: [peer.request(7), peer.request(101)]),
    # 5.3 has retired priorities, with the error for a stream that depends on itself: nothing is made of any of them.
    ("5.3.2", "PRIORITY of any kind", lambda _: [Frame(PRIORITY, 0, 1, word(1 << 31 | 3) + b"\xff")]),
    ("5.3.2", "PRIORITY on itself", opened(Frame(PRIORITY, 0, 1, word(1) + b"\0"))),
    ("5.3.2", "PRIORITY on a later stream", lambda peer: [Frame(PRIORITY, 0, 9, bytes(5)), peer.request(1)]),
    (
        "5.3.2",
        "HEADERS with a priority on itself",
        lambda peer: [Frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, word(1) + b"\xff" + peer.encoder.encode(REQUEST))],
    ),
    ("6.1", "DATA with padding", opened(padded(1, 3, b"abc\0\0\0"))),
    ("6.1", "DATA of padding only", opened(padded(1, 3, b"\0\0\0"))),
    (
        "6.2",
        "HEADERS with padding and a priority",
        lambda peer: [
            padded(1, 2, bytes(5) + peer.encoder.encode(REQUEST) + b"\0\0", END_HEADERS | WITH_PRIORITY, HEADERS)
        ],
    ),
    (
        "6.2",
        "HEADERS with padding, and the rest of the block in CONTINUATION",
        lambda peer: [
            padded(1, 3, b"\0\0\0", END_STREAM, HEADERS),
            Frame(CONTINUATION, END_HEADERS, 1, peer.encoder.encode(REQUEST)),
        ],
    ),
    ("6.5", "SETTINGS that say nothing", lambda _: [Frame(SETTINGS)]),
    ("6.5.2", "the widest window", lambda _: [settings((4, 2**31 - 1))]),
    ("6.5.2", "the shortest and the longest frame", lambda _: [settings((5, 2**14), (5, 2**24 - 1))]),
    ("6.5.2", "no table, and no streams of ours", lambda _: [settings((1, 0), (3, 0))]),
    ("6.9", "WINDOW_UPDATE with a reserved bit", lambda _: [Frame(WINDOW_UPDATE, 0, 0, word(1 << 31 | 5))]),
    ("6.9.1", "a window of 2^31 - 1", lambda _: [Frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1 - 65_535))]),
    ("6.5.2", "an unknown setting", lambda _: [settings((0xFF, 1))]),
    ("6.5.2", "ENABLE_PUSH 0", lambda _: [settings((2, 0))]),
    ("6.8", "GOAWAY with an unknown code", opened(Frame(GOAWAY, 0, 0, word(0) + word(0xFF)))),
    ("7", "RST_STREAM with an unknown code", opened(Frame(RST_STREAM, 0, 1, word(0xFF)))),
    ("8.1", "trailers", lambda peer: [peer.request(1), data(1, b"x"), peer.request(1, [(b"x", b"y")], end=True)]),
    (
        "8.1.1",
        "content-length that is right",
        lambda p: [p.request(1, with_fields((b"content-length", b"3"))), data(1, b"ab"), data(1, b"c", end=True)],
    ),
    ("8.2.1", "an empty value", block(*with_fields((b"x", b""), (b"y", b"")))),
    ("8.2.1", "a value beyond ASCII", block(*with_fields((b"x", b"\xff\x80")))),
    ("8.2.2", "te: trailers", block(*with_fields((b"te", b"trailers")))),
    ("8.2.3", "cookies in several fields", block(*with_fields((b"cookie", b"a=1"), (b"cookie", b"b=2")))),
    ("8.3.1", "host in place of :authority", block(*with_fields((b"host", b"x"), without=b":authority"))),
    ("8.5", "CONNECT", block((b":method", b"CONNECT"), (b":authority", b"x:1"))),
]


def fragments(whole: bytes) -> list[Frame]:
    return [
        Frame(HEADERS, END_STREAM, 1, whole[:1]),
        Frame(CONTINUATION, 0, 1, whole[1:4]),
        Frame(CONTINUATION, END_HEADERS, 1, whole[4:]),
    ]


def name(case: tuple[object, ...]) -> str:
    return f"{case[0]} {case[1]}"


@pytest.mark.parametrize("case", CONNECTION_ERRORS, ids=name)
def test_connection_error(case: tuple[str, str, ErrorCode, Script]) -> None:
    _, _, code, script = case
    peer = Peer()
    answers = peer.say(*script(peer))
    assert answers[-1].kind == GOAWAY
    assert answers[-1].code == code
    assert answers[-1].number == max(peer.streams, default=0)
    assert peer.connection.finished
    # Whatever was open is over, and nothing is looked at any more.
    assert all(stream.resets for stream in peer.streams.values())
    assert peer.say(peer.request(99), Frame(PING, 0, 0, bytes(8))) == []


@pytest.mark.parametrize("case", STREAM_ERRORS, ids=name)
def test_stream_error(case: tuple[str, str, ErrorCode, Script]) -> None:
    _, _, code, script = case
    peer = Peer()
    answers = peer.say(*script(peer))
    assert [(each.kind, each.stream, each.code) for each in answers] == [(RST_STREAM, 1, code)]
    if 1 in peer.streams:
        assert peer.streams[1].resets == [code]
    # All else goes on, and what was under way on the stream is dropped.
    assert peer.say(data(1, b"late"), Frame(WINDOW_UPDATE, 0, 1, word(5))) == []
    assert peer.open(3, end=True).ended


@pytest.mark.parametrize("case", ACCEPTED, ids=name)
def test_accepted(case: tuple[str, str, Script]) -> None:
    peer = Peer()
    answers = peer.say(*case[2](peer))
    assert not [each for each in answers if each.kind in (GOAWAY, RST_STREAM) and each.code != NO_ERROR]
    assert peer.connection.failure is None


@pytest.mark.parametrize("size", [1, 2, 9, 100])
def test_4_1_frames_in_pieces(size: int) -> None:
    peer = Peer(greeting=())
    whole = b"".join(
        bytes(each)
        for each in (
            PREFACE,
            Frame(SETTINGS),
            peer.request(1),
            data(1, b"hello"),
            padded(1, 2, b"world\0\0", END_STREAM),
        )
    )
    for start in range(0, len(whole), size):
        peer.connection.receive(whole[start : start + size], 0.0)
    assert peer.streams[1].body == b"helloworld"
    assert peer.streams[1].ended


# 3.4


def test_3_4_our_preface() -> None:
    peer = Peer(greeting=())
    first, second = peer.heard()
    assert (first.kind, first.flags, first.stream) == (SETTINGS, 0, 0)
    values = dict(frames.read_settings(first.payload))
    limits = peer.limits
    assert values == {
        1: limits.header_table_bytes,
        3: limits.max_concurrent_streams,
        4: limits.initial_window,
        5: limits.max_frame_bytes,
        6: limits.max_header_list_bytes,
    }
    assert (second.kind, second.stream) == (WINDOW_UPDATE, 0)
    assert second.number == limits.connection_window - 65_535


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", bytes(24), b"\x16\x03\x01"])
def test_3_4_a_wrong_preface(nonsense: bytes) -> None:
    peer = Peer(greeting=())
    answers = peer.say(nonsense)
    assert answers[-1].kind == GOAWAY
    assert answers[-1].code == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "frame", [Frame(PING, 0, 0, bytes(8)), Frame(SETTINGS, ACK), Frame(WINDOW_UPDATE, 0, 0, word(1))]
)
def test_3_4_another_frame_than_settings(frame: Frame) -> None:
    peer = Peer(greeting=(frame,))
    assert peer.greeted[-1].kind == GOAWAY
    assert peer.greeted[-1].code == PROTOCOL_ERROR


# 5.1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (data(1, b"x"), STREAM_CLOSED),
        (data(1, end=True), STREAM_CLOSED),
        (Frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x83"), STREAM_CLOSED),
        (Frame(CONTINUATION, END_HEADERS, 1, b"\x83"), PROTOCOL_ERROR),
        (Frame(PRIORITY, 0, 1, bytes(5)), None),
        (Frame(WINDOW_UPDATE, 0, 1, word(9)), None),
        (Frame(RST_STREAM, 0, 1, word(8)), None),
    ],
)
def test_5_1_a_stream_that_both_have_ended(frame: Frame, code: ErrorCode | None) -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    peer.connection.sender.headers(stream, [(b":status", b"200")], end_stream=True)
    peer.heard()
    answers = peer.say(frame)
    assert [(each.kind, each.code) for each in answers] == ([] if code is None else [(GOAWAY, code)])
    assert stream.resets == []


def test_5_3_2_a_priority_opens_and_closes_no_stream() -> None:
    peer = Peer()
    assert peer.say(Frame(PRIORITY, 0, 101, word(7) + b"\x0f")) == []
    assert peer.connection.active == 0
    assert peer.open(1, end=True).ended  # a lower number than that, which was idle still


# 5.1.2


def test_5_1_2_more_streams_than_announced() -> None:
    peer = Peer(limits=Limits(max_concurrent_streams=2))
    peer.open(1)
    peer.open(3)
    (refused,) = peer.say(peer.request(5))
    assert (refused.kind, refused.stream, refused.code) == (RST_STREAM, 5, REFUSED_STREAM)
    assert 5 not in peer.streams
    peer.connection.sender.headers(peer.streams[1], [(b":status", b"200")], end_stream=True)
    peer.heard()
    peer.open(7)


def test_5_1_2_the_table_follows_a_refused_block() -> None:
    peer = Peer(limits=Limits(max_concurrent_streams=1))
    peer.open(1)
    fields = [*REQUEST, (b"x-new", b"value")]
    peer.say(peer.request(3, fields), peer.request(5, fields), peer.request(7, fields))
    peer.connection.sender.headers(peer.streams[1], [(b":status", b"200")], end_stream=True)
    peer.heard()
    peer.say(peer.request(9, fields, end=True))
    head = peer.streams[9].head
    assert head is not None
    assert list(head.fields) == [(b"x-new", b"value")]


# 5.2 and 6.9


def test_6_9_1_data_beyond_a_streams_window() -> None:
    peer = Peer(keeps=True)
    window = peer.limits.initial_window
    peer.open(1)
    answers: list[Frame] = []
    for _ in range(window // 65_536):
        answers += peer.say(data(1, bytes(65_536)))
    assert answers == []
    (error,) = peer.say(data(1, b"x"))
    assert (error.kind, error.stream, error.code) == (RST_STREAM, 1, FLOW_CONTROL_ERROR)


def test_6_9_1_data_beyond_the_connections_window() -> None:
    peer = Peer(limits=Limits(connection_window=262_144, initial_window=262_144, max_unread_bytes=0), keeps=True)
    peer.open(1)
    peer.open(3)
    for stream in (1, 3):
        assert peer.say(data(stream, bytes(65_536)), data(stream, bytes(65_536))) == []
    answers = peer.say(data(1, b"x"))
    assert (answers[-1].kind, answers[-1].code) == (GOAWAY, FLOW_CONTROL_ERROR)


def test_6_9_padding_counts() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.say(padded(1, 255, b"a" + bytes(255)))
    assert stream.body == b"a"
    assert stream.receive_window == peer.limits.initial_window - 257


def test_6_9_1_windows_are_given_back() -> None:
    peer = Peer()
    peer.open(1)
    increments = {0: 0, 1: 0}
    for _ in range(400):
        for each in peer.say(data(1, bytes(40_000))):
            assert each.kind == WINDOW_UPDATE
            increments[each.stream] += each.number
    sent = 400 * 40_000
    assert sent - peer.limits.initial_window // 2 <= increments[1] <= sent
    assert sent - peer.limits.connection_window // 2 <= increments[0] <= sent


def test_6_9_1_nothing_is_sent_beyond_the_peers_windows() -> None:
    peer = Peer(greeting=(settings((4, 10)),))
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    sender.headers(stream, [(b":status", b"200")])
    sender.data(stream, b"0123456789abcdef")
    sender.end(stream)
    head, first = peer.heard()
    assert (head.kind, first.payload, first.flags) == (HEADERS, b"0123456789", 0)
    (second,) = peer.say(Frame(WINDOW_UPDATE, 0, 1, word(1)))
    assert second.payload == b"a"
    *_, third, last = peer.say(Frame(WINDOW_UPDATE, 0, 1, word(100)))
    assert (third.payload, last.flags) == (b"bcdef", END_STREAM)
    assert peer.connection.active == 0


def test_6_9_2_settings_change_open_windows() -> None:
    peer = Peer(greeting=(settings((4, 5)),))
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    sender.data(stream, b"0123456789abcdef")
    assert [each.payload for each in peer.heard()] == [b"01234"]
    peer.say(settings((4, 2)))
    assert stream.send_window == -3
    # Less than nothing: what is added first fills the hole.
    assert not [each for each in peer.say(Frame(WINDOW_UPDATE, 0, 1, word(3))) if each.kind == DATA]
    assert [each.payload for each in peer.say(settings((4, 4))) if each.kind == DATA] == [b"56"]


def test_6_9_the_connections_window_stops_all() -> None:
    peer = Peer(greeting=(settings((4, 1 << 20)),))
    one, two = peer.open(1, end=True), peer.open(3, end=True)
    sender = peer.connection.sender
    sender.data(one, bytes(65_000))
    sender.data(two, bytes(1000))
    assert sum(len(each.payload) for each in peer.heard()) == 65_535
    assert sum(len(each.payload) for each in peer.say(Frame(WINDOW_UPDATE, 0, 0, word(400)))) == 400


# 6.5.3, 6.7, 6.8


def test_6_5_3_settings_are_acknowledged_in_order() -> None:
    peer = Peer()
    assert peer.greeted[-1] == Frame(SETTINGS, ACK)
    assert peer.say(settings((3, 1)), settings((4, 70_000), (4, 90_000))) == [Frame(SETTINGS, ACK)] * 2
    assert peer.connection.sender.initial_window == 90_000
    assert peer.say(Frame(SETTINGS, ACK)) == []


def test_6_5_2_the_peers_largest_frame() -> None:
    peer = Peer(greeting=(settings((4, 1 << 20), (5, 20_000)), Frame(WINDOW_UPDATE, 0, 0, word(1 << 20))))
    stream = peer.open(1, end=True)
    peer.connection.sender.data(stream, bytes(50_000))
    assert [len(each.payload) for each in peer.heard()] == [20_000, 20_000, 10_000]


def test_4_3_our_long_blocks_continue() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    value = bytes(range(33, 127)) * 500
    peer.connection.sender.headers(stream, [(b":status", b"200"), (b"x", value)], end_stream=True)
    answers = peer.heard()
    assert [each.kind for each in answers] == [HEADERS, CONTINUATION, CONTINUATION]
    assert [each.flags for each in answers] == [END_STREAM, 0, END_HEADERS]
    peer.decoder = type(peer.decoder)(max_list_bytes=1 << 20)
    assert dict(peer.decoder.decode(b"".join(each.payload for each in answers)))[b"x"] == value


def test_6_7_ping() -> None:
    peer = Peer()
    assert peer.say(Frame(PING, 0, 0, b"abcdefgh")) == [Frame(PING, ACK, 0, b"abcdefgh")]
    assert peer.say(Frame(PING, ACK, 0, b"never it")) == []


def test_6_8_drain() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    peer.connection.drain()
    goaway, ping = peer.heard()
    assert (goaway.kind, goaway.number, goaway.code) == (GOAWAY, 2**31 - 1, NO_ERROR)
    # What was under way is still taken.
    late = peer.open(3, end=True)
    (final,) = peer.say(Frame(PING, ACK, 0, ping.payload))
    assert (final.kind, final.number, final.code) == (GOAWAY, 3, NO_ERROR)
    # What comes now is not answered: the client knows, and sends it elsewhere.
    assert peer.say(peer.request(5, end=True)) == []
    assert 5 not in peer.streams
    assert not peer.connection.finished
    for each in (stream, late):
        peer.connection.sender.headers(each, [(b":status", b"200")], end_stream=True)
    assert [each.stream for each in peer.heard()] == [1, 3]
    assert peer.connection.finished


def test_6_8_the_client_leaves() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    (goaway,) = peer.say(Frame(GOAWAY, 0, 0, word(0) + word(0)))
    assert (goaway.kind, goaway.number, goaway.code) == (GOAWAY, 1, NO_ERROR)
    # One that it opens all the same is not answered, as it was told. Once is enough.
    assert peer.say(peer.request(3, end=True), Frame(GOAWAY, 0, 0, word(0) + word(0))) == []
    assert list(peer.streams) == [1]
    assert not peer.connection.finished
    peer.connection.sender.headers(stream, [(b":status", b"200")], end_stream=True)
    peer.heard()
    assert peer.connection.finished


# 8.1


def test_8_1_an_answer_before_the_request_has_ended() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.connection.sender.headers(stream, [(b":status", b"200")], end_stream=True)
    head, reset = peer.heard()
    assert (head.kind, head.flags) == (HEADERS, END_STREAM | END_HEADERS)
    assert (reset.kind, reset.code) == (RST_STREAM, NO_ERROR)
    # The rest of the request was under way.
    assert peer.say(data(1, b"more"), data(1, b"and more", end=True)) == []
    assert stream.resets == []


def test_6_8_the_client_leaves_during_a_drain() -> None:
    peer = Peer()
    peer.open(1, end=True)
    peer.connection.drain()
    _, ping = peer.heard()
    (goaway,) = peer.say(Frame(GOAWAY, 0, 0, word(0) + word(0)))
    assert (goaway.kind, goaway.number) == (GOAWAY, 1)
    assert peer.say(Frame(PING, ACK, 0, ping.payload)) == []


def test_10_5_1_a_section_that_is_too_large_after_the_table_was_made_smaller() -> None:
    peer = Peer(limits=Limits(max_header_list_bytes=1000))
    peer.say(settings((1, 0)))
    peer.decoder.set_max_table_bytes(0)
    head, _ = peer.say(peer.request(1, [*REQUEST, (b"x", bytes(range(33, 127)) * 20)]))
    assert peer.fields(head) == [(b":status", b"431")]  # behind the new size, without which it could not be read


def test_10_5_1_a_section_that_is_too_large() -> None:
    peer = Peer(limits=Limits(max_header_list_bytes=1000))
    head, reset = peer.say(peer.request(1, [*REQUEST, (b"x", bytes(range(33, 127)) * 20)]))
    assert peer.fields(head) == [(b":status", b"431")]
    assert (reset.kind, reset.code) == (RST_STREAM, NO_ERROR)
    assert peer.open(3, end=True).ended
