"""Compressed messages: which codings there are, and both directions of each.

`deflate` is zlib's format here as everywhere in gRPC, in spite of its name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, TypeAlias

from runner.grpc_protocol.status import CallFailure, StatusCode

Decompress: TypeAlias = Callable[[bytes | memoryview, int], bytes]
"""From a compressed message and the length that it may have at most to the message."""

IDENTITY: Final = "identity"

_WINDOW_BITS = {"gzip": 31, "deflate": 15}

CODINGS: Final = tuple(_WINDOW_BITS)
"""Those that make messages shorter, the better ones first."""

_LEVEL = 1
"""zlib's quickest: what a server compresses, its clients wait for."""

ACCEPTED: Final = ", ".join((IDENTITY, *CODINGS)).encode()
"""The value of our `grpc-accept-encoding`."""


def decompressor(encoding: str) -> Decompress | None:
    """Return what reads the compressed messages of a stream; None if there can be none.

    Raises:
        CallFailure: we do not know the coding. The reply must have `grpc-accept-encoding`.
    """
    if encoding == IDENTITY:
        return None
    try:
        return _DECOMPRESSORS[encoding]
    except KeyError:
        raise CallFailure(StatusCode.UNIMPLEMENTED, f"grpc-encoding: {encoding!r} is not supported") from None


def compress(encoding: str, message: bytes | memoryview) -> bytes:
    """Return a message in one of our codings."""
    return zlib.compress(message, _LEVEL, _WINDOW_BITS[encoding])


def choose(accepted: str) -> str:
    """Return the best of our codings that a client takes.

    Args:
        accepted: its `grpc-accept-encoding`, empty if it had none.
    """
    offered = {name.strip() for name in accepted.split(",")}
    return next((name for name in CODINGS if name in offered), IDENTITY)


def _decompressor(window_bits: int) -> Decompress:
    def decompress(message: bytes | memoryview, limit: int) -> bytes:
        stream = zlib.decompressobj(window_bits)
        try:
            # One byte more than is allowed tells too much from just enough. zlib makes no more than it is asked for.
            plain = stream.decompress(message, limit + 1)
        except zlib.error as exc:
            raise CallFailure(StatusCode.INTERNAL, f"a message cannot be decompressed: {exc}") from None
        if len(plain) > limit:
            raise CallFailure(StatusCode.RESOURCE_EXHAUSTED, f"a message is longer than {limit} bytes, decompressed")
        if not stream.eof or stream.unused_data:
            raise CallFailure(StatusCode.INTERNAL, "a compressed message is cut off, or has more behind its end")
        return plain

    return decompress


_DECOMPRESSORS = {name: _decompressor(window_bits) for name, window_bits in _WINDOW_BITS.items()}
