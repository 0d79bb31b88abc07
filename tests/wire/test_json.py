"""JSON as a Struct and as text: whole numbers, wrapped lists, depth."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from runner.errors import InvalidInput
from runner.signature.tree import Kind, Leaf
from runner.types import JSON
from runner.wire import json
from runner.wire.codec import compile_codec
from runner.wire.mismatch import EncodeError
from runner.wire.pb import inference_pb2 as pb


def there_and_back(document: Any) -> Any:
    struct = Struct()
    json.encode_document(document, struct)
    return json.decode_document(Struct.FromString(struct.SerializeToString()))


def nested(depth: int, *, lists: bool) -> Any:
    document: Any = 0
    for _ in range(depth):
        document = [document] if lists else {"a": document}
    return document


@pytest.mark.parametrize(
    ("document", "read"),
    [
        ({"n": 1.0}, {"n": 1}),
        ({"n": -0.0}, {"n": 0}),
        ({"n": 2**53}, {"n": 2**53}),
        ({"n": 1e300}, {"n": 1e300}),
        ({7: "a", True: "b", 0.5: "c", None: "d"}, {"7": "a", "true": "b", "0.5": "c", "null": "d"}),
        ((1, (2,)), [1, [2]]),
        (JSON({"a": JSON([1])}), {"a": [1]}),
        ("text", "text"),
        (5, 5),
        (False, False),
    ],
)
def test_normal_forms(document: Any, read: Any):
    back = there_and_back(document)
    assert back == read
    assert (
        [type(value) for value in back.values()] == [type(value) for value in read.values()]
        if isinstance(back, dict)
        else type(back) is type(read)
    )


def test_a_list_travels_under_the_published_key():
    struct = Struct()
    json.encode_document([1], struct)
    assert list(struct.fields) == ["_list"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"_list": [1]}, "single key '_list'"),
        ({"_value": 1}, "single key '_value'"),
        ({"a": {1: 0, "1": 0}}, r"\.a: two keys of the object become '1'"),
        ({"a": [0, 2**53 + 1]}, r"\.a\[1\]: the integer int 9007199254740993 is beyond 2\^53"),
        ({"two words": object()}, r"\['two words'\]: JSON cannot hold a value of type object"),
        ({(1, 2): 3}, "keys of a JSON object are strings, got tuple"),
        ({"a": "\ud800"}, r"\.a: str .* cannot be sent"),
        ({"\ud800": 1}, "the key .* cannot be sent"),
        (nested(100, lists=False), "nested too deep"),
        (nested(100, lists=True), "nested too deep"),
    ],
)
def test_what_json_cannot_hold(document: Any, words: str):
    with pytest.raises(EncodeError, match=words):
        there_and_back(document)


@pytest.mark.parametrize("lists", [False, True])
def test_what_is_just_deep_enough_is_read_by_protobuf_inside_a_call(lists: bool):
    from runner.wire.pb import inference_pb2 as pb

    depth = 38 if lists else 25
    request = pb.PostModelOutputsRequest()
    data = request.inputs.add().data.parts.add().data
    json.encode_document(nested(depth, lists=lists), data.struct_value)
    assert pb.PostModelOutputsRequest.FromString(request.SerializeToString()) == request


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 10_000, '{"a":' * 10_000])
def test_text_that_is_not_json(text: str):
    with pytest.raises(InvalidInput, match=r"not JSON|nested too deep"):
        json.parse(text)


def test_text_that_is():
    assert json.parse('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("text", ['"\\ud800"', '{"name": "\\ud800"}', '{"value": 1e400}', '["\\udfff"]'])
@pytest.mark.parametrize("kind", [Kind.CONCEPT, Kind.REGION, Kind.IMAGE])
def test_a_text_whose_values_protobuf_cannot_hold(text: str, kind: Kind):
    with pytest.raises(InvalidInput):
        compile_codec(Leaf(kind)).decode(pb.Data(string_value=text))
