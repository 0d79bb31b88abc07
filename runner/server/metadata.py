"""What of a call's metadata the model gets to see, packed for the link."""

from __future__ import annotations

from collections.abc import Sequence

from runner.workers.pairs import pack_pair

_SECRET = frozenset({"authorization", "cookie", "x-clarifai-session-token"})
_KEPT = 256
_KEPT_BYTES = 512
"""Packed pairs that are remembered, and how long a name and its value may be."""

_MAX_BYTES = 16 * 1024


class MetadataPacker:
    """Packs metadata without credentials. Clients repeat most of theirs on every call: packed pairs are remembered."""

    def __init__(self) -> None:
        self._packed: dict[tuple[str, str | bytes], bytes] = {}

    def __call__(self, metadata: Sequence[tuple[str, str | bytes]]) -> bytes:
        """Return the packed form. Values that are bytes are left out, and so is everything of an overlong block."""
        known = self._packed.get
        packed = b"".join([each if (each := known(pair)) is not None else self._pack(pair) for pair in metadata])
        return packed if len(packed) <= _MAX_BYTES else b""

    def _pack(self, pair: tuple[str, str | bytes]) -> bytes:
        name, value = pair
        packed = pack_pair(name, value) if isinstance(value, str) and _visible(name) else b""
        if len(name) + len(value) <= _KEPT_BYTES:
            if len(self._packed) >= _KEPT:
                self._packed.clear()
            self._packed[pair] = packed
        return packed


def _visible(name: str) -> bool:
    return name not in _SECRET and not name.startswith("grpc-")
