"""Who may call, and how much at once: the key that a call brings, if keys are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from runner.errors import PermissionDenied, Unauthenticated
from runner.limits import CallerLimits
from runner.server.keyring import Keyring


class Caller(NamedTuple):
    """Who calls.

    Attributes:
        name: of its key; empty if no keys are wanted, and the host tells callers apart.
        limits: what it may have here at once; None: as much as there is room for.
    """

    name: str
    limits: CallerLimits | None


class Access:
    """Checks the key that a call brings. Where no keys are wanted every call may pass."""

    def __init__(self, keyring: Keyring, model_id: str, usual: CallerLimits) -> None:
        """Let nobody in yet.

        Args:
            keyring: the keys.
            model_id: the served model, which a key may not be for.
            usual: the limits of callers whose key says nothing else.
        """
        self._keyring = keyring
        self._model_id = model_id
        self._usual = usual
        self._stranger = Caller("", usual or None)

    def check(self, metadata: Sequence[tuple[str, str | bytes]]) -> Caller:
        """Let a call pass; return whose it is.

        Args:
            metadata: the call's; `authorization: Key K` and `authorization: Bearer K` are understood.

        Raises:
            Unauthenticated: a key is wanted, and this is not one.
            PermissionDenied: it is one, for other models.
        """
        if not self._keyring.wanted:
            return self._stranger
        given = next((value for key, value in metadata if key == "authorization"), "")
        scheme, _, value = (given if isinstance(given, str) else "").partition(" ")
        key = self._keyring.find(value.strip() if scheme.lower() in ("key", "bearer") else "")
        if key is None:
            raise Unauthenticated("this server wants a key, and the call has none or a wrong one")
        if key.models and self._model_id not in key.models:
            raise PermissionDenied(f"the key {key.name!r} is not for the model {self._model_id!r}")
        return Caller(key.name, key.limits(self._usual) or None)
