"""Peers that mean harm: each limit of `Limits` ends what passes it, and lets pass what an honest peer does."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from runner.http2.errors import ErrorCode
from runner.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from runner.http2.limits import Limits
from runner.http2.stream import Stream
from tests.http2.peer import REQUEST, Frame, Peer, data, settings, word

CALM = ErrorCode.ENHANCE_YOUR_CALM

SMALL = Limits(
    resets_burst=20,
    resets_per_second=10.0,
    idle_frames_burst=100,
    idle_frames_per_second=10.0,
    max_unsent_control_bytes=500,
)


def is_told_to_calm_down(frames: list[Frame]) -> bool:
    return bool(frames) and frames[-1].kind == GOAWAY and frames[-1].code == CALM


def reset_by_the_client(peer: Peer, stream: int) -> list[Frame]:
    return peer.say(peer.request(stream, end=True), Frame(RST_STREAM, 0, stream, word(8)))


def reset_by_us(peer: Peer, stream: int) -> list[Frame]:
    """Opens a stream and breaks it so that we reset it."""
    return peer.say(peer.request(stream, end=True), Frame(WINDOW_UPDATE, 0, stream, word(0)))


@pytest.mark.parametrize("reset", [reset_by_the_client, reset_by_us])
def test_rapid_reset(reset) -> None:
    peer = Peer(limits=SMALL)
    for each in range(20):
        assert not is_told_to_calm_down(reset(peer, 2 * each + 1))
    assert is_told_to_calm_down(reset(peer, 41))


def test_resets_now_and_then_are_fine() -> None:
    peer = Peer(limits=SMALL)
    for each in range(500):
        peer.now += 0.2
        assert not is_told_to_calm_down(reset_by_the_client(peer, 2 * each + 1))


def test_refused_streams_are_counted() -> None:
    peer = Peer(limits=replace(SMALL, max_concurrent_streams=1))
    peer.open(1)
    for each in range(1, 21):
        assert peer.say(peer.request(2 * each + 1))[-1].code == ErrorCode.REFUSED_STREAM
    assert is_told_to_calm_down(peer.say(peer.request(99)))


@pytest.mark.parametrize(
    "frame",
    [
        Frame(PING, 0, 0, bytes(8)),
        Frame(PING, ACK, 0, bytes(8)),
        Frame(SETTINGS),
        Frame(SETTINGS, ACK),
        settings((1, 0), (1, 4096)),
        Frame(PRIORITY, 0, 1, bytes(5)),
        Frame(WINDOW_UPDATE, 0, 0, word(1)),
        Frame(WINDOW_UPDATE, 0, 1, word(1)),
        Frame(0x77, 0, 0, b"?"),
        Frame(RST_STREAM, 0, 3, word(8)),
        data(1),
        Frame(DATA, PADDED, 1, b"\x03\0\0\0"),
        data(5, b"late"),
        Frame(GOAWAY, 0, 0, bytes(8)),
    ],
    ids=[
        "ping",
        "pong",
        "settings",
        "ack",
        "table",
        "priority",
        "window",
        "stream",
        "unknown",
        "reset",
        "empty",
        "padding",
        "late",
        "goaway",
    ],
)
def test_floods_of_frames_that_do_nothing(frame: Frame) -> None:
    peer = Peer(limits=SMALL)
    peer.open(1)
    peer.open(3)
    peer.open(5)
    peer.say(Frame(RST_STREAM, 0, 3, word(8)))
    peer.connection.reset(peer.streams[5], ErrorCode.CANCEL)
    peer.heard()
    for _ in range(80):
        assert not is_told_to_calm_down(peer.say(frame))
    assert any(is_told_to_calm_down(peer.say(frame)) for _ in range(60))


def test_of_initial_windows_in_one_frame_the_last_counts() -> None:
    # One after the other they would change the window of each stream, with hundreds of streams in seconds.
    peer = Peer()
    streams = [peer.open(number, end=True) for number in range(1, 200, 2)]
    changes = 0
    widen = peer.connection.sender.widen_stream

    def counted(stream: Stream, increment: int) -> bool:
        nonlocal changes
        changes += 1
        return widen(stream, increment)

    peer.connection.sender.widen_stream = counted  # type: ignore[method-assign]
    peer.say(settings(*[(4, size) for size in range(1, 5000)]))
    assert changes == len(streams)
    assert {stream.send_window for stream in streams} == {4999}
    peer.say(settings((4, 1), (4, 4999)))
    assert changes == len(streams)


def test_a_change_of_many_windows_counts_as_many_frames() -> None:
    peer = Peer(limits=SMALL)
    for number in range(1, 2 * 64 * 9, 2):
        peer.open(number, end=True)
    for each in range(9):
        assert not is_told_to_calm_down(peer.say(settings((4, each))))
    answers = [frame for each in range(40, 100) for frame in peer.say(settings((4, each)))]
    assert is_told_to_calm_down(answers)
    # With their streams they had earned a hundred, of which each took nine and itself.
    assert len(answers) <= 30


def test_frames_that_do_nothing_now_and_then_are_fine() -> None:
    """Official clients ping every ten seconds and more often, with no call under way."""
    peer = Peer(limits=SMALL)
    for _ in range(1000):
        peer.now += 0.2
        assert peer.say(Frame(PING, 0, 0, bytes(8))) == [Frame(PING, ACK, 0, bytes(8))]


def test_window_updates_that_come_with_work_are_fine() -> None:
    """A client that reads a stream grants windows and pings for each message, at any speed."""
    peer = Peer(limits=SMALL)
    stream = peer.open(1)
    for _ in range(1000):
        peer.connection.sender.data(stream, b"message")
        assert peer.heard()[0].kind == DATA
        answers = peer.say(
            Frame(WINDOW_UPDATE, 0, 0, word(7)), Frame(WINDOW_UPDATE, 0, 1, word(7)), Frame(PING, 0, 0, bytes(8))
        )
        assert [each.kind for each in answers] == [PING]


def test_answers_that_nobody_reads() -> None:
    peer = Peer(limits=SMALL)
    ping = bytes(Frame(PING, 0, 0, bytes(8)))
    for _ in range(500 // 17):
        peer.connection.receive(ping, peer.now)
    assert peer.connection.failure is None
    peer.connection.receive(ping, peer.now)
    assert peer.connection.failure is not None
    assert peer.connection.failure.code is CALM


def test_early_answers_that_nobody_reads() -> None:
    """Each ends with RST_STREAM. That it was one too many is no affair of whoever answered."""
    peer = Peer(limits=SMALL)
    streams = [peer.open(2 * number + 1) for number in range(60)]
    sender = peer.connection.sender
    for stream in streams[: 500 // 13]:
        sender.headers(stream, [(b":status", b"200")], end_stream=True)
    assert peer.connection.failure is None
    sender.headers(streams[500 // 13], [(b":status", b"200")], end_stream=True)
    assert peer.connection.failure is not None
    assert [stream.resets for stream in streams[-2:]] == [[CALM], [CALM]]
    assert is_told_to_calm_down(peer.heard())


def test_continuations_without_end() -> None:
    peer = Peer()
    peer.say(Frame(HEADERS, 0, 1, b"\x83"))
    for _ in range(peer.limits.max_continuations):
        assert peer.say(Frame(CONTINUATION, 0, 1)) == []
    assert is_told_to_calm_down(peer.say(Frame(CONTINUATION, 0, 1)))


def test_blocks_without_end() -> None:
    peer = Peer()
    peer.say(Frame(HEADERS, 0, 1, b"\x83"))
    assert peer.say(Frame(CONTINUATION, 0, 1, bytes(40_000))) == []
    assert is_told_to_calm_down(peer.say(Frame(CONTINUATION, 0, 1, bytes(40_000))))


def test_a_block_that_decodes_to_much() -> None:
    """One large field in the table, and then a byte for each of its repetitions."""
    peer = Peer()
    field = (b"x", b"y" * 4000)
    entry = b"\x40\x01x\x7f" + bytes((0x80 | (4000 - 127) & 0x7F, (4000 - 127) >> 7)) + field[1]
    block = peer.encoder.encode(REQUEST) + entry + b"\xbe" * 10_000
    head, _ = peer.say(Frame(HEADERS, END_HEADERS, 1, block))
    assert peer.fields(head) == [(b":status", b"431")]
    assert 1 not in peer.streams


def test_a_section_of_many_fields() -> None:
    peer = Peer(limits=Limits(max_header_fields=len(REQUEST) + 2))
    more = [(b"a", b"1")] * 3
    assert peer.fields(peer.say(peer.request(1, [*REQUEST, *more]))[0]) == [(b":status", b"431")]
    peer.say(peer.request(3, [*REQUEST, *more[1:]]))
    assert list(peer.streams) == [3]


def test_streams_that_nobody_reads_stop_the_connection() -> None:
    limits = Limits(initial_window=65_535, connection_window=131_070, max_unread_bytes=100_000)
    peer = Peer(limits=limits, keeps=True)
    streams = [peer.open(number) for number in (1, 3, 5, 7)]
    sent = 0
    for stream in streams:
        if peer.connection.inflow.window >= 60_000:
            peer.say(data(stream.id, bytes(60_000)))
            sent += 60_000
    assert sent <= limits.max_unread_bytes + limits.connection_window + limits.max_frame_bytes
    before = peer.connection.inflow.window
    assert before < 60_000
    # As soon as one is read, the window opens.
    for stream in streams:
        if stream.unread:
            peer.connection.inflow.consumed(stream, stream.unread)
    assert any(each.stream == 0 for each in peer.heard())
    assert peer.connection.inflow.window == limits.connection_window


def test_only_so_many_resets_are_remembered() -> None:
    peer = Peer(limits=Limits(resets_burst=10_000))
    for each in range(600):
        reset_by_us(peer, 2 * each + 1)
    # A late frame of a stream that was forgotten is not the end of the others.
    (answer,) = peer.say(data(1, b"late"))
    assert (answer.kind, answer.stream, answer.code) == (RST_STREAM, 1, ErrorCode.STREAM_CLOSED)
    assert peer.say(data(1199, b"late")) == []


def test_every_limit_is_documented() -> None:
    text = Limits.__doc__
    assert text is not None
    assert [each.name for each in fields(Limits) if each.name not in text] == []
