"""Frames that are not of any request: settings, windows, pings, resets and farewells (RFC 9113, 6.3 to 6.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runner.http2 import frames
from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.frames import ACK, MAX_STREAM_ID
from runner.http2.sender import Sender
from runner.http2.streams import Streams

_DRAIN_PING: Final = b"\0goaway\0"
_ALIVE_PING: Final = b"\0alive?\0"

_STREAMS_AT_ONCE: Final = 64
"""Open streams of which the windows change for the cost of one idle frame."""


class ControlFrames:
    """Says what each of them means to a connection, and sends those of them that nobody has asked for.

    Attributes:
        draining: either side has said that no more streams are to come.
        pinged: a PING of `ping` waits for its answer.
    """

    __slots__ = ("_handlers", "_sender", "_streams", "draining", "pinged")

    def __init__(self, streams: Streams, sender: Sender) -> None:
        """Begin.

        Args:
            streams: what the frames are about.
            sender: gets what the peer says of its windows, and what it has to be answered.
        """
        self.draining = False
        self.pinged = False
        self._streams = streams
        self._sender = sender
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
        }

    @property
    def drained(self) -> bool:
        """True if the last stream that will be answered is over."""
        return self.draining and self._streams.numbers.closing and not self._streams.open

    def drain(self) -> None:
        """Take no more streams than those that the peer opens before it hears of this, and answer these (6.8)."""
        if not self.draining:
            self.draining = True
            farewell = frames.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR)
            self._sender.control(farewell + frames.ping(_DRAIN_PING, ack=False))

    def ping(self) -> None:
        """Ask whether the peer is alive; `pinged` is true until it has answered."""
        if not self.pinged:
            self.pinged = True
            self._sender.control(frames.ping(_ALIVE_PING, ack=False))

    def receive(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a frame, of a type that is none of ours perhaps (4.1).

        Raises:
            ConnectionFailure: it breaks the protocol, or is one too many.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            self._streams.count_idle()
        else:
            handler(flags, stream_id, payload)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            self._streams.error(stream_id, ErrorCode.FRAME_SIZE_ERROR)  # 6.3
        self._streams.count_idle()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a wrong length")  # 6.4
        if self._streams.numbers.never_opened(stream_id):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on a stream that is not open")
        stream = self._streams.open.get(stream_id)
        if stream is None:
            self._streams.count_idle()
        else:
            self._streams.was_reset(stream, int.from_bytes(payload, "big"))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")  # 6.5
        self._streams.count_idle()
        if flags & ACK:
            return
        window = self._sender.initial_window
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
                window = value
            else:
                self._apply(name, value)
        if window != self._sender.initial_window:
            self._widen_streams(window)
        self._sender.answer(frames.SETTINGS_ACK)

    def _widen_streams(self, window: int) -> None:
        """Take the initial window that the peer's settings end with: it changes that of every open stream (6.9.2).

        One frame may name thousands, of which the last counts, and a short frame costs as much as streams are open.
        """
        streams = self._streams
        for _ in range(len(streams.open) // _STREAMS_AT_ONCE):
            streams.count_idle()
        increment = window - self._sender.initial_window
        self._sender.initial_window = window
        for stream in streams.open.values():
            if not self._sender.widen_stream(stream, increment):
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")  # 6.9.2

    def _apply(self, name: int, value: int) -> None:
        """Take one of the peer's settings (6.5.2), but for its initial window; unknown ones are skipped."""
        match name:
            case frames.HEADER_TABLE_SIZE:
                self._sender.resize_table(value)
            case frames.ENABLE_PUSH if value > 1:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
            case frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_MAX_FRAME <= value < 1 << 24:
                    raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
                self._sender.max_frame = value
            case _:
                pass

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a client cannot push")  # 8.4

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong length")  # 6.7
        self._streams.count_idle()
        if not flags & ACK:
            self._sender.answer(frames.ping(payload, ack=True))
        elif payload == _ALIVE_PING:
            self.pinged = False
        elif payload == _DRAIN_PING and self.draining:
            self._say_last()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong length")
        # The client leaves, and still wants its answers. It might open more streams all the same: it is told that they
        # would not be answered.
        self._streams.count_idle()
        self.draining = True
        self._say_last()

    def _say_last(self) -> None:
        """Take no more streams than there are, and say so, once (6.8)."""
        numbers = self._streams.numbers
        if not numbers.closing:
            numbers.close()
            self._sender.control(frames.goaway(numbers.last, ErrorCode.NO_ERROR))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length")  # 6.9
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        streams = self._streams
        streams.count_idle()
        if stream_id == 0:
            if not increment:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            if not self._sender.widen(increment):
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")  # 6.9.1
            return
        stream = streams.open.get(stream_id)
        if stream is None:
            if streams.numbers.never_opened(stream_id):
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is not open")
        elif not increment:
            streams.error(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif not self._sender.widen_stream(stream, increment):
            streams.error(stream_id, ErrorCode.FLOW_CONTROL_ERROR)

    def __repr__(self) -> str:
        return f"<ControlFrames{', draining' if self.draining else ''}{', pinged' if self.pinged else ''}>"
