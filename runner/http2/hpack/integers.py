"""Integers of RFC 7541, section 5.1: a prefix in the first byte, then seven bits a byte, low ones first."""

from __future__ import annotations

from runner.http2.hpack.errors import CompressionError

_MAX_SHIFT = 28
"""Five bytes behind the prefix hold any 32-bit number, and every size we could agree to. Longer ones, even of zeros,
are refused as the section asks: their only use is to keep a decoder busy."""


def encode_integer(number: int, prefix: int, pattern: int) -> bytes:
    """Return a number behind the bits of `pattern`, which leave `prefix` bits of the first byte free."""
    full = (1 << prefix) - 1
    if number < full:
        return bytes((pattern | number,))
    encoded = bytearray((pattern | full,))
    number -= full
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_rest(block: bytes, position: int, full: int) -> tuple[int, int]:
    """Read what follows a prefix of ones only.

    Args:
        block: where it stands.
        position: of the byte behind the prefix.
        full: the number that the prefix holds.

    Returns:
        The whole number, and the position behind it.

    Raises:
        CompressionError: it is too long.
        IndexError: the block ends before it does.
    """
    number, shift = full, 0
    while True:
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > _MAX_SHIFT:
            raise CompressionError("an integer is longer than 32 bits")
