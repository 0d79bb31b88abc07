"""Python source of a type and of a value: what a reader could type to get it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never, cast

from runner.signature.tree import (
    Array,
    ArrayType,
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

__all__ = ["type_source", "value_source"]

_JSON_TYPES = {
    JsonShape.ANY: "dict | list",
    JsonShape.OBJECT: "dict",
    JsonShape.ARRAY: "list",
    JsonShape.WRAPPED: "JSON",
}

_PLAIN_KINDS: Final = (Kind.STR, Kind.BYTES, Kind.INT, Kind.FLOAT, Kind.BOOL)


def type_source(node: Node) -> str:
    """Return a type as a hint, such as `list[tuple[str, Image]]`."""
    match node:
        case Leaf(kind, pil):
            if pil:
                return "PIL.Image.Image"
            return kind.value.lower() if kind in _PLAIN_KINDS else kind.value.title()
        case Json(shape):
            return _JSON_TYPES[shape]
        case Array(library=library):
            return "torch.Tensor" if library is ArrayType.TORCH else "np.ndarray"
        case ListOf(item):
            return f"list[{type_source(item)}]"
        case TupleOf(items):
            return f"tuple[{', '.join(map(type_source, items))}]"
        case FieldsOf(fields):
            return f"NamedFields({', '.join(f'{name}={type_source(item)}' for name, item in fields)})"
        case OptionalOf(item):
            return f"{type_source(item)} | None"
        case LiteralOf(choices):
            return f"Literal[{', '.join(map(repr, choices))}]"
        case _:
            assert_never(node)


def value_source(value: object, names: Mapping[str, str] | None = None) -> str | None:
    """Return an expression that makes an equal value, or None if there is no short way to write one.

    Args:
        value: plain values, the data types, numpy arrays, and lists, tuples and dicts of these.
        names: expressions for which the program has a name: the name is written instead.
    """
    writer = _WRITERS.get(type(value))
    if writer is None and type(value).__module__ == "numpy" and type(value).__name__ == "ndarray":
        writer = _array
    source = None if writer is None else writer(value, names or {})
    return source if source is None or names is None else names.get(source, source)


def _float(value: float, names: Mapping[str, str]) -> str:
    return repr(value) if math.isfinite(value) else f"float({str(value)!r})"


def _sequence(value: list[object] | tuple[object, ...], names: Mapping[str, str]) -> str | None:
    items = [value_source(item, names) for item in value]
    written = [item for item in items if item is not None]
    if len(written) < len(items):
        return None
    if isinstance(value, list):
        return f"[{', '.join(written)}]"
    return f"({', '.join(written)}{',' if len(written) == 1 else ''})"


def _dict(value: dict[object, object], names: Mapping[str, str]) -> str | None:
    keys, values = _sequence(list(value), names), [value_source(item, names) for item in value.values()]
    if keys is None or None in values:
        return None
    return "{" + ", ".join(f"{value_source(key)}: {item}" for key, item in zip(value, values, strict=True)) + "}"


def _array(value: Any, names: Mapping[str, str]) -> str | None:
    if value.size > 16:
        return None
    return f"np.array({value.tolist()!r}, dtype={value.dtype.name!r})"


def _text(value: Text, names: Mapping[str, str]) -> str:
    return f"Text(url={value.url!r})" if value.url and not value.text else f"Text({value.text!r})"


def _file(value: Image | Audio | Video, names: Mapping[str, str]) -> str:
    name = type(value).__name__
    if value.url or not value.bytes:
        return f"{name}(url={value.url!r})"
    return f"{name}(bytes=base64.b64decode({base64.b64encode(value.bytes).decode()!r}))"


def _call(name: str, names: Mapping[str, str], *positional: object, **keywords: object) -> str | None:
    """Write a call with those keywords that say something."""
    parts = [value_source(value, names) for value in positional]
    for keyword, value in keywords.items():
        if value is not None and value != [] and value != "":
            source = value_source(value, names)
            parts.append(None if source is None else f"{keyword}={source}")
    written = [part for part in parts if part is not None]
    return f"{name}({', '.join(written)})" if len(written) == len(parts) else None


def _concept(value: Concept, names: Mapping[str, str]) -> str | None:
    return _call("Concept", names, value.name, value.value)


def _region(value: Region, names: Mapping[str, str]) -> str | None:
    return _call(
        "Region",
        names,
        box=value.box,
        concepts=value.concepts,
        mask=value.mask,
        point=value.point,
        text=value.text,
        track_id=value.track_id,
    )


def _frame(value: Frame, names: Mapping[str, str]) -> str | None:
    return _call("Frame", names, image=value.image, regions=value.regions, time=value.time, index=value.index)


def _named_fields(value: NamedFields, names: Mapping[str, str]) -> str | None:
    return _dict(dict(value.items()), names)


def _json(value: JSON, names: Mapping[str, str]) -> str | None:
    return value_source(value.value, names)


def _repr(value: object, names: Mapping[str, str]) -> str:
    return repr(value)


_WRITERS: Final = cast(
    Mapping[type, Callable[[object, Mapping[str, str]], str | None]],
    {
        type(None): _repr,
        bool: _repr,
        int: _repr,
        str: _repr,
        bytes: _repr,
        float: _float,
        list: _sequence,
        tuple: _sequence,
        dict: _dict,
        Text: _text,
        Image: _file,
        Audio: _file,
        Video: _file,
        Concept: _concept,
        Region: _region,
        Frame: _frame,
        NamedFields: _named_fields,
        JSON: _json,
    },
)
