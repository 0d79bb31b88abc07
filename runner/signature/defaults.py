"""Defaults and choices as the text that a published signature holds, and back.

Clients decide by this text what they may leave out, so its rules are theirs: a string stands for itself, anything
else is JSON if JSON has it, and whatever Python prints if not. None has to be `null`.
"""

from __future__ import annotations

import ast
import json
from typing import cast

from runner.signature.method import OpaqueDefault
from runner.signature.tree import FieldsOf, Json, Kind, Leaf, ListOf, LiteralOf, Node, OptionalOf, TupleOf
from runner.types import JSON

__all__ = ["default_text", "parse_choice", "parse_default"]

_MAX_NESTED = 64
"""Brackets within brackets of a default that is read: the text is a server's, and readers are recursive."""


def default_text(default: object) -> str:
    """Return a default as text."""
    if isinstance(default, str):
        return default
    try:
        return json.dumps(default.value if isinstance(default, JSON) else default)
    except (TypeError, ValueError):  # bytes, arrays, media; or a structure that contains itself
        return str(default)


def parse_default(node: Node, text: str) -> object:
    """Return the value that a default's text stands for, or an `OpaqueDefault` if it cannot be told.

    The text `null` is None for every type. A `str` argument whose default is the word null is therefore misread, by
    Clarifai's clients too; it does no harm, since the server fills in the default of an argument that is left out.
    """
    if text == "null":
        return None
    bare = node.item if isinstance(node, OptionalOf) else node
    if _is_text(bare):
        return text
    if _nested(text) > _MAX_NESTED:
        return OpaqueDefault(text)
    if bare == Leaf(Kind.BYTES):
        return _parse_bytes(text)
    try:
        value = cast(object, json.loads(text))
    except ValueError:
        return OpaqueDefault(text or "...")
    try:
        return _shaped(bare, value)
    except TypeError:
        return OpaqueDefault(text)


def parse_choice(kind: Kind, text: str) -> object:
    """Return the value of a choice that was published as `str(choice)`."""
    try:
        match kind:
            case Kind.INT:
                return int(text)
            case Kind.FLOAT:
                return float(text)
            case Kind.BOOL:
                return {"True": True, "False": False, "true": True, "false": False}[text]
            case _:
                return text
    except (ValueError, KeyError):
        return text


def _nested(text: str) -> int:
    """Return how deep brackets are nested, those in strings counted too."""
    depth = deepest = 0
    for char in text:
        if char in "[{(":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]})":
            depth -= 1
    return deepest


def _is_text(node: Node) -> bool:
    return node == Leaf(Kind.STR) or (isinstance(node, LiteralOf) and node.kind is Kind.STR)


def _parse_bytes(text: str) -> object:
    try:
        value = cast(object, ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return OpaqueDefault(text or "...")
    return value if isinstance(value, bytes) else OpaqueDefault(text)


def _shaped(node: Node, value: object) -> object:
    """Give a JSON value the Python shape of its type.

    Raises:
        TypeError: the value is no such thing.
    """
    match node:
        case Leaf(Kind.FLOAT) if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case Leaf(Kind.INT) if isinstance(value, int) and not isinstance(value, bool):
            return value
        case Leaf(Kind.BOOL) if isinstance(value, bool):
            return value
        case Leaf(Kind.STR) if isinstance(value, str):
            return value
        case LiteralOf(choices) if value in choices:
            return value
        case Json():
            return value
        case OptionalOf(item):
            return None if value is None else _shaped(item, value)
        case ListOf(item) if isinstance(value, list):
            return [_shaped(item, element) for element in cast(list[object], value)]
        case TupleOf(items) if isinstance(value, list) and len(cast(list[object], value)) == len(items):
            return tuple(map(_shaped, items, cast(list[object], value)))
        case FieldsOf(fields) if isinstance(value, dict):
            members = cast(dict[str, object], value)
            return {name: _shaped(item, members[name]) for name, item in fields if name in members}
        case _:
            raise TypeError(f"{value!r} is not of type {node!r}")
