"""What is fuzzed of our HTTP/2 as a whole: frames in any order and of any content, and a server that acts between them.

A message is a list of steps, in the form that the mutation knows. A field of bytes numbered up to ten is a frame of the
type below its number: a byte of flags, a byte that names a stream, the payload. Other bytes are what they are. A number
is something that the server does.
"""

from __future__ import annotations

from collections.abc import Iterator

from runner.http2 import frames
from runner.http2.connection import Connection
from runner.http2.errors import ErrorCode
from runner.http2.fields import Fields, RequestHead
from runner.http2.frames import END_HEADERS, END_STREAM, PADDED, PREFACE, WITH_PRIORITY
from runner.http2.hpack import HeaderEncoder
from runner.http2.limits import Limits
from runner.http2.sender import HeaderBlock
from runner.http2.stream import Stream
from tests.fuzz.mutation import BYTES, VARINT, field, put_together, take_apart
from tests.http2.peer import REQUEST, receive, split

HEAD = HeaderBlock([(b":status", b"200"), (b"content-type", b"application/grpc")], end_stream=False)
LAST = HeaderBlock([(b"grpc-status", b"0")], end_stream=True)
LIMITS = Limits(
    max_concurrent_streams=5,
    initial_window=65_535,
    connection_window=65_535 * 2,
    max_unread_bytes=65_535,
    max_header_list_bytes=4096,
)
IN_PIECES, KEEPING, ANSWERING = 1, 2, 4
"""What a case says: frames come in pieces, what is received is kept unread, requests are answered as they end."""

PIECE = 7
RAW, RESPOND, RESPOND_TO_LAST, READ, RESET, DRAIN, PING, WAIT = 11, 1, 2, 3, 4, 5, 6, 7
MAX_WRITE = 70_000


class _Served(Stream):
    """The server's side of a stream, which checks the order of what it is told."""

    __slots__ = ("ended", "fuzzed", "over", "started")

    def __init__(self, connection: Connection, stream_id: int, fuzzed: _Fuzzed) -> None:
        super().__init__(connection, stream_id)
        self.fuzzed = fuzzed
        self.started = self.ended = self.over = False

    def on_request(self, head: RequestHead, ended: bool) -> None:
        assert not self.started
        self.started = True
        self._ends(ended)

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        assert self.started
        assert not self.ended
        assert not self.over
        assert 0 <= start <= stop <= len(data)
        if self.fuzzed.case & KEEPING:
            self.connection.inflow.keep(self, stop - start)
        self._ends(ended)

    def on_trailers(self, fields: Fields) -> None:
        assert not self.ended
        assert not self.over
        self._ends(True)

    def on_reset(self, code: int) -> None:
        assert not self.over
        self.over = True

    def _ends(self, ended: bool) -> None:
        self.ended = ended
        if ended and self.fuzzed.case & ANSWERING:
            self.fuzzed.respond(self, 5)


class _Fuzzed:
    """A connection, and what came out of it."""

    def __init__(self, case: int) -> None:
        self.case = case
        self.now = 0.0
        self.streams: dict[int, _Served] = {}
        self.taken_in = self.written = self.told = 0
        self.connection = Connection(self._open, lambda: None, LIMITS, self.now)

    def _open(self, connection: Connection, stream_id: int, head: RequestHead) -> Stream:
        assert stream_id not in self.streams
        assert connection.active <= LIMITS.max_concurrent_streams
        stream = self.streams[stream_id] = _Served(connection, stream_id, self)
        return stream

    def feed(self, data: bytes) -> None:
        self.taken_in += len(data)
        size = PIECE if self.case & IN_PIECES else len(data) or 1
        for start in range(0, len(data), size):
            receive(self.connection, data[start : start + size], self.now)

    def respond(self, stream: _Served, size: int) -> None:
        if stream.local_open and not stream.over and stream.last is None and not stream.queued:
            self.written += size
            self.connection.sender.respond(stream, HEAD, bytes(size), LAST)

    def act(self, what: int, number: int) -> None:
        """Do what a server does."""
        living = [each for each in self.streams.values() if each.local_open and not each.over and each.last is None]
        match what:
            case 1 if living:
                self.respond(living[0], number % MAX_WRITE)
            case 2 if living:
                self.respond(living[-1], number % MAX_WRITE)
            case 3:
                for stream in self.streams.values():
                    if stream.unread:
                        self.connection.inflow.consumed(stream, stream.unread)
            case 4 if living:
                living[0].over = True
                self.connection.reset(living[0], ErrorCode.INTERNAL_ERROR)
            case 5:
                self.connection.drain()
            case 6:
                self.connection.ping()
            case 7:
                self.now += number % 60
            case _:
                pass

    def check(self) -> None:
        """Take what is to be written, and assert what holds at all times."""
        connection = self.connection
        out: list[bytes] = []
        while connection.sender.pending:
            out += [bytes(piece) for piece in connection.sender.take()]
        self.told += sum(len(frame.payload) + 9 for frame in split(b"".join(out)))
        # A frame of nine bytes is answered by two of thirteen at most, but for the greeting, a farewell and responses.
        assert self.told <= 1000 + 6 * self.taken_in + 2 * self.written + 300 * len(self.streams)
        assert connection._reader.held <= LIMITS.max_other_frame_bytes + 9
        assert connection.inflow.unread == sum(stream.unread for stream in connection._streams.open.values())
        if connection.failure is not None:
            assert not connection.active
            assert all(stream.over or not stream.local_open for stream in self.streams.values())


def conversation(case: int, message: bytes) -> None:
    """A peer says frames and anything else, and the connection has to stand it."""
    fuzzed = _Fuzzed(case)
    steps = take_apart(message)
    if not steps:
        fuzzed.feed(message)
        fuzzed.check()
        return
    fuzzed.feed(PREFACE)
    for step in steps:
        content = step.content
        if isinstance(content, int):
            fuzzed.act(step.number, content)
        elif step.wire == BYTES and step.number < RAW and len(content) >= 2:
            stream = content[1] % 16
            head = frames.head(step.number - 1, content[0], 2 * stream - 1 if stream else 0, len(content) - 2)
            fuzzed.feed(head + content[2:])
        else:
            fuzzed.feed(content)
        fuzzed.check()
    fuzzed.connection.lost()
    assert not fuzzed.connection.active


# --- Seeds ------------------------------------------------------------------------------------------------------------


def conversations() -> Iterator[tuple[int, bytes]]:
    """Yield what clients do, and what others do."""

    def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> tuple[int, int, bytes]:
        return kind + 1, BYTES, bytes((flags, stream)) + payload

    def does(what: int, number: int = 0) -> tuple[int, int, int]:
        return what, VARINT, number

    encoder = HeaderEncoder()
    head = [encoder.encode([*REQUEST, (b"content-type", b"application/grpc"), (b"x-id", b"%d" % n)]) for n in range(9)]
    length = encoder.encode([*REQUEST, (b"content-length", b"10")])
    settings = frame(frames.SETTINGS, 0, 0)
    window = frame(frames.WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4, "big"))
    body = b"\0\0\0\0\x05hello"
    scenes = [
        [frame(frames.HEADERS, END_HEADERS, 1, head[0]), frame(frames.DATA, END_STREAM, 1, body), does(RESPOND, 5)],
        [
            frame(frames.HEADERS, END_HEADERS | PADDED, 1, b"\x03" + head[0] + bytes(3)),
            frame(frames.DATA, PADDED, 1, b"\x04" + body + bytes(4)),
            frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, encoder.encode([(b"x-trailer", b"1")])),
            does(RESPOND_TO_LAST, 66_000),
            window,
            frame(frames.WINDOW_UPDATE, 0, 1, (1 << 20).to_bytes(4, "big")),
        ],
        [
            frame(frames.HEADERS, WITH_PRIORITY, 1, bytes(5) + head[0][:4]),
            frame(frames.CONTINUATION, 0, 1, head[0][4:9]),
            frame(frames.CONTINUATION, END_HEADERS, 1, head[0][9:]),
            frame(frames.RST_STREAM, 0, 1, bytes((0, 0, 0, 8))),
        ],
        [frame(frames.HEADERS, END_HEADERS, 1, length), frame(frames.DATA, END_STREAM, 1, bytes(10)), does(RESPOND, 1)],
        [
            *(frame(frames.HEADERS, END_HEADERS, 1 + n, head[n]) for n in range(7)),
            *(frame(frames.DATA, 0, 1 + n, bytes(16_000)) for n in range(5)),
            does(READ),
            does(RESET),
            *(frame(frames.DATA, END_STREAM, 1 + n) for n in range(5)),
        ],
        [
            frame(frames.SETTINGS, 0, 0, b"\0\x04\0\0\0\x0a\0\x01\0\0\0\0\0\x05\0\0\x60\0"),
            frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, head[0]),
            does(RESPOND, 300),
            frame(frames.SETTINGS, 0, 0, b"\0\x04\0\x01\0\0"),
            frame(frames.SETTINGS, 1, 0),
        ],
        [
            frame(frames.PING, 0, 0, b"12345678"),
            does(PING),
            frame(frames.PING, 1, 0, b"\0alive?\0"),
            frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, head[0]),
            does(DRAIN),
            frame(frames.PING, 1, 0, b"\0goaway\0"),
            does(RESPOND, 3),
            does(WAIT, 30),
        ],
        [frame(frames.GOAWAY, 0, 0, bytes(8)), frame(frames.PRIORITY, 0, 1, bytes(5)), frame(0x10, 0, 0, b"future")],
        [frame(frames.HEADERS, END_HEADERS, 1, head[0]), (RAW, BYTES, b"\0\0\x05\0\0\0\0\0\x01hel")],
    ]
    for number, scene in enumerate(scenes):
        steps = put_together([field(*step) for step in (settings, *scene)])
        for case in range(8):
            if case == number % 8 or case in (0, KEEPING | ANSWERING):
                yield case, steps
    yield 7, PREFACE + b"\0\0\0\x04\0\0\0\0\0"
