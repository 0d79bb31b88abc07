"""A client that may say anything: frames by hand to a connection, and what comes back, taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.http2 import frames
from runner.http2.connection import Connection
from runner.http2.errors import ErrorCode
from runner.http2.fields import Fields, RequestHead
from runner.http2.frames import END_HEADERS, END_STREAM, PREFACE
from runner.http2.hpack import HeaderDecoder, HeaderEncoder
from runner.http2.limits import Limits
from runner.http2.stream import Stream

REQUEST: list[tuple[bytes, bytes]] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/test"),
    (b":authority", b"localhost"),
]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, as it travels."""

    kind: int
    flags: int = 0
    stream: int = 0
    payload: bytes = b""

    def __bytes__(self) -> bytes:
        return frames.head(self.kind, self.flags, self.stream, len(self.payload)) + self.payload

    @property
    def code(self) -> ErrorCode:
        """The error code of an RST_STREAM or GOAWAY frame."""
        return ErrorCode(
            int.from_bytes(self.payload[-4:] if self.kind == frames.RST_STREAM else self.payload[4:8], "big")
        )

    @property
    def number(self) -> int:
        """The first word of the payload: an increment, a last stream."""
        return int.from_bytes(self.payload[:4], "big")


def split(data: bytes) -> list[Frame]:
    """Return the frames that some bytes are."""
    result: list[Frame] = []
    while data:
        length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        assert len(data) >= 9 + length
        result.append(Frame(kind, flags, int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return result


class Recorder(Stream):
    """A stream that remembers what happened to it."""

    __slots__ = ("body", "ended", "head", "keeps", "resets", "trailer_fields", "writable")

    def __init__(self, connection: Connection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self.head: RequestHead | None = None
        self.body = b""
        self.ended = False
        self.trailer_fields: Fields | None = None
        self.resets: list[int] = []
        self.writable = 0
        self.keeps = False

    def on_request(self, head: RequestHead, ended: bool) -> None:
        assert self.head is None
        self.head, self.ended = head, ended

    def on_data(self, data: bytes, start: int, stop: int, ended: bool) -> None:
        assert self.head is not None
        assert not self.ended
        self.body += data[start:stop]
        self.ended = ended
        if self.keeps:
            self.connection.inflow.keep(self, stop - start)

    def on_trailers(self, fields: Fields) -> None:
        assert not self.ended
        self.ended, self.trailer_fields = True, fields

    def on_reset(self, code: int) -> None:
        assert not self.resets
        self.resets.append(code)

    def on_writable(self) -> None:
        self.writable += 1


def receive(connection: Connection, data: bytes, now: float) -> None:
    """Hand bytes over as a socket does that reads everything into the same memory."""
    memory = bytearray(data)
    connection.receive(memoryview(memory), now)
    memory[:] = b"\xee" * len(memory)


@dataclass(slots=True)
class Peer:
    """A client and the connection under test. `say` returns what the connection answers."""

    limits: Limits = field(default_factory=Limits)
    greeting: Sequence[Frame] = (Frame(frames.SETTINGS),)
    now: float = 1000.0
    keeps: bool = False
    kind: type[Recorder] = Recorder
    connection: Connection = field(init=False)
    streams: dict[int, Recorder] = field(init=False, default_factory=dict[int, Recorder])
    greeted: list[Frame] = field(init=False)
    encoder: HeaderEncoder = field(init=False, default_factory=HeaderEncoder)
    decoder: HeaderDecoder = field(init=False, default_factory=HeaderDecoder)
    wakes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.connection = Connection(self._open, self._wake, self.limits, self.now)
        self.greeted = self.say(PREFACE, *self.greeting) if self.greeting else []

    def _open(self, connection: Connection, stream_id: int, head: RequestHead) -> Stream:
        assert stream_id not in self.streams
        stream = self.streams[stream_id] = self.kind(connection, stream_id)
        stream.keeps = self.keeps
        return stream

    def _wake(self) -> None:
        self.wakes += 1

    def say(self, *what: bytes | Frame) -> list[Frame]:
        """Send frames, or anything else, in one piece."""
        receive(self.connection, b"".join(bytes(each) for each in what), self.now)
        return self.heard()

    def heard(self) -> list[Frame]:
        """Return what the connection has to write."""
        out: list[bytes] = []
        while self.connection.sender.pending:
            out += [bytes(piece) for piece in self.connection.sender.take()]
        return split(b"".join(out))

    def request(
        self, stream: int, fields: Sequence[tuple[bytes, bytes]] = REQUEST, *, end: bool = False, flags: int = 0
    ) -> Frame:
        """Return a HEADERS frame."""
        flags |= END_HEADERS | (END_STREAM if end else 0)
        return Frame(frames.HEADERS, flags, stream, self.encoder.encode(fields))

    def open(self, stream: int, *, end: bool = False) -> Recorder:
        """Open a stream."""
        assert self.say(self.request(stream, end=end)) == []
        return self.streams[stream]

    def fields(self, frame: Frame) -> list[tuple[bytes, bytes]]:
        """Return the section of a HEADERS frame. Each must be read once, in order."""
        assert frame.kind == frames.HEADERS
        return list(self.decoder.decode(frame.payload))


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> Frame:
    """Return a DATA frame."""
    return Frame(frames.DATA, END_STREAM if end else 0, stream, payload)


def word(value: int) -> bytes:
    """Return a payload of four bytes."""
    return value.to_bytes(4, "big")


def settings(*pairs: tuple[int, int]) -> Frame:
    """Return a SETTINGS frame."""
    return Frame(frames.SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + word(value) for name, value in pairs))
