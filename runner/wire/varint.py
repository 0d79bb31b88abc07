"""Varints, the numbers of the protobuf wire format: seven bits in a byte, low ones first, the top bit says "more"."""

from __future__ import annotations

from runner.errors import InvalidInput
from runner.wire.payload import Payload

_MAX_SHIFT = 63
"""Of the tenth byte, the last that 64 bits need; a longer one is not a varint."""


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


def decode(buffer: Payload, position: int) -> tuple[int, int]:
    """Read the number at `position`.

    Returns:
        The number, and the position after it.

    Raises:
        IndexError: the buffer ends before the number does.
        InvalidInput: it does not end where the longest one would.
    """
    value = buffer[position]
    position += 1
    if value < 0x80:
        return value, position
    byte = buffer[position]
    value += (byte - 1) << 7  # the first byte's top bit is 1 << 7: taken off here
    position += 1
    shift = 14
    while byte > 0x7F:
        if shift > _MAX_SHIFT:
            raise InvalidInput("the request is not a valid message")
        byte = buffer[position]
        value += (byte - 1) << shift
        position += 1
        shift += 7
    return value, position
