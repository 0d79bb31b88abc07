"""What a payload is while nobody has read it, and a reply while nobody has put it together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

Payload: TypeAlias = bytes | memoryview
"""A serialized message; a view where it is long and was left where it came in."""

VIEW_FROM: Final = 16 * 1024
"""bytes from which on a payload is left where it lies: below, a copy costs less than what keeps a view."""

Join: TypeAlias = Callable[[Sequence[Payload]], Payload]
"""Puts the pieces of a message together. From any thread."""


class LongReply(NamedTuple):
    """A successful reply with one output, in the pieces that a transport sends: nobody has to join them."""

    head: bytes
    output: Payload
