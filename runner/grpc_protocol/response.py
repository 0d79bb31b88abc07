"""The header sections of a response: its head, its trailers, and both in one where there is no message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runner.grpc_protocol.compression import ACCEPTED, IDENTITY
from runner.grpc_protocol.metadata import Pair, encode_binary, write_fields
from runner.grpc_protocol.request import CONTENT_TYPE
from runner.grpc_protocol.status import StatusCode, encode_message
from runner.http2.hpack.static import Field

HEAD: Final[Sequence[Field]] = (
    (b":status", b"200"),
    (b"content-type", CONTENT_TYPE),
    (b"grpc-accept-encoding", ACCEPTED),
)
"""The head of most responses."""

OK: Final[Sequence[Field]] = ((b"grpc-status", b"0"),)
"""The trailers of a call that ended well and has nothing more to say."""

_TEXT_BYTES = 7680
"""Of message and details together, encoded. Clients take trailers of 8 KiB, and fail calls that have more."""

_LEAST_MESSAGE = 512
"""Bytes that remain for the message beside any details. Details that leave less are left out: a part of them would mean
nothing."""


def response_head(
    *, content_type: bytes = CONTENT_TYPE, encoding: str = IDENTITY, metadata: Sequence[Pair] = ()
) -> Sequence[Field]:
    """Return the head of a response.

    Args:
        content_type: that of the request; a suffix such as `+proto` comes back.
        encoding: of the messages that are compressed.
        metadata: to send before the first message.
    """
    fields = [HEAD[0], (b"content-type", content_type), HEAD[2]]
    if encoding != IDENTITY:
        fields.append((b"grpc-encoding", encoding.encode()))
    return (*fields, *write_fields(metadata))


def response_trailers(
    code: int = StatusCode.OK, message: str = "", details: bytes = b"", metadata: Sequence[Pair] = ()
) -> Sequence[Field]:
    """Return the trailers of a response.

    Args:
        code: of `StatusCode`.
        message: for the person who reads the client's error; cut off where it is too long.
        details: a serialized google.rpc.Status, if there is more to say.
        metadata: to send behind the last message.
    """
    if not (code or message or details or metadata):
        return OK
    room = _TEXT_BYTES
    fields: list[Field] = [(b"grpc-status", b"%d" % code)]
    if details:
        encoded = encode_binary(details)
        if len(encoded) <= room - _LEAST_MESSAGE:
            fields.append((b"grpc-status-details-bin", encoded))
            room -= len(encoded)
    if message:
        fields.insert(1, (b"grpc-message", _clipped(encode_message(message), room)))
    return (*fields, *write_fields(metadata))


def trailers_only(trailers: Sequence[Field]) -> Sequence[Field]:
    """Return a response that has no message: the head and the trailers are one section."""
    return (*HEAD, *trailers)


def _clipped(encoded: bytes, size: int) -> bytes:
    if len(encoded) <= size:
        return encoded
    # Not in the middle of an escape.
    escape = encoded.rfind(b"%", size - 2, size)
    return encoded[: size if escape < 0 else escape]
