"""Varints, the numbers of the protobuf wire format: seven bits in a byte, low ones first, the top bit says "more"."""

from __future__ import annotations

from runner.errors import InvalidInput

_MAX_BYTES = 10
"""What 64 bits need; a longer one is not a varint."""


def encode(value: int) -> bytes:
    """Return a number from 0 to 2^64 - 1 in its shortest form."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode(buffer: bytes, position: int) -> tuple[int, int]:
    """Read the number at `position`.

    Returns:
        The number, and the position after it.

    Raises:
        IndexError: the buffer ends before the number does.
        InvalidInput: it does not end where the longest one would.
    """
    value = buffer[position] & 0x7F
    shift = 7
    for at in range(position, position + _MAX_BYTES):
        if buffer[at] < 0x80:
            return value, at + 1
        value |= (buffer[at + 1] & 0x7F) << shift
        shift += 7
    raise InvalidInput("the request is not a valid message")
