"""What of a call's metadata the model gets to see, packed for the link."""

from __future__ import annotations

from collections.abc import Sequence

from runner.workers.frames import pack_pairs

_SECRET = frozenset({"authorization", "cookie", "x-clarifai-session-token"})
_KEPT = 1024
_MAX_BYTES = 16 * 1024


class MetadataPacker:
    """Packs metadata without credentials. Clients repeat theirs on every call, so the packed form is remembered."""

    def __init__(self) -> None:
        self._packed: dict[tuple[tuple[str, str | bytes], ...], bytes] = {}

    def __call__(self, metadata: Sequence[tuple[str, str | bytes]]) -> bytes:
        """Return the packed form. Values that are bytes are left out, and so is everything of an overlong block."""
        key = tuple(metadata)
        packed = self._packed.get(key)
        if packed is None:
            if len(self._packed) >= _KEPT:
                self._packed.clear()
            packed = pack_pairs([(name, value) for name, value in key if _visible(name) and isinstance(value, str)])
            if len(packed) > _MAX_BYTES:
                packed = b""
            self._packed[key] = packed
        return packed


def _visible(name: str) -> bool:
    return name not in _SECRET and not name.startswith("grpc-")
