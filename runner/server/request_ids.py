"""The ids under which logs speak of calls: what a call brings as its own, or one that is made for it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from typing import Final

_KEY: Final = "x-request-id"

_LONGEST: Final = 128
"""Characters of an id that are kept: it stands in lines of the log, and goes to the worker with the call."""


def brought_id(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    """Return the id that a call brings in its metadata, cut off where it is too long; empty if it brings none."""
    found = ""
    for name, value in metadata:
        if name == _KEY and isinstance(value, str):
            found = value[:_LONGEST]
    return found


class RequestIds:
    """Makes ids that no other call of this server has, nor one of the server before it."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._count = itertools.count(1)

    def new(self) -> str:
        """Return the next one."""
        return f"{self._prefix}-{next(self._count)}"

    def __repr__(self) -> str:
        return f"<RequestIds {self._prefix}>"
