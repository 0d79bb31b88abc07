"""From a type to the pair of functions that read and write its values, compiled once per signature.

A value is a `Data` message that holds one field, according to its type; a container holds parts. What other clients
are known to send for a type is read as well: JSON text in place of anything that is not a string, single parts where
a repeated field is usual, and the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final, assert_never, cast

from runner.errors import InvalidInput
from runner.signature.tree import Array, FieldsOf, Json, Leaf, ListOf, LiteralOf, Node, OptionalOf, TupleOf
from runner.types import NamedFields
from runner.wire.leaves import json_codec, leaf_codec, literal_codec, repeated_field
from runner.wire.mismatch import EncodeError, expect_zero, is_none, misplaced, needs, set_none
from runner.wire.pb import inference_pb2 as pb
from runner.wire.value import ApartCodec, ValueCodec, or_json_text, under

_NO_LISTS: Final = (str, bytes, bytearray, AbstractSet, Mapping, NamedFields)
"""What has elements, and is not a list all the same."""


def compile_codec(node: Node) -> ValueCodec:
    """Return the reader and the writer of a type's values."""
    match node:
        case Leaf(kind=kind):
            return leaf_codec(kind)
        case LiteralOf():
            return literal_codec(node)
        case Json(shape=shape):
            return json_codec(shape)
        case Array(dtype=dtype):
            from runner.wire import arrays  # imports numpy

            return or_json_text(arrays.codec(dtype))
        case ListOf(item=item):
            return or_json_text(_list(item))
        case TupleOf(items=items):
            return or_json_text(_tuple(items))
        case FieldsOf(fields=fields):
            return or_json_text(_fields(fields))
        case OptionalOf(item=item):
            return _optional(compile_codec(item))
        case _:
            assert_never(node)


def _list(item: Node) -> ValueCodec:
    codec = compile_codec(item)
    repeated = repeated_field(item)
    decode_item, encode_item = codec.decode, codec.encode

    def decode(data: pb.Data) -> object:
        if repeated is not None and (messages := getattr(data, repeated[0])):
            return [repeated[1](message) for message in messages]
        parts = data.parts
        if not parts:
            expect_zero(data, "a list")
        values: list[object] = []
        add = values.append
        try:
            for part in parts:
                add(decode_item(part.data))
        except InvalidInput as error:
            error.path = f"[{len(values)}]{error.path}"
            raise
        return values

    def encode(value: object, data: pb.Data) -> None:
        items = _items(value, "a list")
        # A list that holds None has to go in parts, which have room for saying so.
        in_parts = repeated is None or any(element is None for element in items)
        for index, element in enumerate(items):
            try:
                encode_item(element, data.parts.add().data if in_parts else data)
            except EncodeError as error:
                error.path = f"[{index}]{error.path}"
                raise

    return ValueCodec(decode, encode)


def _tuple(nodes: Sequence[Node]) -> ValueCodec:
    codecs = [compile_codec(node) for node in nodes]
    what = f"a tuple of {len(codecs)}"

    def decode(data: pb.Data) -> object:
        parts = data.parts
        if len(parts) != len(codecs):
            raise InvalidInput(f"needs {what}, got {len(parts)} values") if parts else misplaced(data, what)
        return tuple(
            under(f"[{index}]", codec.decode, part.data)
            for index, (codec, part) in enumerate(zip(codecs, parts, strict=True))
        )

    def encode(value: object, data: pb.Data) -> None:
        items = list(_items(value, what))
        if len(items) != len(codecs):
            raise needs(what, value)
        for index, (codec, item) in enumerate(zip(codecs, items, strict=True)):
            part = data.parts.add()
            part.id = str(index)
            part.data.SetInParent()
            under(f"[{index}]", partial(codec.encode, item), part.data)

    return ValueCodec(decode, encode, has_zero=not codecs)


def _fields(fields: Sequence[tuple[str, Node]]) -> ValueCodec:
    codecs = {name: compile_codec(node) for name, node in fields}
    optional = {name for name, node in fields if isinstance(node, OptionalOf)}
    what = f"the named fields {', '.join(codecs)}"

    def check(names: AbstractSet[str], failure: Callable[[str], Exception]) -> None:
        if unknown := sorted(names - codecs.keys()):
            raise failure(f"needs {what}, got the unknown field {unknown[0]!r}")
        if missing := [name for name in codecs if name not in names and name not in optional]:
            raise failure(f"needs {what}, but {missing[0]!r} is missing")

    def decode(data: pb.Data) -> object:
        parts = {part.id: part.data for part in data.parts}
        if not parts:
            expect_zero(data, what)
        if len(parts) != len(data.parts):
            raise InvalidInput(f"needs {what}, got one of them twice")
        check(parts.keys(), InvalidInput)
        return NamedFields(
            **{
                name: under(f".{name}", codec.decode, parts[name]) if name in parts else None
                for name, codec in codecs.items()
            }
        )

    def encode(value: object, data: pb.Data) -> None:
        if not isinstance(value, NamedFields | Mapping):
            raise needs(what, value)
        values = cast(Mapping[str, object], value)
        check(values.keys(), EncodeError)
        for name, codec in codecs.items():
            if name in values:
                part = data.parts.add()
                part.id = name
                part.data.SetInParent()
                under(f".{name}", partial(codec.encode, values[name]), part.data)

    return ValueCodec(decode, encode, has_zero=not codecs)


def _optional(codec: ValueCodec) -> ValueCodec:
    apart = codec.apart

    def decode(data: pb.Data) -> object:
        if is_none(data) or (not codec.has_zero and not data.ByteSize()):
            return None
        return codec.decode(data)

    def encode(value: object, data: pb.Data) -> None:
        if value is None:
            set_none(data)
        else:
            codec.encode(value, data)

    def encode_apart(value: object, data: pb.Data) -> memoryview | None:
        if value is None or apart is None:
            return encode(value, data)
        return apart.encode(value, data)

    return ValueCodec(decode, encode, apart=apart and ApartCodec(apart.decode, encode_apart))


def _items(value: object, what: str) -> Iterable[object]:
    """Return the elements of a list, a tuple or an array."""
    if isinstance(value, list | tuple):
        return cast(list[object], value)
    if isinstance(value, _NO_LISTS) or not hasattr(value, "__len__"):
        raise needs(what, cast(object, value))
    if getattr(value, "shape", None) == () or not isinstance(value, Iterable):
        raise needs(what, value)
    return cast(Iterable[object], value)
