"""How much a peer may send: windows that are opened as what came is read."""

from __future__ import annotations

from runner.http2.frames import RST_STREAM, WINDOW_UPDATE
from runner.http2.limits import Limits
from tests.http2.peer import Frame, Peer, data, word

LIMITS = Limits(initial_window=65_536, connection_window=1 << 20, max_unread_bytes=1 << 20)


def grants(peer: Peer) -> list[tuple[int, int]]:
    """Return the streams, 0 for the connection, and by how much the windows of each were opened since last asked."""
    heard = peer.heard()
    assert all(each.kind == WINDOW_UPDATE for each in heard)
    return [(each.stream, each.number) for each in heard]


def test_a_stream_gets_its_window_back_in_halves_as_it_is_read() -> None:
    peer = Peer(limits=LIMITS, keeps=True)
    stream = peer.open(1)
    assert peer.say(*(data(1, bytes(16_384)) for _ in range(4))) == []  # all of it
    inflow = peer.connection.inflow
    inflow.consumed(stream, 32_767)
    assert grants(peer) == []
    inflow.consumed(stream, 1)
    assert grants(peer) == [(1, 32_768)]
    inflow.consumed(stream, 32_768)
    assert grants(peer) == []  # there is half of one
    assert peer.say(data(1, b"x")) == [Frame(WINDOW_UPDATE, 0, 1, word(32_768))]
    assert (stream.receive_window, stream.unread, inflow.unread) == (65_535, 1, 1)


def test_what_nobody_keeps_counts_as_read() -> None:
    peer = Peer(limits=LIMITS)
    peer.open(1)
    peer.say(data(1, bytes(16_384)), data(1, bytes(16_384)))
    assert peer.say(data(1, b"x")) == [Frame(WINDOW_UPDATE, 0, 1, word(32_769))]


def test_a_stream_that_is_over_holds_nothing_and_gives_nothing_back() -> None:
    peer = Peer(limits=LIMITS, keeps=True)
    over, open_one = peer.open(1), peer.open(3)
    peer.say(data(1, bytes(10_000)), data(3, bytes(1_000)))
    inflow = peer.connection.inflow
    assert inflow.unread == 11_000
    peer.say(Frame(RST_STREAM, 0, 1, word(8)))
    assert inflow.unread == 1_000
    inflow.consumed(over, 10_000)
    assert inflow.unread == 1_000
    inflow.consumed(open_one, 1_000)
    assert inflow.unread == 0
    assert repr(inflow) == f"<Inflow window {(1 << 20) - 11_000}, 0 bytes unread>"


def test_what_is_known_to_come_need_not_stop() -> None:
    peer = Peer(keeps=True)
    stream = peer.open(1)
    peer.connection.inflow.expect(stream, 1_000_000)
    (grant,) = peer.heard()
    assert (grant.kind, grant.stream) == (WINDOW_UPDATE, 1)
    assert stream.receive_window == 1_000_000


def test_what_is_known_to_come_has_no_room_behind_a_window_that_nobody_reads() -> None:
    peer = Peer(keeps=True)
    stream = peer.open(1)
    window = peer.connection.limits.initial_window
    peer.connection.inflow.keep(stream, window)
    peer.connection.inflow.expect(stream, 1_000_000)
    assert peer.heard() == []
    peer.connection.inflow.consumed(stream, 1)
    peer.connection.inflow.expect(stream, 1_000_000)
    assert [each.stream for each in peer.heard()] == [1]
