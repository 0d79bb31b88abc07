"""Error codes of HTTP/2, and what ends a connection.

A *connection error* (RFC 9113, 5.4.1) is raised as `ConnectionFailure` from wherever it is found and ends everything. A
*stream error* (5.4.2) is an ordinary event: it is handled where it is found, by one RST_STREAM.
"""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFailure(Exception):
    """The peer has broken the protocol, or a limit that protects us: the connection ends with this code."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MalformedMessage(Exception):
    """A header or trailer section that breaks RFC 9113, 8.1 to 8.3. A stream error."""
