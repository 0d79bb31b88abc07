"""Compressed messages: which codings there are, and both directions of each.

`deflate` is zlib's format here as everywhere in gRPC, in spite of its name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, TypeAlias

from runner.grpc_protocol.status import CallFailure, StatusCode

Decompress: TypeAlias = Callable[[bytes | memoryview, int], bytes | memoryview]
"""From a compressed message and the length that it may have at most to the message."""

IDENTITY: Final = "identity"

_WINDOW_BITS = {"gzip": 31, "deflate": 15}

CODINGS: Final = tuple(_WINDOW_BITS)
"""Those that make messages shorter, the better ones first."""

_SHORT: Final = 4 * 1024
"""bytes of a compressed message up to which it is read in one go."""

_TAKEN: Final = 64 * 1024
_MADE: Final = 1024 * 1024
"""bytes of a longer one that are taken, and made of it, at a time."""

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
    def decompress(message: bytes | memoryview, limit: int) -> bytes | memoryview:
        # One byte more than is allowed tells too much from just enough. zlib makes no more than it is asked for.
        most = limit + 1
        try:
            if len(message) <= _SHORT:
                stream = zlib.decompressobj(window_bits)
                plain: bytes | memoryview = stream.decompress(message, most)
                whole = stream.eof and not stream.unused_data
            else:
                made, whole = _in_pieces(window_bits, memoryview(message), most)
                plain = memoryview(made).toreadonly()
        except zlib.error as exc:
            raise CallFailure(StatusCode.INTERNAL, f"a message cannot be decompressed: {exc}") from None
        if len(plain) > limit:
            raise CallFailure(StatusCode.RESOURCE_EXHAUSTED, f"a message is longer than {limit} bytes, decompressed")
        if not whole:
            raise CallFailure(StatusCode.INTERNAL, "a compressed message is cut off, or has more behind its end")
        return plain

    return decompress


def _in_pieces(window_bits: int, message: memoryview, most: int) -> tuple[bytearray, bool]:
    """Return what a long message becomes, `most` bytes and perhaps a piece more, and whether it is whole.

    zlib itself would join half a gigabyte at the end in one go, and nobody else gets the interpreter meanwhile.
    """
    stream = zlib.decompressobj(window_bits)
    plain = bytearray()
    taken = 0
    while taken < len(message) and not stream.eof and len(plain) < most:
        rest: bytes | memoryview = message[taken : taken + _TAKEN]
        taken += len(rest)
        while rest and not stream.eof and len(plain) < most:
            plain += stream.decompress(rest, _MADE)
            rest = stream.unconsumed_tail
    # All was taken, and some may not have been made yet.
    while not stream.eof and len(plain) < most and (more := stream.decompress(b"", _MADE)):
        plain += more
    return plain, stream.eof and not stream.unused_data and taken == len(message)


_DECOMPRESSORS = {name: _decompressor(window_bits) for name, window_bits in _WINDOW_BITS.items()}
