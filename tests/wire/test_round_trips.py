"""Encode and decode are inverses, for values of every type, as arguments and as results, up to what is documented:

whole JSON numbers come back as int, scores and coordinates have 32 bits, a frame's time is in milliseconds.
"""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InvalidInput
from runner.signature.method import Argument, Cardinality, MethodSignature
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
from runner.wire.call import CallCodec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
blobs = st.binary(max_size=20)
floats32 = st.floats(width=32, allow_nan=False)
times = st.integers(0, 2**40).map(lambda milliseconds: milliseconds / 1000)


def files(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda url, data: kind(url=url, bytes=data), texts, blobs)


images = files(Image)
concepts = st.builds(Concept, texts, floats32, texts)
regions = st.builds(
    Region,
    box=st.none() | st.lists(floats32, min_size=4, max_size=4),
    concepts=st.lists(concepts, max_size=3),
    mask=st.none() | images,
    point=st.none() | st.tuples(floats32, floats32, floats32),
    text=texts,
    track_id=texts,
    id=texts,
)
frames = st.builds(
    Frame,
    image=st.none() | images,
    regions=st.lists(regions, max_size=2),
    time=times,
    index=st.integers(0, 2**32 - 1),
    id=texts,
)

SCALARS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STR: texts,
    Kind.BYTES: blobs,
    Kind.INT: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: st.floats(),
    Kind.BOOL: st.booleans(),
    Kind.TEXT: st.builds(Text, texts, texts),
    Kind.IMAGE: images,
    Kind.AUDIO: files(Audio),
    Kind.VIDEO: files(Video),
    Kind.CONCEPT: concepts,
    Kind.REGION: regions,
    Kind.FRAME: frames,
}


def reserved(document: object) -> bool:
    return isinstance(document, dict) and document.keys() in ({"_list"}, {"_value"})


json_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False).filter(lambda number: not number.is_integer() or abs(number) > 2**53)
    | texts
)
documents = st.recursive(
    json_leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
DOCUMENTS: dict[JsonShape, st.SearchStrategy[Any]] = {
    JsonShape.ANY: documents.filter(lambda document: not reserved(document)),
    JsonShape.OBJECT: st.dictionaries(texts, documents, max_size=3).filter(lambda document: not reserved(document)),
    JsonShape.ARRAY: st.lists(documents, max_size=3),
    JsonShape.WRAPPED: documents.filter(lambda document: not reserved(document)).map(JSON),
}

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
DTYPES += ["complex64", "complex128"]


@st.composite
def arrays(draw: st.DrawFn, dtype: str | None) -> Any:
    kind = np.dtype(dtype or draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    size = math.prod(shape) * kind.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), kind).reshape(shape)


names = st.text("abcdefgh_", min_size=1, max_size=4)
leaves = (
    st.sampled_from(list(Kind)).map(Leaf)
    | st.sampled_from(list(JsonShape)).map(Json)
    | st.sampled_from([None, *DTYPES]).map(Array)
    | st.sampled_from([LiteralOf(("a", "", "b")), LiteralOf((0, 7)), LiteralOf((True, False))])
)


def containers(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    optional = inner.filter(lambda node: not isinstance(node, OptionalOf)).map(OptionalOf)
    fields = st.lists(st.tuples(names, inner), min_size=1, max_size=3, unique_by=lambda field: field[0])
    return (
        st.builds(ListOf, inner)
        | st.builds(TupleOf, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(FieldsOf, fields.map(tuple))
        | optional
    )


nodes: st.SearchStrategy[Node] = st.recursive(leaves, containers, max_leaves=5)


def values(node: Node) -> st.SearchStrategy[Any]:
    match node:
        case Leaf(kind=kind):
            return SCALARS[kind]
        case LiteralOf(choices=choices):
            return st.sampled_from(choices)
        case Json(shape=shape):
            return DOCUMENTS[shape]
        case Array(dtype=dtype):
            return arrays(dtype)
        case ListOf(item=item):
            return st.lists(values(item), max_size=3)
        case TupleOf(items=items):
            return st.tuples(*map(values, items))
        case FieldsOf(fields=fields):
            named = {name: values(item) for name, item in fields}
            return st.fixed_dictionaries(named).map(lambda drawn: NamedFields(**drawn))
        case OptionalOf(item=Json(shape=JsonShape.WRAPPED)):  # JSON(None) and None are the same
            return st.none() | values(node.item).filter(lambda document: document.value is not None)
        case OptionalOf(item=item):
            return st.none() | values(item)


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Node, Any]:
    node = draw(nodes)
    return node, draw(values(node))


def same(left: Any, right: Any) -> bool:
    """Equal, with NaN equal to itself, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    if isinstance(left, float):
        return (
            struct.pack("d", left) == struct.pack("d", right)
            or (math.isnan(left) and math.isnan(right))
            or left == right
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict | NamedFields):
        return sorted(left.keys()) == sorted(right.keys()) and all(same(left[name], right[name]) for name in left)
    if isinstance(left, JSON):
        return same(left.value, right.value)
    return bool(left == right)


def codec(node: Node, cardinality: Cardinality = Cardinality.UNARY) -> CallCodec:
    streamed = cardinality.streams_input
    argument = Argument(name="value", node=node, streamed=streamed)
    return CallCodec(MethodSignature(name="echo", cardinality=cardinality, arguments=(argument,), result=node))


@given(typed_values())
def test_arguments(typed: tuple[Node, Any]):
    node, value = typed
    calls = codec(node)
    decoded = calls.decode_call(calls.encode_call({"value": value}))
    assert same(decoded["value"], value), decoded
    assert not decoded.old_style


@given(typed_values())
def test_results(typed: tuple[Node, Any]):
    node, value = typed
    calls = codec(node)
    assert same(calls.decode_output(calls.encode_output(value, (1, 2, 3))), value)


@given(typed_values())
def test_items(typed: tuple[Node, Any]):
    node, value = typed
    calls = codec(node, Cardinality.BIDI)
    assert same(calls.decode_item(calls.encode_item(value)), value)
    assert same(calls.decode_call(calls.encode_call({"value": value}))["value"], value)


@given(typed_values(), st.data())
def test_hostile_bytes_are_refused_or_read_but_never_break(typed: tuple[Node, Any], data: st.DataObject):
    """Whatever single byte is changed, or wherever it ends: a value or an `InvalidInput`."""
    node, value = typed
    calls = codec(node)
    payload = bytearray(calls.encode_call({"value": value}))
    if data.draw(st.booleans()):
        del payload[data.draw(st.integers(0, len(payload))) :]
    else:
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInput):
        calls.finish(calls.decode_call(bytes(payload)))


@pytest.mark.parametrize("kind", Kind)
def test_a_value_of_one_type_is_never_read_as_another(kind: Kind):
    """Not even as a zero value, whatever the pair; a str and a Text are the same to clients."""
    examples: dict[Kind, object] = {
        Kind.STR: "not json",
        Kind.BYTES: b"x",
        Kind.INT: 1,
        Kind.FLOAT: 1.5,
        Kind.BOOL: True,
        Kind.TEXT: Text("not json"),
        Kind.IMAGE: Image(bytes=b"x"),
        Kind.AUDIO: Audio(bytes=b"x"),
        Kind.VIDEO: Video(bytes=b"x"),
        Kind.CONCEPT: Concept("x"),
        Kind.REGION: Region(),
        Kind.FRAME: Frame(),
    }
    readers: list[Node] = [
        *map(Leaf, Kind),
        Json(),
        Array(),
        TupleOf((Leaf(Kind.INT),)),
        FieldsOf((("a", Leaf(kind)),)),
    ]
    readers += [ListOf(Leaf(Kind.STR)), OptionalOf(Leaf(Kind.INT)), LiteralOf(("", "a")), LiteralOf((0, 1))]
    sent = codec(Leaf(kind)).encode_call({"value": examples[kind]})
    for reader in readers:
        if reader in (Leaf(kind), OptionalOf(Leaf(kind)), LiteralOf((0, 1)) if kind is Kind.INT else None):
            continue
        if kind in (Kind.STR, Kind.TEXT) and reader in (Leaf(Kind.STR), Leaf(Kind.TEXT)):
            continue
        with pytest.raises(InvalidInput) as caught:
            codec(reader).decode_call(sent)
        assert caught.value.path.startswith("value")
