"""Heads of calls as bytes: path, peer and metadata; and metadata that is sent behind a reply.

Names and values in turn, a line each: HTTP allows no line's end in them (RFC 9113, 8.2.1). The value of a name that
ends with `-bin` is bytes, and stands there in hex.

Clients repeat their heads. So a head is packed once for all calls that share their metadata, as those of a connection
do that have equal header blocks, and read once for all that have the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

Pair: TypeAlias = tuple[str, str | bytes]

KEPT: Final = 1024
"""heads that are remembered. All are forgotten at once when there are more."""

LONGEST_KEPT: Final = 4096
"""bytes of a head that is remembered: callers say how long it is."""


class Head(NamedTuple):
    """What a head says. `peer`: the host that calls."""

    path: str
    peer: str
    metadata: Sequence[Pair]


class HeadPacker:
    """Packs heads of one RPC."""

    def __init__(self, path: str) -> None:
        self._path = path
        # By identity, which is sooner told than equality; what is kept here cannot lose it to something else.
        self._packed: dict[int, tuple[Sequence[Pair], str, bytes]] = {}

    def __call__(self, peer: str, metadata: Sequence[Pair]) -> bytes:
        """Return the bytes of a head. Metadata that was packed must not be changed."""
        known = self._packed.get(id(metadata))
        if known is not None and known[0] is metadata and known[1] == peer:
            return known[2]
        packed = f"{self._path}\n{peer}\n{_text(metadata)}".encode()
        if len(packed) <= LONGEST_KEPT:
            if len(self._packed) >= KEPT:
                self._packed.clear()
            self._packed[id(metadata)] = metadata, peer, packed
        return packed


def read_head(packed: bytes) -> Head:
    """Return what a head says.

    Raises:
        ValueError: it is none.
    """
    path, peer, text = packed.decode().split("\n", 2)
    return Head(path, peer, tuple(_pairs(text)))


def pack_trailers(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return metadata that is all text as bytes."""
    return _text(pairs).encode() if pairs else b""


def read_trailers(packed: bytes) -> list[tuple[str, str]]:
    """Return what `pack_trailers` was given."""
    return [(name, str(value)) for name, value in _pairs(packed.decode())]


def _text(pairs: Iterable[Pair]) -> str:
    return "\n".join(
        [part for name, value in pairs for part in (name, value if isinstance(value, str) else value.hex())]
    )


def _pairs(text: str) -> Iterable[Pair]:
    if not text:
        return ()
    parts = iter(text.split("\n"))
    return [
        (name, bytes.fromhex(value) if name.endswith("-bin") else value)
        for name, value in zip(parts, parts, strict=True)
    ]
