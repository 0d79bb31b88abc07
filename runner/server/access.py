"""Who may call: the configured keys, if there are any."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from runner.errors import Unauthenticated


class Access:
    """Checks the key that a call brings. Without configured keys every call may pass."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def check(self, metadata: Sequence[tuple[str, str | bytes]]) -> str:
        """Let a call pass; return a name for its key, empty if none is wanted.

        Args:
            metadata: the call's; `authorization: Key K` and `authorization: Bearer K` are understood.

        Raises:
            Unauthenticated: a key is wanted, and this is not one.
        """
        if not self._keys:
            return ""
        given = next((value for key, value in metadata if key == "authorization"), "")
        scheme, _, key = (given if isinstance(given, str) else "").partition(" ")
        candidate = key.strip().encode() if scheme.lower() in ("key", "bearer") else b""
        # Compare with every key, and in constant time: how long a refusal takes must tell nothing about the keys.
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        if not any(matches):
            raise Unauthenticated("this server wants a key, and the call has none or a wrong one")
        return f"key {matches.index(True) + 1}"
