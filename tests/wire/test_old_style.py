"""Calls that name no method and put their value directly into the input, and arguments beside the parts."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from runner.errors import InvalidInput
from runner.signature.method import REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.tree import Array, FieldsOf, Json, Kind, Leaf, ListOf, Node, TupleOf
from runner.types import Audio, Concept, Frame, Image, NamedFields, Region, Text, Video
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb

STR, INT = Leaf(Kind.STR), Leaf(Kind.INT)


def method(result: Node = STR, *, streamed: bool = False, **nodes: Any) -> CallCodec:
    arguments: list[Argument] = []
    for name, node in nodes.items():
        node, default = node if isinstance(node, tuple) else (node, REQUIRED)
        arguments.append(
            Argument(name=name, node=node, default=default, limits=Limits(max_value=9 if node == INT else None))
        )
    if streamed:
        arguments[0] = Argument(name=arguments[0].name, node=arguments[0].node, streamed=True)
    cardinality = Cardinality.BIDI if streamed else Cardinality.UNARY
    signature = MethodSignature(name="predict", cardinality=cardinality, arguments=tuple(arguments), result=result)
    return CallCodec(signature)


def old(*, named: bool = False, **fields: Any) -> bytes:
    data = pb.Data(**fields)
    if named:
        data.metadata["_method_name"] = "predict"
    return pb.Input(data=data).SerializeToString()


def params(**values: Any) -> bytes:
    struct = Struct()
    struct.update(values)
    return struct.SerializeToString()


CASES: list[tuple[Node, dict[str, Any], object]] = [
    (STR, {"text": pb.Text(raw="hi")}, "hi"),
    (STR, {"string_value": "hi"}, "hi"),
    (STR, {"text": pb.Text()}, ""),
    (Leaf(Kind.TEXT), {"text": pb.Text(url="u")}, Text(url="u")),
    (Leaf(Kind.IMAGE), {"image": pb.Image(base64=b"x")}, Image(bytes=b"x")),
    (Leaf(Kind.AUDIO), {"audio": pb.Audio(url="u")}, Audio(url="u")),
    (Leaf(Kind.VIDEO), {"video": pb.Video(base64=b"x")}, Video(bytes=b"x")),
    (Leaf(Kind.BYTES), {"bytes_value": b"x"}, b"x"),
    (INT, {"int_value": 5}, 5),
    (Leaf(Kind.FLOAT), {"float_value": 0.5}, 0.5),
    (Leaf(Kind.BOOL), {"bool_value": True}, True),
    (Leaf(Kind.CONCEPT), {"concepts": [pb.Concept(name="cat")]}, Concept("cat", 0.0)),
    (Leaf(Kind.REGION), {"regions": [pb.Region(id="r")]}, Region(id="r")),
    (Leaf(Kind.FRAME), {"frames": [pb.Frame(id="f")]}, Frame(id="f")),
    (ListOf(Leaf(Kind.CONCEPT)), {"concepts": [pb.Concept(id="a"), pb.Concept(id="b")]}, ["a", "b"]),
    (Json(), {"struct_value": Struct()}, {}),
    (Json(), {"string_value": "[1]"}, [1]),
]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("node", "fields", "value"), CASES)
def test_each_type_has_its_field(node: Node, fields: dict[str, Any], value: object, named: bool):
    decoded = method(only=node).decode_call(old(named=named, **fields))
    got = decoded["only"]
    assert ([concept.id for concept in got] if isinstance(got, list) and isinstance(node, ListOf) else got) == value
    assert decoded.old_style


def test_an_array():
    array: Any = method(only=Array()).decode_call(old(ndarray=pb.NDArray(dtype="int8", buffer=b"\1\2", shape=[2])))
    assert array["only"].tolist() == [1, 2]


def test_each_argument_takes_its_field_once_in_order():
    calls = method(image=Leaf(Kind.IMAGE), prompt=STR, again=(STR, "default"))
    decoded = calls.decode_call(old(text=pb.Text(raw="hi"), image=pb.Image(base64=b"x")))
    assert decoded == {"image": Image(bytes=b"x"), "prompt": "hi", "again": "default"}
    decoded = calls.decode_call(old(text=pb.Text(raw="hi"), string_value="ho", image=pb.Image(base64=b"x")))
    assert decoded["again"] == "ho"


def test_a_value_that_nobody_takes_is_refused():
    with pytest.raises(InvalidInput, match="holds a value that no argument takes: image"):
        method(prompt=(STR, "x")).decode_call(old(image=pb.Image(base64=b"x")))


def test_a_missing_value_is_refused():
    with pytest.raises(InvalidInput, match=r"prompt: predict\(\) needs this argument"):
        method(prompt=STR).decode_call(old(image=pb.Image(base64=b"x")))
    with pytest.raises(InvalidInput, match="prompt"):
        method(prompt=STR).decode_call(b"")


class TestParams:
    CALLS = method(prompt=STR, count=(INT, 1), config=(Json(), None))

    def test_they_set_arguments_by_name(self):
        sent = params(count=3.0, config={"a": [1]})
        decoded = self.CALLS.decode_call(old(string_value="hi"), sent)
        assert decoded == {"prompt": "hi", "count": 3, "config": {"a": [1]}}
        assert isinstance(decoded["count"], int)

    def test_the_input_itself_goes_first(self):
        assert self.CALLS.decode_call(self.CALLS.encode_call({"prompt": "a"}), params(prompt="b"))["prompt"] == "a"

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"count": "x"}, "count: needs an int, got str 'x'"),
            ({"count": 1.5}, "count: needs an int, got float 1.5"),
            ({"count": 10}, "count: needs a value of at most 9"),
            ({"colour": 1}, "colour: predict.. has no such argument"),
        ],
    )
    def test_they_are_checked_like_all_arguments(self, values: dict[str, Any], words: str):
        with pytest.raises(InvalidInput, match=words):
            self.CALLS.decode_call(old(string_value="hi"), params(**values))

    def test_bytes_that_are_no_struct(self):
        with pytest.raises(InvalidInput, match="not a valid message"):
            self.CALLS.decode_call(old(string_value="hi"), b"\xff\xff")


class TestFirstArgumentBesideTheParts:
    def test_a_plain_value(self):
        message = pb.Input(data=pb.Data(string_value="hi"))
        message.data.metadata["_method_name"] = "predict"
        message.data.parts.add(id="count", data=pb.Data(int_value=4))
        decoded = method(prompt=STR, count=INT).decode_call(message.SerializeToString())
        assert decoded == {"prompt": "hi", "count": 4}
        assert not decoded.old_style

    @pytest.mark.parametrize(
        ("node", "value"),
        [
            (ListOf(STR), ["a", "", "b"]),
            (ListOf(STR), ["a"]),
            (TupleOf((STR, INT)), ("a", 1)),
            (FieldsOf((("x", STR), ("y", INT))), NamedFields(x="a", y=1)),
        ],
    )
    def test_a_container_whose_parts_lie_where_arguments_would(self, node: Node, value: object):
        calls = method(node, only=node, count=(INT, 2))
        output = pb.Output.FromString(calls.encode_output(value, old_style=True))
        message = pb.Input(data=output.data)
        message.data.metadata["_method_name"] = "predict"
        assert calls.decode_call(message.SerializeToString()) == {"only": value, "count": 2}

    def test_anything_else_is_an_unknown_argument(self):
        message = pb.Input()
        message.data.parts.add(id="typo", data=pb.Data(string_value="a"))
        with pytest.raises(InvalidInput, match=r"typo: predict\(\) has no such argument"):
            method(prompt=STR).decode_call(message.SerializeToString())


def test_the_result_lies_directly_in_the_output():
    output = pb.Output.FromString(method().encode_output("hi", (1, 2, 3), old_style=True))
    assert not output.data.parts
    assert (output.data.string_value, output.data.text.raw, output.prompt_tokens) == ("hi", "hi", 1)
    output = pb.Output.FromString(method(ListOf(Leaf(Kind.CONCEPT))).encode_output(["cat"], old_style=True))
    assert [concept.name for concept in output.data.concepts] == ["cat"]


def test_items_of_a_stream():
    calls = method(image=Leaf(Kind.IMAGE), streamed=True)
    first = calls.decode_call(old(image=pb.Image(base64=b"1")))
    assert (first, first.old_style) == ({"image": Image(bytes=b"1")}, True)
    assert calls.decode_item(old(image=pb.Image(base64=b"2"))) == Image(bytes=b"2")
    with pytest.raises(InvalidInput, match="image: the message holds no item"):
        calls.decode_item(old(string_value="x"))
