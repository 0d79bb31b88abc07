"""A method's arguments as they are typed in a shell, turned into the values of their types.

`@PATH` stands for what is in a file, whatever the type (`@@` begins a text with an @). Media are files by nature, so
for them the @ may be left out, and a URL is passed on. Lists, tuples, named fields, arrays, regions and so on are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from runner.cli.usage import UsageError
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

__all__ = ["parse_value"]

T = TypeVar("T")

_MEDIA: dict[Kind, type[Image | Audio | Video]] = {Kind.IMAGE: Image, Kind.AUDIO: Audio, Kind.VIDEO: Video}
_URL_STARTS = ("http://", "https://", "data:")
_NO_JSON = ("inf", "infinity", "nan")
"""Numbers as Python prints them, for which JSON has no words."""
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_value(node: Node, text: str, option: str) -> object:
    """Return the value of type `node` that a text stands for.

    Args:
        node: the type.
        text: what was typed.
        option: where it was typed, such as `--image`; errors begin with it.

    Raises:
        UsageError: the text is no such value, or its file cannot be read.
    """
    match node:
        case OptionalOf(item):
            return None if text == "null" and not _is_text(item) else parse_value(item, text, option)
        case Leaf(kind) if kind in _MEDIA:
            return _media(_MEDIA[kind], text, option)
        case Leaf(Kind.BYTES):
            return _file(text[1:], option) if _is_file(text) else _octets(text, option)
        case Leaf(Kind.STR):
            return _text(text, option)
        case Leaf(Kind.TEXT):
            return Text(url=text) if text.startswith(_URL_STARTS) else Text(_text(text, option))
        case Leaf(Kind.CONCEPT) if not text.startswith(("{", "@")):
            return Concept(text)
        case Array() if _is_file(text) and text.endswith(".npy"):
            return _npy(text[1:], option)
        case LiteralOf(choices):
            return _choice(choices, text, option)
        case Leaf(Kind.BOOL) if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        case Leaf(Kind.FLOAT) if text.lower().lstrip("+-") in _NO_JSON:
            return float(text)
        case _:
            return _from_json(node, _json(_text(text, option), node, option), option)


def _from_json(node: Node, value: object, path: str) -> object:
    """Return the value of type `node` that a JSON document stands for; texts in it are as they are typed."""
    match node:
        case OptionalOf(item):
            return None if value is None else _from_json(item, value, path)
        case ListOf(item):
            return [_from_json(item, element, f"{path}[{at}]") for at, element in enumerate(_list(value, path))]
        case TupleOf(items):
            elements = _list(value, path)
            if len(elements) != len(items):
                raise UsageError(f"{path}: needs {len(items)} elements, got {len(elements)}")
            pairs = zip(items, elements, strict=True)
            return tuple(_from_json(item, element, f"{path}[{at}]") for at, (item, element) in enumerate(pairs))
        case FieldsOf(fields):
            given = _object(value, path, [name for name, _ in fields])
            return NamedFields(
                **{name: _from_json(field, given[name], f"{path}.{name}") for name, field in fields if name in given}
            )
        case Json(shape):
            return JSON(value) if shape is JsonShape.WRAPPED else value
        case Array():
            return _array(node, value, path)
        case LiteralOf(choices):
            return _choice(choices, value if isinstance(value, str) else json.dumps(value), path)
        case Leaf(kind):
            return _leaf(kind, value, path)


def _leaf(kind: Kind, value: object, path: str) -> object:
    match kind:
        case Kind.INT if isinstance(value, int) and not isinstance(value, bool):
            return value
        case Kind.FLOAT if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        case Kind.BOOL if isinstance(value, bool):
            return value
        case Kind.CONCEPT if not isinstance(value, str):
            return _made(Concept, _object(value, path, ["name", "value", "id"]), path)
        case Kind.REGION:
            return _region(_object(value, path, ["box", "concepts", "mask", "point", "text", "track_id", "id"]), path)
        case Kind.FRAME:
            return _frame(_object(value, path, ["image", "regions", "time", "index", "id"]), path)
        case Kind.INT | Kind.FLOAT | Kind.BOOL:
            raise UsageError(f"{path}: needs {_WANTED[kind]}, got {json.dumps(value)}")
        case _ if isinstance(value, str):
            return parse_value(Leaf(kind), value, path)
        case _:
            raise UsageError(f"{path}: needs a string, got {json.dumps(value)}")


_WANTED = {Kind.INT: "a whole number", Kind.FLOAT: "a number", Kind.BOOL: "true or false"}


def _region(given: dict[str, Any], path: str) -> Region:
    concepts = _from_json(ListOf(Leaf(Kind.CONCEPT)), given.pop("concepts", []), f"{path}.concepts")
    mask = given.pop("mask", None)
    image = None if mask is None else _leaf(Kind.IMAGE, mask, f"{path}.mask")
    return _made(Region, {**given, "concepts": concepts, "mask": image}, path)


def _frame(given: dict[str, Any], path: str) -> Frame:
    regions = _from_json(ListOf(Leaf(Kind.REGION)), given.pop("regions", []), f"{path}.regions")
    image = given.pop("image", None)
    picture = None if image is None else _leaf(Kind.IMAGE, image, f"{path}.image")
    return _made(Frame, {**given, "image": picture, "regions": regions}, path)


def _made(kind: type[T], given: dict[str, Any], path: str) -> T:
    try:
        return kind(**given)
    except TypeError as error:  # a name that is missing, or is a number; a box that is no list
        reason = str(error).removeprefix(f"{kind.__name__}.__init__() ")
        raise UsageError(f"{path}: this object is no {kind.__name__}: {reason}") from None


def _media(media: type[Image | Audio | Video], text: str, option: str) -> Image | Audio | Video:
    if text.startswith(_URL_STARTS):
        return media(url=text)
    return media(bytes=_file(text.removeprefix("@"), option))


def _array(node: Array, value: object, path: str) -> object:
    import numpy as np

    try:
        array = np.array(value, dtype=node.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{path}: not an array of {node.dtype or 'numbers'}: {error}") from None
    if array.dtype.kind not in "iufc":
        raise UsageError(f"{path}: needs an array of numbers, such as [[1, 2], [3, 4]], or @FILE.npy")
    return array


def _npy(path: str, option: str) -> object:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{option}: cannot read {path}: {error}") from None


def _choice(choices: tuple[str | int | bool, ...], text: str, option: str) -> object:
    for choice in choices:
        if text == (choice if isinstance(choice, str) else json.dumps(choice)):
            return choice
    raise UsageError(f"{option}: got {text!r}, needs one of {', '.join(map(str, choices))}")


def _json(text: str, node: Node, option: str) -> object:
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError) as error:
        wanted = _WANTED.get(node.kind, "JSON") if isinstance(node, Leaf) else _wanted_json(node)
        looks_like_it = text.lstrip()[:1] in ("[", "{") and isinstance(error, ValueError)
        what = f" ({error})" if looks_like_it else ""
        raise UsageError(f"{option}: got {_short(text)}, needs {wanted}{what}") from None


def _wanted_json(node: Node) -> str:
    match node:
        case ListOf(Leaf(Kind.STR)):
            return """a JSON list, such as '["a", "b"]'"""
        case ListOf() | TupleOf() | Json(JsonShape.ARRAY):
            return "a JSON list"
        case FieldsOf() | Json(JsonShape.OBJECT):
            return "a JSON object"
        case Array():
            return "numbers in JSON, such as '[[1, 2], [3, 4]]', or @FILE.npy"
        case _:
            return "JSON"


def _object(value: object, path: str, known: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{path}: needs a JSON object, got {_short(json.dumps(value))}")
    given = dict(cast(Mapping[str, Any], value))
    for name in given:
        if name not in known:
            raise UsageError(f"{path}: has no field {name!r}; its fields are {', '.join(known)}")
    return given


def _list(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise UsageError(f"{path}: needs a JSON list, got {_short(json.dumps(value))}")
    return cast(list[object], value)


def _is_text(node: Node) -> bool:
    return isinstance(node, Leaf) and node.kind in (Kind.STR, Kind.TEXT)


def _is_file(text: str) -> bool:
    return text.startswith("@") and not text.startswith("@@")


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("@@") else text


def _octets(text: str, option: str) -> bytes:
    try:
        # A shell may pass any bytes; those that are no UTF-8 are surrogates in what Python makes of them.
        return _unescaped(text).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(
            f"{option}: {_short(ascii(text))} cannot be written as UTF-8; put the bytes into @FILE"
        ) from None


def _text(text: str, option: str) -> str:
    if not _is_file(text):
        return _unescaped(text)
    try:
        return _file(text[1:], option).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{option}: {text[1:]} is not a UTF-8 text") from None
    except UsageError as error:
        raise UsageError(f"{error}; write @@ for a text that begins with @") from None


def _file(path: str, option: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError) as error:  # a path may have no zeros
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{option}: cannot read {path!r}: {reason}") from None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
