"""What leaves: order, windows, and turns."""

from __future__ import annotations

from runner.http2.frames import ACK, DATA, END_STREAM, HEADERS, PING, RST_STREAM, WINDOW_UPDATE
from runner.http2.sender import HIGH_WATER, LOW_WATER, TURN_BYTES, HeaderBlock
from tests.http2.peer import Frame, Peer, data, settings, split, word

HEAD = HeaderBlock([(b":status", b"200"), (b"content-type", b"application/grpc")], end_stream=False)
LAST = HeaderBlock([(b"grpc-status", b"0")], end_stream=True)
STATUS = [(b":status", b"200")]

WIDE = (settings((4, 2**30)), Frame(WINDOW_UPDATE, 0, 0, word(2**30)))


def test_a_whole_response_is_one_piece() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    peer.connection.sender.respond(stream, HEAD, b"message", LAST)
    out = peer.connection.sender.take()
    assert len(out) == 1
    head, body, last = split(bytes(out[0]))
    assert peer.fields(head) == [(b":status", b"200"), (b"content-type", b"application/grpc")]
    assert (body.kind, body.flags, body.payload) == (DATA, 0, b"message")
    assert peer.fields(last) == [(b"grpc-status", b"0")]
    assert last.flags & END_STREAM
    assert peer.connection.active == 0


def test_a_response_that_does_not_fit_waits_with_its_end() -> None:
    peer = Peer(greeting=(settings((4, 3)),))
    stream = peer.open(1)
    peer.connection.sender.respond(stream, HEAD, b"message", LAST)
    assert [each.kind for each in peer.heard()] == [HEADERS, DATA]
    answers = peer.say(Frame(WINDOW_UPDATE, 0, 1, word(4)))
    # The request had not ended: its stream is reset, and asks for no more.
    assert [each.kind for each in answers] == [DATA, HEADERS, RST_STREAM]
    assert peer.connection.active == 0


def test_sections_are_encoded_as_they_leave() -> None:
    """Trailers that wait are encoded after those of a stream that overtakes them: the peer's table follows."""
    peer = Peer(greeting=(settings((4, 3)),))
    one, two = peer.open(1, end=True), peer.open(3, end=True)
    sender = peer.connection.sender
    trailers = [(b"grpc-status", b"0"), (b"x-trailer", b"the same value each time")]
    sender.data(one, b"message")
    sender.end(one, trailers)
    sections: list[list[tuple[bytes, bytes]]] = []
    for _ in range(3):
        sender.headers(two, trailers)
        sections += [peer.fields(each) for each in peer.heard() if each.kind == HEADERS]
    answers = peer.say(Frame(WINDOW_UPDATE, 0, 1, word(100)))
    assert sections == [trailers] * 3
    assert peer.fields(answers[-1]) == trailers


def test_streams_take_turns() -> None:
    peer = Peer(greeting=WIDE)
    streams = [peer.open(number, end=True) for number in (1, 3, 5)]
    sender = peer.connection.sender
    sender.data(streams[0], bytes(100_000))
    sender.data(streams[1], bytes(100_000))
    sender.data(streams[2], b"short")
    heard = [(each.stream, len(each.payload)) for each in peer.heard()]
    turn = [16_384] * 4  # 64 KiB, in frames as long as the peer takes
    rest = [16_384, 16_384, 100_000 - 6 * 16_384]
    assert heard == [
        *((1, size) for size in turn),
        *((3, size) for size in turn),
        (5, 5),
        *((1, size) for size in rest),
        *((3, size) for size in rest),
    ]


def test_frames_are_cut_anywhere_in_the_pieces() -> None:
    peer = Peer(greeting=WIDE)
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    pieces = [bytes([number]) * size for number, size in enumerate((1, 16_383, 16_384, 70_000, 3, 1, 50_000))]
    sender.long_data(stream, pieces)
    sender.end(stream, [(b"grpc-status", b"0")])
    heard = peer.heard()
    assert b"".join(each.payload for each in heard[:-1]) == b"".join(pieces)
    assert heard[-1].kind == HEADERS
    assert max(len(each.payload) for each in heard) == 16_384
    assert [len(each.payload) for each in heard[:4]] == [16_384] * 4


def test_a_short_answer_does_not_wait_for_a_long_one() -> None:
    peer = Peer(greeting=WIDE)
    long, short = peer.open(1, end=True), peer.open(3, end=True)
    sender = peer.connection.sender
    sender.data(long, bytes(10 * TURN_BYTES))
    first = split(b"".join(sender.take()))
    assert sum(len(each.payload) for each in first) == TURN_BYTES
    sender.respond(short, HEAD, b"short", LAST)
    second = split(b"".join(sender.take()))
    # Its head is there at once, its message after one turn of the long one.
    assert [each.stream for each in second[:7]] == [3, 1, 1, 1, 1, 3, 3]


def test_one_turn_is_bounded() -> None:
    peer = Peer(greeting=WIDE)
    streams = [peer.open(2 * number + 1, end=True) for number in range(100)]
    sender = peer.connection.sender
    for stream in streams:
        sender.data(stream, bytes(16_000))
    size = sum(map(len, sender.take()))
    assert TURN_BYTES - 16_384 < size < TURN_BYTES + 16_384 + 100 * 9
    assert sender.pending
    assert sum(len(each.payload) for each in peer.heard()) + size > 1_600_000


def test_writers_are_told_when_they_may_go_on() -> None:
    peer = Peer(greeting=(settings((4, 0)),))
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    while stream.queued <= HIGH_WATER:
        sender.data(stream, bytes(10_000))
    peer.say(Frame(WINDOW_UPDATE, 0, 1, word(stream.queued - LOW_WATER - 1)))
    assert stream.writable == 0
    peer.say(Frame(WINDOW_UPDATE, 0, 1, word(1)))
    assert stream.writable == 1
    peer.say(Frame(WINDOW_UPDATE, 0, 1, word(LOW_WATER)))
    assert stream.writable == 1


def test_a_reset_drops_what_is_queued() -> None:
    peer = Peer(greeting=(settings((4, 5)),))
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    sender.respond(stream, HEAD, bytes(100), LAST)
    assert len(peer.heard()) == 2
    assert peer.say(Frame(RST_STREAM, 0, 1, word(8)), Frame(WINDOW_UPDATE, 0, 1, word(1000))) == []
    assert stream.queued == 0
    assert stream.resets == [8]
    assert not sender.pending


def test_a_window_that_shrinks_takes_a_stream_out_of_line() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    sender.data(stream, bytes(20_000))
    peer.connection.receive(bytes(settings((4, 0))), 0.0)
    assert [each.kind for each in peer.heard()] == [4]
    assert [len(each.payload) for each in peer.say(settings((4, 65_535))) if each.kind == DATA] == [16_384, 3616]


def test_control_frames_overtake_data() -> None:
    peer = Peer(greeting=WIDE)
    stream = peer.open(1, end=True)
    peer.connection.sender.data(stream, bytes(10 * TURN_BYTES))
    answers = peer.say(Frame(PING, 0, 0, bytes(8)))
    assert answers[0] == Frame(PING, ACK, 0, bytes(8))


def test_an_end_without_trailers() -> None:
    peer = Peer()
    stream = peer.open(1, end=True)
    sender = peer.connection.sender
    sender.headers(stream, STATUS)
    sender.data(stream, b"body")
    sender.end(stream)
    assert peer.heard()[1:] == [data(1, b"body"), data(1, end=True)]


def test_the_shell_is_woken_once() -> None:
    peer = Peer()
    one, two = peer.open(1, end=True), peer.open(3, end=True)
    peer.wakes = 0
    peer.connection.sender.respond(one, HEAD, b"one", LAST)
    peer.connection.sender.respond(two, HEAD, b"two", LAST)
    assert peer.wakes == 1


def test_blocks_that_are_ready_tell_of_a_new_table_size() -> None:
    peer = Peer()
    peer.say(settings((1, 0)))
    peer.decoder.set_max_table_bytes(0)  # from now on it fails on a block without a size update
    for number in (1, 3):
        peer.connection.sender.respond(peer.open(number, end=True), HEAD, b"x", LAST)
        head, _, last = peer.heard()
        assert peer.fields(head)[0] == (b":status", b"200")
        assert peer.fields(last) == [(b"grpc-status", b"0")]
