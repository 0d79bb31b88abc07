"""Pairs of metadata as the bytes that calls carry to a worker, where only some methods read them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

Pairs: TypeAlias = tuple[tuple[str, str], ...]

_PAIR = struct.Struct("<II")


def pack_pair(name: str, value: str) -> bytes:
    """Return one pair as a part of these bytes."""
    key, text = name.encode(), value.encode()
    return _PAIR.pack(len(key), len(text)) + key + text


def pack_pairs(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return pairs as these bytes."""
    return b"".join([pack_pair(name, value) for name, value in pairs])


def unpack_pairs(data: bytes) -> Pairs:
    """Return the pairs that `pack_pairs` was given."""
    pairs: list[tuple[str, str]] = []
    position = 0
    while position < len(data):
        name_size, size = _PAIR.unpack_from(data, position)
        name = position + _PAIR.size
        value = name + name_size
        position = value + size
        pairs.append((data[name:value].decode(), data[value:position].decode()))
    return tuple(pairs)
