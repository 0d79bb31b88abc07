"""A field block that goes on in CONTINUATION frames (RFC 9113, 4.3 and 6.10)."""

from __future__ import annotations

from runner.http2.errors import ConnectionFailure, ErrorCode
from runner.http2.limits import Limits


class OpenBlock:
    """What there is of one, and whose it is.

    Args:
        stream_id: the stream.
        ends_stream: its HEADERS had END_STREAM.
        first: what its HEADERS brought.
        limits: of the connection.
    """

    __slots__ = ("_bytes", "_frames", "_limits", "_stream_id", "ends_stream")

    def __init__(self, stream_id: int, ends_stream: bool, first: bytes, limits: Limits) -> None:
        self._stream_id = stream_id
        self.ends_stream = ends_stream
        self._bytes = bytearray(first)
        self._frames = 0
        self._limits = limits

    def add(self, stream_id: int, payload: bytes) -> None:
        """Take a CONTINUATION frame."""
        if stream_id != self._stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        self._frames += 1
        self._bytes += payload
        if self._frames > self._limits.max_continuations or len(self._bytes) > self._limits.max_header_block_bytes:
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "a field block without end")

    def whole(self) -> bytes:
        """Return the block, now that its last frame was there."""
        return bytes(self._bytes)

    def __repr__(self) -> str:
        return f"<OpenBlock of stream {self._stream_id}, {len(self._bytes)} bytes>"
