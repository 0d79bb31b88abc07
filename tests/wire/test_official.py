"""What the official client writes we read, and what we write it reads, for every type it has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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
from tests.official import require_sdk

require_sdk()

from clarifai.runners.utils import method_signatures as theirs  # noqa: E402
from clarifai.runners.utils.data_types import data_types as official  # noqa: E402
from clarifai_grpc.grpc.api import resources_pb2  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

STR, INT, FLOAT, BOOL = map(Leaf, (Kind.STR, Kind.INT, Kind.FLOAT, Kind.BOOL))
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def ours(node: Node) -> CallCodec:
    argument = Argument(name="value", node=node)
    return CallCodec(MethodSignature(name="echo", cardinality=Cardinality.UNARY, arguments=(argument,), result=node))


def signature_of(hint: Any) -> Any:
    def echo(self: Any, value: Any) -> Any: ...

    echo.__annotations__ = {"value": hint, "return": hint}
    return theirs.build_function_signature(echo)


def comparable(value: Any) -> Any:
    """The parts of a value that both sides have, whichever side it is of."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.tolist()
    if isinstance(value, Text | official.Text):
        return value.text, value.url
    if isinstance(value, Concept | official.Concept):
        return value.name, value.value, value.id
    if isinstance(value, Region | official.Region):
        mask = value.mask and comparable(value.mask)
        return value.box, comparable(value.concepts), mask, value.point, value.text, value.track_id, value.id
    if isinstance(value, Frame | official.Frame):
        return comparable(value.image), comparable(value.regions), value.time, value.index
    if hasattr(value, "bytes"):
        return value.url, value.bytes
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if isinstance(value, NamedFields | official.NamedFields):
        return {name: comparable(item) for name, item in value.items()}
    return value


def region(side: Any) -> Any:
    return side.Region(
        box=[0.25, 0.5, 0.75, 1.0],
        concepts=[side.Concept("Tabby cat!", 0.5)],
        mask=side.Image(bytes=b"mask"),
        point=(0.5, 0.25, 0.125),
        text="sign",
        track_id="t1",
        id="r1",
    )


class Ours:
    Text, Image, Audio, Video = Text, Image, Audio, Video
    Concept, Region, Frame, NamedFields, JSON = Concept, Region, Frame, NamedFields, JSON


SAME: list[tuple[str, Node, Any, Callable[[Any], Any]]] = [
    ("str", STR, str, lambda side: "hi"),
    ("empty str", STR, str, lambda side: ""),
    ("int", INT, int, lambda side: -(2**63)),
    ("zero", INT, int, lambda side: 0),
    ("float", FLOAT, float, lambda side: 0.1),
    ("infinity", FLOAT, float, lambda side: math.inf),
    ("bool", BOOL, bool, lambda side: True),
    ("false", BOOL, bool, lambda side: False),
    ("bytes", Leaf(Kind.BYTES), bytes, lambda side: b"\0\xff"),
    ("text", Leaf(Kind.TEXT), official.Text, lambda side: side.Text("hi", url="u")),
    ("empty text", Leaf(Kind.TEXT), official.Text, lambda side: side.Text("")),
    ("image url", Leaf(Kind.IMAGE), official.Image, lambda side: side.Image(url="https://a/b")),
    ("image bytes", Leaf(Kind.IMAGE), official.Image, lambda side: side.Image(bytes=b"png")),
    ("audio", Leaf(Kind.AUDIO), official.Audio, lambda side: side.Audio(bytes=b"wav")),
    ("video", Leaf(Kind.VIDEO), official.Video, lambda side: side.Video(url="u")),
    ("concept", Leaf(Kind.CONCEPT), official.Concept, lambda side: side.Concept("Tabby cat!", 0.5)),
    ("region", Leaf(Kind.REGION), official.Region, region),
    (
        "frame",
        Leaf(Kind.FRAME),
        official.Frame,
        lambda side: side.Frame(image=side.Image(bytes=b"i"), regions=[region(side)], time=1.5, index=3),
    ),
    ("array", Array(), np.ndarray, lambda side: ARRAY),
    ("array of any order", Array(), np.ndarray, lambda side: ARRAY.T),
    ("dict", Json(JsonShape.OBJECT), dict, lambda side: {"a": [1, None, {"b": "c"}], "d": 0.5}),
    ("empty dict", Json(JsonShape.OBJECT), dict, lambda side: {}),
    ("list as JSON", Json(JsonShape.ARRAY), list, lambda side: [1, "a", [True]]),
    ("empty list as JSON", Json(JsonShape.ARRAY), list, lambda side: []),
    ("list of str", ListOf(STR), list[str], lambda side: ["a", "", "b"]),
    ("empty list", ListOf(STR), list[str], lambda side: []),
    ("list of lists", ListOf(ListOf(FLOAT)), list[list[float]], lambda side: [[0.5], [], [1.0, 0.0]]),
    ("list of dicts", ListOf(Json(JsonShape.OBJECT)), list[dict], lambda side: [{"a": "b"}, {}]),
    ("list of images", ListOf(Leaf(Kind.IMAGE)), list[official.Image], lambda side: [side.Image(bytes=b"1")] * 2),
    ("list of concepts", ListOf(Leaf(Kind.CONCEPT)), list[official.Concept], lambda side: [side.Concept("a")] * 2),
    ("no concepts", ListOf(Leaf(Kind.CONCEPT)), list[official.Concept], lambda side: []),
    ("list of regions", ListOf(Leaf(Kind.REGION)), list[official.Region], lambda side: [region(side)] * 2),
    ("list of frames", ListOf(Leaf(Kind.FRAME)), list[official.Frame], lambda side: [side.Frame(index=1)]),
    ("tuple", TupleOf((STR, INT)), tuple[str, int], lambda side: ("a", 0)),
    (
        "named fields",
        FieldsOf((("label", STR), ("score", FLOAT))),
        official.NamedFields(label=str, score=float),
        lambda side: side.NamedFields(label="cat", score=0.0),
    ),
]
IDS = [case[0] for case in SAME]


@pytest.mark.parametrize(("name", "node", "hint", "make"), SAME, ids=IDS)
def test_their_argument_is_ours(name: str, node: Node, hint: Any, make: Callable[[Any], Any]):
    data = resources_pb2.Data()
    data.metadata["_method_name"] = "echo"
    theirs.serialize({"value": make(official)}, signature_of(hint).input_fields, data)
    sent = resources_pb2.Input(data=data).SerializeToString()
    assert comparable(ours(node).decode_call(sent)["value"]) == comparable(make(Ours))


@pytest.mark.parametrize(("name", "node", "hint", "make"), SAME, ids=IDS)
def test_our_result_is_theirs(name: str, node: Node, hint: Any, make: Callable[[Any], Any]):
    output = resources_pb2.Output.FromString(ours(node).encode_output(make(Ours), (7, 8, 9)))
    value = theirs.deserialize(output.data, signature_of(hint).output_fields, is_output=True)
    if hint is np.ndarray:
        value = np.asarray(value)
    assert comparable(value) == comparable(make(official))
    assert (output.status.code, output.status.description) == (10000, "Ok")
    assert (output.prompt_tokens, output.completion_tokens, output.cached_tokens) == (7, 8, 9)


@pytest.mark.parametrize(("name", "node", "hint", "make"), SAME, ids=IDS)
def test_our_input_is_the_one_they_would_send(name: str, node: Node, hint: Any, make: Callable[[Any], Any]):
    """Field by field; only an empty list differs, whose part has data with us and none with them."""
    data = resources_pb2.Data()
    data.metadata["_method_name"] = "echo"
    theirs.serialize({"value": make(official)}, signature_of(hint).input_fields, data)
    for part in data.parts:
        part.data.SetInParent()
    sent = resources_pb2.Input.FromString(ours(node).encode_call({"value": make(Ours)}))
    assert sent.data == data


@pytest.mark.parametrize(
    ("node", "hint"),
    [(Leaf(Kind.IMAGE), official.Image), (Leaf(Kind.TEXT), official.Text), (Json(JsonShape.OBJECT), dict)],
)
def test_none_is_none_for_types_that_have_room_for_it(node: Node, hint: Any):
    output = resources_pb2.Output.FromString(ours(OptionalOf(node)).encode_output(None))
    assert theirs.deserialize(output.data, signature_of(hint).output_fields, is_output=True) is None


def test_a_literal_is_a_plain_value():
    output = resources_pb2.Output.FromString(ours(LiteralOf(("low", "high"))).encode_output("low"))
    assert theirs.deserialize(output.data, signature_of(str).output_fields, is_output=True) == "low"


def test_a_document_with_a_name_of_its_own():
    output = resources_pb2.Output.FromString(ours(Json(JsonShape.WRAPPED)).encode_output(JSON({"a": 1})))
    assert theirs.deserialize(output.data, signature_of(dict).output_fields, is_output=True) == {"a": 1}
