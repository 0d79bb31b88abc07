"""Items that say by themselves whether they are whole: made of a seed and a place, with a checksum at the end."""

from __future__ import annotations

import struct
import zlib

_HEAD = struct.Struct("<QQ")
_CHECKSUM = struct.Struct("<I")
_SIZES = (0, 16, 200, 3_000, 40_000)  # bytes of the middle; the largest one goes beside the head on the link


def item(seed: int, place: int) -> bytes:
    """Return the item of a place in the stream of a seed."""
    head = _HEAD.pack(seed, place)
    body = head + _filled(head, _SIZES[(seed * 7 + place) % len(_SIZES)])
    return body + _CHECKSUM.pack(zlib.crc32(body))


def check(data: bytes, seed: int, place: int) -> None:
    """Raise ValueError unless `data` is the item of this place in the stream of this seed."""
    body = bytes(data[: -_CHECKSUM.size])
    if len(data) < _HEAD.size + _CHECKSUM.size or zlib.crc32(body) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
        raise ValueError(f"item {place} of seed {seed}: {len(data)} bytes with a wrong checksum")
    if (found := _HEAD.unpack_from(body)) != (seed, place):
        raise ValueError(f"item {place} of seed {seed}: got item {found[1]} of seed {found[0]}")


def _filled(head: bytes, size: int) -> bytes:
    return (head * (size // len(head) + 1))[:size]
