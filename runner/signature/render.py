"""A signature as people and tools read it: one line of Python, and an `inspect.Signature`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import GenericAlias
from typing import Any, Final, Literal, Union, assert_never, cast

from runner.signature.method import REQUIRED, Argument, MethodSignature
from runner.signature.source import type_source, value_source
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

__all__ = ["python_signature", "render"]

_LONGEST_DEFAULT = 80  # characters; a longer one hides the signature it belongs to

_CLASSES: Final[Mapping[Kind, type]] = {
    Kind.STR: str,
    Kind.BYTES: bytes,
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: bool,
    Kind.TEXT: Text,
    Kind.IMAGE: Image,
    Kind.CONCEPT: Concept,
    Kind.REGION: Region,
    Kind.FRAME: Frame,
    Kind.AUDIO: Audio,
    Kind.VIDEO: Video,
}

_JSON_CLASSES: Final[Mapping[JsonShape, Any]] = {
    JsonShape.ANY: dict[str, Any] | list[Any],
    JsonShape.OBJECT: dict[str, Any],
    JsonShape.ARRAY: list[Any],
    JsonShape.WRAPPED: JSON,
}


def render(signature: MethodSignature) -> str:
    """Return a method as one line, `def predict(prompt: str, top_k: int = 5) -> dict:`."""
    parts: list[str] = []
    for argument, keyword_only, first in _in_python_order(signature):
        if keyword_only and first:
            parts.append("*")
        hint = type_source(argument.node)
        part = f"{argument.name}: {f'Iterator[{hint}]' if argument.streamed else hint}"
        if _may_be_left_out(argument):
            default = None if argument.default is REQUIRED else argument.default
            source = value_source(default) or "..."
            part += f" = {source if len(source) <= _LONGEST_DEFAULT else '...'}"
        parts.append(part)
    result = type_source(signature.result)
    if signature.cardinality.streams_output:
        result = f"Iterator[{result}]"
    return f"def {signature.name}({', '.join(parts)}) -> {result}:"


def python_signature(signature: MethodSignature) -> inspect.Signature:
    """Return what `inspect.signature` says about a client's method. Arrays import numpy for their hint."""
    parameters: list[inspect.Parameter] = []
    for argument, keyword_only, _ in _in_python_order(signature):
        hint = _hint(argument.node)
        default = inspect.Parameter.empty
        if _may_be_left_out(argument):
            default = None if argument.default is REQUIRED else argument.default
        parameters.append(
            inspect.Parameter(
                argument.name,
                inspect.Parameter.KEYWORD_ONLY if keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=_iterator(hint) if argument.streamed else hint,
            )
        )
    result = _hint(signature.result)
    return inspect.Signature(
        parameters, return_annotation=_iterator(result) if signature.cardinality.streams_output else result
    )


def _may_be_left_out(argument: Argument) -> bool:
    """Tell whether a call may do without: there is a default, or None is a value and stands for it."""
    return not argument.streamed and (not argument.required or isinstance(argument.node, OptionalOf))


def _in_python_order(signature: MethodSignature) -> Iterator[tuple[Argument, bool, bool]]:
    """Yield each argument, whether Python can take it by keyword only, and whether it is the first such.

    Python has no positional argument without default behind one with a default; the method itself declared those
    behind a `*`.
    """
    optional_seen = keyword_only = False
    for argument in signature.arguments:
        optional = _may_be_left_out(argument)
        first = optional_seen and not optional and not keyword_only
        keyword_only = keyword_only or first
        optional_seen = optional_seen or optional
        yield argument, keyword_only, first


def _iterator(item: object) -> object:
    return GenericAlias(Iterator, (item,))


def _hint(node: Node) -> Any:
    match node:
        case Leaf(kind):
            return _CLASSES[kind]
        case Json(shape):
            return _JSON_CLASSES[shape]
        case Array(library=ArrayType.TORCH):
            return "torch.Tensor"  # as text: a client must not import torch to print a signature
        case Array():
            import numpy as np

            return np.ndarray
        case ListOf(item):
            return GenericAlias(list, (_hint(item),))
        case TupleOf(items):
            return GenericAlias(tuple, tuple(map(_hint, items)))
        case FieldsOf(fields):
            return NamedFields(**{name: _hint(item) for name, item in fields})
        case OptionalOf(item):
            return _optional(_hint(item), node)
        case LiteralOf(choices):
            return cast(Any, Literal)[choices]
        case _:
            assert_never(node)


def _optional(hint: Any, node: Node) -> Any:
    try:
        return hint | None
    except TypeError:
        pass
    try:
        return cast(Any, Union)[hint, None]
    except TypeError:  # named fields are no class, and a union holds classes only
        return type_source(node)
