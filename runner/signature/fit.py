"""Whether a default is a value of its argument's type: it is what the method is given if a caller leaves it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never, cast

from runner.signature.tree import (
    Array,
    FieldsOf,
    Json,
    JsonShape,
    Kind,
    Leaf,
    ListOf,
    LiteralOf,
    Node,
    OptionalOf,
    TupleOf,
)
from runner.types import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text, Video

__all__ = ["SCALARS", "fits"]

_TYPES: Final[Mapping[Kind, tuple[type, ...]]] = {
    Kind.STR: (str,),
    Kind.BYTES: (bytes,),
    Kind.INT: (int,),
    Kind.FLOAT: (float, int),
    Kind.BOOL: (bool,),
    Kind.TEXT: (Text,),
    Kind.IMAGE: (Image,),
    Kind.CONCEPT: (Concept,),
    Kind.REGION: (Region,),
    Kind.FRAME: (Frame,),
    Kind.AUDIO: (Audio,),
    Kind.VIDEO: (Video,),
}

SCALARS: Final = (Kind.STR, Kind.BYTES, Kind.INT, Kind.FLOAT, Kind.BOOL)

_SHAPES: Final[Mapping[JsonShape, type | tuple[type, ...]]] = {
    JsonShape.ANY: object,
    JsonShape.OBJECT: Mapping,
    JsonShape.ARRAY: (list, tuple),
    JsonShape.WRAPPED: JSON,
}


def fits(node: Node, value: Any) -> bool:
    """Tell whether a value is of a type. A tuple may stand for a list, and of JSON only the outermost shape counts."""
    match node:
        case Leaf(kind, pil):
            return _is_leaf(kind, value) or (pil and hasattr(value, "mode"))
        case LiteralOf(choices):
            return _is_leaf(node.kind, value) and value in choices
        case OptionalOf(item):
            return value is None or fits(item, value)
        case Json(shape):
            return isinstance(value, _SHAPES[shape])
        case Array():
            return hasattr(value, "dtype") and hasattr(value, "shape")
        case ListOf(item):
            return isinstance(value, list | tuple) and all(fits(item, each) for each in cast(Sequence[Any], value))
        case TupleOf(items):
            if not isinstance(value, list | tuple):
                return False
            elements = cast(Sequence[Any], value)
            return len(elements) == len(items) and all(map(fits, items, elements))
        case FieldsOf(fields):
            if not isinstance(value, NamedFields | Mapping):
                return False
            members = cast(Mapping[str, Any], value)
            return len(members) == len(fields) and all(
                name in members and fits(item, members[name]) for name, item in fields
            )
        case _:
            assert_never(node)


def _is_leaf(kind: Kind, value: object) -> bool:
    """True is no int here, though Python says so; and what cannot be sent is none of its type."""
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind is not Kind.BOOL):
        return False
    if kind is Kind.INT:
        return -(2**63) <= cast(int, value) < 2**63
    return kind is not Kind.STR or _is_utf8(cast(str, value))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
