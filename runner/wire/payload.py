"""What a payload is while nobody has read it."""

from __future__ import annotations

from typing import TypeAlias

Payload: TypeAlias = bytes | memoryview
"""A serialized message; a view where it is long and was left where the link put it."""
