"""What a payload is while nobody has read it."""

from __future__ import annotations

from typing import Final, TypeAlias

Payload: TypeAlias = bytes | memoryview
"""A serialized message; a view where it is long and was left where it came in."""

VIEW_FROM: Final = 16 * 1024
"""bytes from which on a payload is left where it lies: below, a copy costs less than what keeps a view."""
