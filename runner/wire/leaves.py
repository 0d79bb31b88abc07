"""Codecs of the types that hold no other: scalars, texts, files, what is seen in them, literals and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from runner.errors import InvalidInput
from runner.signature.tree import JsonShape, Kind, Leaf, LiteralOf, Node, OptionalOf
from runner.types import JSON
from runner.wire import json, media, scalars
from runner.wire.mismatch import describe, is_none, misplaced, needs, set_none
from runner.wire.pb import inference_pb2 as pb
from runner.wire.value import ValueCodec, or_json_text

_SCALARS = {
    Kind.STR: ValueCodec(scalars.decode_str, scalars.encode_str, inner=scalars.STR_CONTENT),
    Kind.BYTES: ValueCodec(scalars.decode_bytes, scalars.encode_bytes),
    Kind.INT: ValueCodec(scalars.decode_int, scalars.encode_int),
    Kind.FLOAT: ValueCodec(scalars.decode_float, scalars.encode_float),
    Kind.BOOL: ValueCodec(scalars.decode_bool, scalars.encode_bool),
}

_FILES: dict[Kind, tuple[str, Callable[[Any], object], Callable[[object, Any], None]]] = {
    Kind.IMAGE: ("image", media.decode_image, media.fill_image),
    Kind.AUDIO: ("audio", media.decode_audio, media.fill_audio),
    Kind.VIDEO: ("video", media.decode_video, media.fill_video),
}

_SEEN: dict[Kind, tuple[str, Callable[[Any], object], Callable[[object, Any], None]]] = {
    Kind.CONCEPT: ("concepts", media.decode_concept, media.fill_concept),
    Kind.REGION: ("regions", media.decode_region, media.fill_region),
    Kind.FRAME: ("frames", media.decode_frame, media.fill_frame),
}
"""Types that sit in repeated fields: a single one as the only element, a list of them without parts."""


def repeated_field(item: Node) -> tuple[str, Callable[[Any], object]] | None:
    """Return where a list of Concepts, Regions or Frames has its elements, and their reader; None for other types."""
    leaf = item.item if isinstance(item, OptionalOf) else item
    if not isinstance(leaf, Leaf) or leaf.kind not in _SEEN:
        return None
    field, read, _ = _SEEN[leaf.kind]
    return field, read


def leaf_codec(kind: Kind) -> ValueCodec:
    """Return the codec of a plain or media type."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind is Kind.TEXT:
        return _TEXT
    if kind in _FILES:
        return or_json_text(_file(*_FILES[kind]))
    return or_json_text(_seen(*_SEEN[kind]))


def _decode_text(data: pb.Data) -> object:
    if data.HasField("text"):
        return media.decode_text(data.text)
    return media.decode_text(pb.Text(raw=scalars.decode_str(data)))


def _encode_text(value: object, data: pb.Data) -> None:
    data.text.SetInParent()
    media.fill_text(value, data.text)


_TEXT = ValueCodec(_decode_text, _encode_text, has_zero=False)


def _file(field: str, read: Callable[[Any], object], fill: Callable[[object, Any], None]) -> ValueCodec:
    what = f"an {field}" if field[0] in "ai" else f"a {field}"

    def decode(data: pb.Data) -> object:
        if not data.HasField(field):
            raise misplaced(data, what)
        return read(getattr(data, field))

    def encode(value: object, data: pb.Data) -> None:
        message = getattr(data, field)
        message.SetInParent()
        fill(value, message)

    return ValueCodec(decode, encode, has_zero=False)


def _seen(field: str, read: Callable[[Any], object], fill: Callable[[object, Any], None]) -> ValueCodec:
    what = f"a {field[:-1].capitalize()}"

    def decode(data: pb.Data) -> object:
        messages = getattr(data, field)
        if len(messages) != 1:
            raise InvalidInput(f"needs {what}, got {len(messages)} of them") if messages else misplaced(data, what)
        return read(messages[0])

    def encode(value: object, data: pb.Data) -> None:
        fill(value, getattr(data, field).add())

    return ValueCodec(decode, encode, has_zero=False)


def literal_codec(node: LiteralOf) -> ValueCodec:
    """Return the codec of one of a few values."""
    scalar = _SCALARS[node.kind]
    words = ", ".join(map(repr, node.choices))

    def decode(data: pb.Data) -> object:
        value = scalar.decode(data)
        if value not in node.choices:
            raise InvalidInput(f"needs one of {words}, got {describe(value)}")
        return value

    def encode(value: object, data: pb.Data) -> None:
        scalar.encode(value, data)
        if value not in node.choices:
            raise needs(f"one of {words}", value)

    return ValueCodec(decode, encode)


_SHAPES: dict[JsonShape, tuple[str, type]] = {
    JsonShape.ANY: ("a JSON document", object),
    JsonShape.WRAPPED: ("a JSON document", object),
    JsonShape.OBJECT: ("a JSON object", dict),
    JsonShape.ARRAY: ("a JSON list", list),
}


def json_codec(shape: JsonShape) -> ValueCodec:
    """Return the codec of JSON documents that stand for a certain Python value."""
    what, kind = _SHAPES[shape]
    holds_none = shape in (JsonShape.ANY, JsonShape.WRAPPED)
    wrap = JSON if shape is JsonShape.WRAPPED else None

    def decode(data: pb.Data) -> object:
        if data.HasField("struct_value"):
            document = json.decode_document(data.struct_value)
        elif text := data.string_value or data.text.raw:
            document = json.parse(text)
        elif holds_none and is_none(data):
            document = None
        else:
            raise misplaced(data, what)
        if not isinstance(document, kind):
            raise InvalidInput(f"needs {what}, got {describe(document)}")
        return document if wrap is None else wrap(document)

    def encode(value: object, data: pb.Data) -> None:
        value = json.own(value)
        if shape is JsonShape.OBJECT and not isinstance(value, Mapping):
            raise needs("a dict", value)
        if shape is JsonShape.ARRAY and not isinstance(value, list | tuple):
            raise needs("a list", cast(object, value))
        if value is None and holds_none:
            set_none(data)
        else:
            data.struct_value.SetInParent()
            json.encode_document(cast(object, value), data.struct_value)

    return ValueCodec(decode, encode, has_zero=False)
