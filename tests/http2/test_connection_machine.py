"""Any order of events, against the client of the `h2` package: it raises if we break the protocol.

The model is what a client of a correct server sees: every byte of every request and response, in order and once;
windows that are never passed; streams that end as they were ended. (Draining is not here: for `h2` a GOAWAY is the end
at once.)
"""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.http2.backlog import Backlog
from runner.http2.connection import Connection
from runner.http2.errors import ErrorCode
from runner.http2.fields import Fields, RequestHead
from runner.http2.limits import Limits
from runner.http2.sender import HeaderBlock
from runner.http2.stream import Stream
from tests.http2.peer import receive, split

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]
HEAD = HeaderBlock([(b":status", b"200")], end_stream=False)
LAST = HeaderBlock([(b"grpc-status", b"0")], end_stream=True)
LIMITS = Limits(
    max_concurrent_streams=6,
    initial_window=65_535,
    connection_window=65_535 * 3,
    max_unread_bytes=65_535 * 2,
    resets_burst=100_000,
    idle_frames_burst=100_000,
)


class Served(Stream):
    """The server's side: what arrived, what was answered."""

    def __init__(self, connection: Connection, stream_id: int, head: RequestHead) -> None:
        super().__init__(connection, stream_id)
        self.received = b""
        self.kept = 0
        self.ended = self.reset = self.begun = self.finished = False

    def on_request(self, head: RequestHead, ended: bool) -> None:
        self.ended = ended

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        assert not self.ended
        assert not self.reset
        self.received += data[start:stop]
        self.ended = ended
        self.kept += stop - start
        self.connection.inflow.keep(self, stop - start)

    def on_trailers(self, fields: Fields) -> None:
        assert not self.ended
        self.ended = True

    def on_reset(self, code: int) -> None:
        assert not self.reset
        self.reset = True


class Asked:
    """The client's side of a stream."""

    def __init__(self) -> None:
        self.sent = b""
        self.ended = self.gone = False
        self.expected = b""  # what the server has written
        self.received = b""
        self.answered = False
        self.stale = 0  # bytes that the client has not given back to the server


class ConnectionMachine(RuleBasedStateMachine):
    @initialize(window=st.sampled_from([0, 1, 100, 65_535, 1 << 20]))
    def start(self, window: int) -> None:
        self.served: dict[int, Served] = {}
        self.asked: dict[int, Asked] = {}
        self.backlog = Backlog(1 << 30, lambda: None)
        self.server = Connection(self.open_stream, lambda: None, LIMITS, 0.0, self.backlog)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.client.update_settings({4: window})
        self.exchange()

    def open_stream(self, connection: Connection, stream_id: int, head: RequestHead) -> Stream:
        stream = self.served[stream_id] = Served(connection, stream_id, head)
        return stream

    # Transport.

    def exchange(self, size: int | None = None) -> None:
        """Everything that was written arrives, in pieces of a size."""
        while True:
            to_server = self.client.data_to_send()
            for start in range(0, len(to_server), size or len(to_server) or 1):
                receive(self.server, to_server[start : start + (size or len(to_server))], 0.0)
            to_client = b"".join(self.server.sender.take())
            if not to_server and not to_client:
                break
            for frame in split(to_client):  # one by one: it looks at a new MAX_FRAME_SIZE between two pieces only
                for event in self.client.receive_data(bytes(frame)):
                    self.heard(event)

    def heard(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                stream = self.asked[event.stream_id]
                stream.received += event.data
                stream.stale += event.flow_controlled_length
                assert stream.expected.startswith(stream.received)
            case h2.events.StreamEnded():
                stream = self.asked[event.stream_id]
                stream.answered = True
                assert stream.received == stream.expected
            case h2.events.StreamReset():
                self.asked[event.stream_id].gone = True
            case _:
                pass

    def pick(self, index: int, streams: list[int]) -> int:
        return streams[index % len(streams)]

    # What the client does.

    def sending(self) -> list[int]:
        return [n for n, each in self.asked.items() if not each.ended and not each.gone and not each.answered]

    def living(self) -> list[int]:
        return [n for n, each in self.asked.items() if not each.gone and not each.answered]

    @precondition(lambda self: len(self.living()) < 6)
    @rule(end=st.booleans(), fields=st.lists(st.tuples(st.just("x-id"), st.text("abc", max_size=200)), max_size=3))
    def ask(self, end: bool, fields: list[tuple[str, str]]) -> None:
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, HEADERS + fields, end_stream=end)
        asked = self.asked[number] = Asked()
        asked.ended = end

    @precondition(lambda self: bool(self.sending()))
    @rule(index=st.integers(0), size=st.integers(0, 70_000), end=st.booleans(), padding=st.none() | st.integers(0, 200))
    def send(self, index: int, size: int, end: bool, padding: int | None) -> None:
        number = self.pick(index, self.sending())
        room = self.client.local_flow_control_window(number) - (0 if padding is None else padding + 1)
        size = min(size, room, self.client.max_outbound_frame_size - 256)
        if size < 0:
            return
        asked = self.asked[number]
        data = bytes((len(asked.sent) + offset) % 251 for offset in range(min(size, 300))).ljust(size, b"-")
        self.client.send_data(number, data, end_stream=end, pad_length=padding)
        asked.sent += data
        asked.ended = end

    @precondition(lambda self: bool(self.sending()))
    @rule(index=st.integers(0))
    def send_trailers(self, index: int) -> None:
        number = self.pick(index, self.sending())
        self.client.send_headers(number, [("x-trailer", "y")], end_stream=True)
        self.asked[number].ended = True

    @precondition(lambda self: bool(self.living()))
    @rule(index=st.integers(0))
    def leave(self, index: int) -> None:
        number = self.pick(index, self.living())
        self.client.reset_stream(number, error_code=8)
        self.asked[number].gone = True

    @precondition(lambda self: bool(self.living()))
    @rule(index=st.integers(0), size=st.integers(1, 100_000))
    def widen_stream(self, index: int, size: int) -> None:
        self.client.increment_flow_control_window(size, self.pick(index, self.living()))

    @rule(size=st.integers(1, 100_000))
    def widen(self, size: int) -> None:
        self.client.increment_flow_control_window(size)

    @rule(
        window=st.sampled_from([0, 10, 65_535, 200_000]),
        frame=st.sampled_from([16_384, 20_000]),
        table=st.sampled_from([0, 100, 4096]),
    )
    def change_settings(self, window: int, frame: int, table: int) -> None:
        self.client.update_settings({4: window, 5: frame, 1: table})

    @rule()
    def ping(self) -> None:
        self.client.ping(b"12345678")

    # What the server does.

    def writable(self) -> list[int]:
        return [n for n, each in self.served.items() if each.local_open and not each.finished and not each.reset]

    @precondition(lambda self: bool(self.writable()))
    @rule(index=st.integers(0), size=st.integers(0, 100_000))
    def write(self, index: int, size: int) -> None:
        number = self.pick(index, self.writable())
        stream = self.served[number]
        if not stream.begun:
            stream.begun = True
            self.server.sender.headers(stream, [(b":status", b"200"), (b"x-number", b"%d" % number)])
        data = bytes((len(self.asked[number].expected) + offset) % 241 for offset in range(min(size, 300))).ljust(
            size, b"."
        )
        self.server.sender.data(stream, data)
        self.asked[number].expected += data

    @precondition(lambda self: bool(self.writable()))
    @rule(index=st.integers(0), trailers=st.sampled_from([[], [(b"grpc-status", b"0")], [(b"x-more", b"z" * 20_000)]]))
    def finish(self, index: int, trailers: list[tuple[bytes, bytes]]) -> None:
        stream = self.served[self.pick(index, self.writable())]
        if not stream.begun:
            self.server.sender.headers(stream, [(b":status", b"200")])
        stream.finished = True
        self.server.sender.end(stream, trailers)

    @precondition(lambda self: bool(self.writable()))
    @rule(index=st.integers(0), size=st.integers(0, 20_000))
    def respond(self, index: int, size: int) -> None:
        number = self.pick(index, self.writable())
        stream = self.served[number]
        if not stream.begun:
            stream.begun = stream.finished = True
            self.asked[number].expected += bytes(size)
            self.server.sender.respond(stream, HEAD, bytes(size), LAST)

    @precondition(lambda self: bool(self.writable()))
    @rule(index=st.integers(0))
    def give_up(self, index: int) -> None:
        stream = self.served[self.pick(index, self.writable())]
        stream.finished = stream.reset = True
        self.server.reset(stream, ErrorCode.INTERNAL_ERROR)

    @rule(index=st.integers(0))
    def read(self, index: int) -> None:
        streams = [each for each in self.served.values() if each.kept]
        if streams:
            stream = streams[index % len(streams)]
            self.server.inflow.consumed(stream, stream.kept)
            stream.kept = 0

    @rule(size=st.none() | st.integers(1, 50))
    def arrive(self, size: int | None) -> None:
        self.exchange(size)

    # What holds at all times.

    @invariant()
    def nothing_failed(self) -> None:
        if not hasattr(self, "server"):
            return
        assert self.server.failure is None

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "server"):
            return
        assert self.server.inflow.unread == sum(each.unread for each in self.server._streams.open.values())
        assert self.server.inflow.unread <= LIMITS.max_unread_bytes + LIMITS.connection_window + LIMITS.max_frame_bytes
        for number, stream in self.served.items():
            assert self.asked[number].sent.startswith(stream.received)
            assert (stream.queued == 0) == (not stream.queue)
        waiting = sum(stream.queued for stream in self.served.values())
        assert waiting == self.server.sender.queued == self.backlog.size

    def teardown(self) -> None:
        """Let everything end: what was written arrives, what was finished is over, and nothing is left."""
        if not hasattr(self, "server"):
            return
        self.client.update_settings({4: 1 << 24})
        self.client.increment_flow_control_window(1 << 26)
        self.exchange()
        for stream in self.served.values():
            if stream.kept:
                self.server.inflow.consumed(stream, stream.kept)
        for number in self.writable():
            self.finish(self.writable().index(number), [])
        self.exchange()
        self.nothing_failed()
        for number, asked in self.asked.items():
            served = self.served.get(number)
            if served is None or asked.gone:
                continue
            assert asked.answered or served.reset
        assert self.server.active == 0


TestConnection = ConnectionMachine.TestCase
TestConnection.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
