"""The Node.js client writes JSON text where the Python client writes messages; both are read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runner.errors import InvalidInput
from runner.signature.method import Argument, Cardinality, MethodSignature
from runner.signature.tree import Array, FieldsOf, Json, JsonShape, Kind, Leaf, ListOf, Node, OptionalOf, TupleOf
from runner.types import Concept, Frame, Image, NamedFields, Region, Text
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb

STR, INT = Leaf(Kind.STR), Leaf(Kind.INT)
OBJECT = Json(JsonShape.OBJECT)


def decode(node: Node, data: pb.Data) -> Any:
    signature = MethodSignature(
        name="predict",
        cardinality=Cardinality.UNARY,
        arguments=(Argument(name="value", node=node),),
        result=node,
    )
    message = pb.Input()
    message.data.metadata["_method_name"] = "predict"
    message.data.parts.add(id="value", data=data)
    return CallCodec(signature).decode_call(message.SerializeToString())["value"]


def listed(*elements: object) -> pb.Data:
    """A list as Node.js sends it: strings and numbers as they are, whatever is an object as JSON text."""
    data = pb.Data()
    for element in elements:
        part = data.parts.add()
        if isinstance(element, int):
            part.data.int_value = element
        else:
            part.data.string_value = element if isinstance(element, str) else json.dumps(element)
    return data


@pytest.mark.parametrize(
    ("node", "data", "value"),
    [
        (OBJECT, pb.Data(string_value='{"a": [1, 2.5, null]}'), {"a": [1, 2.5, None]}),
        (Json(JsonShape.ARRAY), pb.Data(string_value="[1]"), [1]),
        (Json(), pb.Data(string_value="null"), None),
        (Leaf(Kind.TEXT), pb.Data(string_value="hi"), Text("hi")),
        (Leaf(Kind.TEXT), pb.Data(), Text("")),
        (STR, pb.Data(), ""),
        (ListOf(STR), listed("a", '{"not": "parsed"}'), ["a", '{"not": "parsed"}']),
        (ListOf(INT), listed(1, 2), [1, 2]),
        (ListOf(Leaf(Kind.TEXT)), listed("a"), [Text("a")]),
        (ListOf(OBJECT), listed({"role": "user"}, {}), [{"role": "user"}, {}]),
        (ListOf(Leaf(Kind.IMAGE)), listed({"url": "u"}, {"base64": "AP8="}), [Image(url="u"), Image(bytes=b"\0\xff")]),
        (ListOf(Leaf(Kind.IMAGE)), listed({"bytes": {"type": "Buffer", "data": [0, 255]}}), [Image(bytes=b"\0\xff")]),
        (ListOf(Leaf(Kind.IMAGE)), listed({"base64": {"0": 0, "1": 255}}), [Image(bytes=b"\0\xff")]),
        (
            ListOf(Leaf(Kind.CONCEPT)),
            listed({"id": "c", "name": "cat", "value": 0.5, "language": "en"}),
            [Concept("cat", 0.5, "c")],
        ),
        (
            ListOf(Leaf(Kind.REGION)),
            listed({"id": "r", "regionInfo": {"boundingBox": {"topRow": 0.25, "rightCol": 1}}}),
            [Region(id="r", box=[0.0, 0.25, 1.0, 0.0])],
        ),
        (ListOf(Leaf(Kind.FRAME)), listed({"frameInfo": {"time": 1500, "index": 2}}), [Frame(time=1.5, index=2)]),
        (ListOf(ListOf(INT)), listed([1, 2], []), [[1, 2], []]),
        (ListOf(TupleOf((STR, INT))), listed(["a", 1]), [("a", 1)]),
        (ListOf(FieldsOf((("x", INT),))), listed({"x": 1}), [NamedFields(x=1)]),
        (OptionalOf(OBJECT), pb.Data(string_value="{}"), {}),
    ],
)
def test_what_it_sends(node: Node, data: pb.Data, value: object):
    assert decode(node, data) == value


def test_an_array_in_a_list():
    (array,) = decode(ListOf(Array()), listed([[1, 2], [3, 4]]))
    assert np.array_equal(array, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("node", "data", "words"),
    [
        (OBJECT, pb.Data(string_value="[1]"), "value: needs a JSON object, got list"),
        (OBJECT, pb.Data(string_value="{"), "value: the text is not JSON"),
        (OBJECT, pb.Data(), "value: needs a JSON object, got nothing"),
        (Json(), pb.Data(string_value="[" * 10_000), "value: the JSON text is nested too deep"),
        (ListOf(OBJECT), listed("[]"), r"value\[0\]: needs a JSON object, got list"),
        (ListOf(Leaf(Kind.IMAGE)), listed({"url": "u"}, "cat.jpg"), r"value\[1\]: the text is not JSON"),
        (ListOf(Leaf(Kind.IMAGE)), listed({"href": "u"}), r"value\[0\]: this object is no Image: it has 'href'"),
        (ListOf(Leaf(Kind.IMAGE)), listed({"url": 5}), r"value\[0\]: this object is no Image"),
        (ListOf(Leaf(Kind.IMAGE)), listed({"base64": {"0": 300}}), r"value\[0\]: this object is no buffer"),
        (ListOf(Leaf(Kind.CONCEPT)), listed(5), r"value\[0\]: needs a Concept, got an int"),
        (ListOf(FieldsOf((("x", INT),))), listed({"x": "a"}), r"value\[0\]\.x: needs an int, got str 'a'"),
        (ListOf(FieldsOf((("x", INT),))), listed({"y": 1}), r"value\[0\]: needs the named fields x, got .*'y'"),
        (ListOf(ListOf(INT)), pb.Data(string_value="[" * 10_000), "nested too deep"),
    ],
)
def test_what_is_wrong_in_it(node: Node, data: pb.Data, words: str):
    with pytest.raises(InvalidInput, match=words):
        decode(node, data)
