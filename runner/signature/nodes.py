"""One type hint becomes one node of the tree.

The only file that takes `typing` apart. Libraries that a hint may name (numpy, PIL, torch) are looked up among the
modules already loaded and never imported: if the library is not loaded, the hint cannot be one of its types.
"""

from __future__ import annotations

import enum
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, ForwardRef, Literal, TypeAlias, Union, cast

from runner.batch import Batch
from runner.params import Parameter
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

__all__ = ["Resolve", "StreamHint", "Unpublishable", "describe", "read_node", "read_stream"]

Resolve: TypeAlias = Callable[[str], object]
"""Evaluates an annotation written as text; raises `Unpublishable` if it cannot."""

LEAVES: Final[Mapping[object, Kind]] = {
    str: Kind.STR,
    bytes: Kind.BYTES,
    int: Kind.INT,
    float: Kind.FLOAT,
    bool: Kind.BOOL,
    Text: Kind.TEXT,
    Image: Kind.IMAGE,
    Concept: Kind.CONCEPT,
    Region: Kind.REGION,
    Frame: Kind.FRAME,
    Audio: Kind.AUDIO,
    Video: Kind.VIDEO,
}

_STREAMS: Final[Mapping[object, bool]] = {  # is it asynchronous?
    abc.Iterator: False,
    abc.Iterable: False,
    abc.Generator: False,
    abc.AsyncIterator: True,
    abc.AsyncIterable: True,
    abc.AsyncGenerator: True,
}

# Lists of these travel in a repeated field of their own, which has no room for a None.
_REPEATED: Final = (Kind.CONCEPT, Kind.REGION, Kind.FRAME)


class Unpublishable(Exception):
    """A hint has no place in the tree. The text says why, and what would work."""


@dataclass(frozen=True, slots=True)
class StreamHint:
    """An outermost `Iterator[item]` or one of its relatives."""

    item: object
    asynchronous: bool


def describe(hint: object) -> str:
    """Return a hint as an author would write it."""
    if isinstance(hint, str):
        return hint
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return repr(hint).replace("typing.", "").replace("collections.abc.", "").replace("runner.batch.", "")


def read_stream(hint: object, resolve: Resolve) -> StreamHint | None:
    """Tell a streamed argument or result from a plain one."""
    hint = _bare(hint, resolve)
    origin = typing.get_origin(hint) or hint
    asynchronous = _look_up(_STREAMS, origin)
    if asynchronous is None:
        return None
    arguments = typing.get_args(hint)
    if not arguments:
        raise Unpublishable(f"it does not say what it holds; write {describe(hint)}[str] or the like")
    return StreamHint(arguments[0], asynchronous)


def read_batch(hint: object, resolve: Resolve) -> tuple[object, bool]:
    """Return a hint without an outermost `Batch[...]`, and whether there was one.

    Raises:
        Unpublishable: it does not say what it holds, or holds a stream.
    """
    hint = _bare(hint, resolve)
    if hint is Batch:
        raise Unpublishable("it does not say what it holds; write Batch[str] or the like")
    if typing.get_origin(hint) is not Batch:
        return hint, False
    item = _bare(typing.get_args(hint)[0], resolve)
    if read_stream(item, resolve) is not None:
        raise Unpublishable(f"a batch holds no streams; write Iterator[Batch[...]] instead of {describe(hint)}")
    return item, True


def read_node(hint: object, resolve: Resolve) -> Node:
    """Return the node that a hint stands for.

    Raises:
        Unpublishable: there is none.
    """
    hint = _bare(hint, resolve)
    kind = _look_up(LEAVES, hint)
    if kind is not None:
        return Leaf(kind)
    node = _json_node(hint, resolve) or _library_node(hint)
    if node is not None:
        return node
    if isinstance(hint, NamedFields | dict):
        return _fields(cast(Mapping[str, object], hint), resolve)
    if isinstance(hint, tuple):
        return _tuple(cast(tuple[object, ...], hint), resolve)
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case origin if origin is list:
            return _list(arguments[0], resolve)
        case origin if origin is tuple:
            return _tuple(arguments, resolve)
        case origin if origin in (Union, types.UnionType):
            return _union(arguments, resolve)
        case origin if origin is Literal:
            return _literal(arguments)
        case _:
            raise Unpublishable(_advice(hint))


def _bare(hint: object, resolve: Resolve) -> object:
    """Take off what says nothing about the value: text, `Annotated`, `NewType`, `type X = ...`."""
    while True:
        if isinstance(hint, str):
            hint = resolve(hint)
        elif isinstance(hint, ForwardRef):
            hint = resolve(hint.__forward_arg__)
        elif typing.get_origin(hint) is Annotated:
            hint, *notes = typing.get_args(hint)
            if any(isinstance(note, Parameter) for note in notes):  # its limits would be lost unseen
                raise Unpublishable("Param(...) stands where a default stands; write `= Param(...)` behind the type")
        elif isinstance(hint, typing.NewType):
            hint = cast(object, hint.__supertype__)
        elif type(hint).__name__ == "TypeAliasType":  # exists from Python 3.12 on
            hint = cast(object, getattr(hint, "__value__"))  # noqa: B009 - the type is not known to 3.11
        else:
            return hint


def _look_up(table: Mapping[object, Any], hint: object) -> Any:
    try:
        return table.get(hint)
    except TypeError:  # a dict literal, an instance: not hashable, so not in the table
        return None


def _is_one_of(hint: object, *forms: object) -> bool:
    return any(hint is form for form in forms)


def _json_node(hint: object, resolve: Resolve) -> Json | None:
    if hint is JSON:
        return Json(JsonShape.WRAPPED)
    if _is_one_of(hint, dict, typing.Dict) or typing.is_typeddict(hint):  # noqa: UP006 - the bare typing form is what we look for
        return Json(JsonShape.OBJECT)
    if _is_one_of(hint, list, typing.List):  # noqa: UP006
        return Json(JsonShape.ARRAY)
    if typing.get_origin(hint) is not dict:
        return None
    key, value = typing.get_args(hint)
    if _bare(key, resolve) is not str:
        raise Unpublishable(f"a JSON object has text for keys; use dict[str, {describe(value)}]")
    if not _fits_json(value, resolve):
        raise Unpublishable(
            f"{describe(value)} does not fit into JSON; use NamedFields(name={describe(value)}, ...) "
            f"if the names are known, or a list"
        )
    return Json(JsonShape.OBJECT)


def _fits_json(hint: object, resolve: Resolve) -> bool:
    hint = _bare(hint, resolve)
    plain = (None, type(None), Any, object, str, int, float, bool, dict, list)
    if _is_one_of(hint, *plain) or typing.is_typeddict(hint):
        return True
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case origin if origin in (list, Union, types.UnionType):
            return all(_fits_json(argument, resolve) for argument in arguments)
        case origin if origin is dict:
            return not arguments or (_bare(arguments[0], resolve) is str and _fits_json(arguments[1], resolve))
        case origin:
            return origin is Literal or _is_one_of(hint, typing.Dict, typing.List)  # noqa: UP006


def _library_node(hint: object) -> Leaf | Array | None:
    numpy, pil, torch = (sys.modules.get(name) for name in ("numpy", "PIL.Image", "torch"))
    if numpy is not None and (typing.get_origin(hint) or hint) is numpy.ndarray:
        return Array(_dtype(typing.get_args(hint), numpy))
    if pil is not None and hint is pil.Image:
        return Leaf(Kind.IMAGE, pil=True)
    if pil is not None and hint is pil:
        raise Unpublishable("PIL.Image is a module; use PIL.Image.Image")
    if torch is not None and hint is torch.Tensor:
        return Array(library=ArrayType.TORCH)
    return None


def _dtype(arguments: tuple[object, ...], numpy: Any) -> str | None:
    """Return the dtype's name of `ndarray[shape, dtype[scalar]]`, None for any number."""
    for argument in arguments:
        if typing.get_origin(argument) is not numpy.dtype:
            continue
        scalar = typing.get_args(argument)[0]
        if not isinstance(scalar, type) or not issubclass(scalar, numpy.generic):
            return None  # a type variable, or Any
        if scalar in (numpy.generic, numpy.number, numpy.integer, numpy.inexact, numpy.floating):
            return None
        if not issubclass(scalar, numpy.number):
            raise Unpublishable(f"arrays hold numbers, not {scalar.__name__}; use an integer or floating dtype")
        return cast(str, numpy.dtype(scalar).name)
    return None


def _fields(fields: Mapping[str, object], resolve: Resolve) -> FieldsOf:
    if not fields:
        raise Unpublishable("it has no fields; write NamedFields(name=str, ...)")
    return FieldsOf(tuple((name, read_node(hint, resolve)) for name, hint in fields.items()))


def _tuple(items: tuple[object, ...], resolve: Resolve) -> TupleOf:
    if Ellipsis in items:
        raise Unpublishable(f"a tuple has a fixed length; use list[{describe(items[0])}]")
    if not items:
        raise Unpublishable("a tuple has to name its types; write tuple[str, int] or the like")
    return TupleOf(tuple(read_node(item, resolve) for item in items))


def _list(item: object, resolve: Resolve) -> ListOf | Json:
    try:
        node = read_node(item, resolve)
    except Unpublishable:
        if _fits_json(item, resolve):  # list[Any], list[int | str]: no single type, but still a JSON array
            return Json(JsonShape.ARRAY)
        raise
    if isinstance(node, OptionalOf) and isinstance(node.item, Leaf) and node.item.kind in _REPEATED:
        raise Unpublishable(f"a list of {node.item.kind.name.title()} has no room for None; leave missing ones out")
    return ListOf(node)


def _union(members: tuple[object, ...], resolve: Resolve) -> Node:
    present = [member for member in members if member not in (None, type(None))]
    if len(present) == 1:
        node = read_node(present[0], resolve)
    elif set(map(id, present)) == {id(int), id(float)}:  # a float argument takes whole numbers anyway
        node = Leaf(Kind.FLOAT)
    else:
        named = ", ".join(map(describe, present))
        other = (
            "JSON, whose .value is any of them"
            if all(_fits_json(member, resolve) for member in present)
            else "two arguments"
        )
        raise Unpublishable(f"a value has one type on the wire; choose one of {named}, or use {other}")
    if len(present) == len(members) or isinstance(node, OptionalOf):
        return node
    return OptionalOf(node)


def _literal(choices: tuple[object, ...]) -> Node:
    present = tuple(choice for choice in choices if choice is not None)
    for scalar in (str, bool, int):  # bool before int, of which it is a subclass
        if present and all(type(choice) is scalar for choice in present):
            node = LiteralOf(cast(tuple[str | int | bool, ...], present))
            return node if len(present) == len(choices) else OptionalOf(node)
    raise Unpublishable("the choices of a Literal have to be all str, all int or all bool")


def _advice(hint: object) -> str:
    """Say why a hint is no type of ours, and which is the nearest."""
    origin = typing.get_origin(hint) or hint
    if origin is Batch:
        return "only a whole argument or result can be a batch; use a list inside of one"
    inner = ", ".join(map(describe, typing.get_args(hint))) or "str"
    if _look_up(_STREAMS, origin) is not None:
        return "only a whole argument or result can be a stream; use a list inside of one"
    if hint is None or hint is type(None):
        return "a method has to return something; use bool if there is nothing to say"
    if hint is tuple or hint is typing.Tuple:  # noqa: UP006
        return "a tuple has to name its types; write tuple[str, int] or the like"
    if hint is NamedFields:
        return "it has to name its fields; write NamedFields(name=str, ...)"
    if hint is Any or hint is object:
        return "the wire needs a type; use dict or list for JSON"
    if origin in (set, frozenset, abc.Sequence, abc.Set, abc.Collection):
        return f"use list[{inner}]"
    if origin in (abc.Mapping, abc.MutableMapping):
        return f"use dict[{inner}]" if "," in inner else "use dict"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"use Literal[{', '.join(repr(member.value) for member in list(hint)[:4])}]"
    if isinstance(hint, type) and hint.__module__ == "numpy":
        return "use int or float, or np.ndarray"
    if isinstance(hint, type) and typing.get_type_hints(hint):
        return "a class of your own does not travel; use NamedFields(name=type, ...) or dict"
    return (
        "use str, bytes, int, float, bool, dict, np.ndarray, Text, Image, Audio, Video, Frame, Region, Concept, "
        "or a list, tuple or NamedFields of them"
    )
