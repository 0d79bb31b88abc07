"""The rules for one call: which arguments there are, and what is filled in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct

from runner.errors import InvalidInput
from runner.signature.method import REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.tree import Json, JsonShape, Kind, Leaf, ListOf, Node, OptionalOf, TupleOf
from runner.types import Concept, Image, Text
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb

STR, INT, FLOAT, BOOL = map(Leaf, (Kind.STR, Kind.INT, Kind.FLOAT, Kind.BOOL))
IMAGE = Leaf(Kind.IMAGE)

ASKED = bytes.fromhex(
    "122f2a1b0a190a0c5f6d6574686f645f6e616d6512091a07707265646963749a010f0a05ca01026869120670726f6d7074"
)
"""`predict(prompt="hi")` as the official client sends it."""


def method(*arguments: Argument, result: Node = STR, cardinality: Cardinality = Cardinality.UNARY) -> CallCodec:
    return CallCodec(MethodSignature(name="predict", cardinality=cardinality, arguments=arguments, result=result))


def argument(name: str, node: Node, default: object = REQUIRED, **limits: Any) -> Argument:
    return Argument(name=name, node=node, default=default, limits=Limits(**limits))


def call(**values: pb.Data) -> bytes:
    message = pb.Input()
    message.data.metadata["_method_name"] = "predict"
    for name, data in values.items():
        message.data.parts.add(id=name, data=data)
    return message.SerializeToString()


PROMPT = method(argument("prompt", STR))
GENERATE = method(
    argument("prompt", STR),
    argument("image", OptionalOf(IMAGE), None),
    argument("top_k", INT, 5, min_value=1, max_value=100),
    argument("tone", STR, "calm", choices=("calm", "loud")),
    argument("tags", Json(JsonShape.ARRAY), ["a"]),
)


class TestBytes:
    def test_the_documented_request(self):
        assert PROMPT.decode_call(ASKED) == {"prompt": "hi"}
        assert PROMPT.encode_call({"prompt": "hi"}) == ASKED

    def test_the_documented_reply(self):
        ours = pb.Output.FromString(PROMPT.encode_output("yo", (1, 0, 0)))
        theirs = pb.MultiOutputResponse.FromString(
            bytes.fromhex("0a0308904e121b120308904e32129a010f0a05ca0102796f120672657475726e3801")
        ).outputs[0]
        theirs.status.description = "Ok"
        assert ours == theirs

    @pytest.mark.parametrize(
        ("node", "zero"), [(STR, ""), (INT, 0), (FLOAT, 0.0), (BOOL, False), (Leaf(Kind.BYTES), b""), (ListOf(STR), [])]
    )
    def test_a_zero_value_is_a_part_that_is_there_with_empty_data(self, node: Node, zero: object):
        output = pb.Output.FromString(method(result=node).encode_output(zero))
        (part,) = output.data.parts
        assert part.id == "return"
        assert part.HasField("data")
        assert part.data.ByteSize() == 0
        assert method(result=node).decode_output(output.SerializeToString()) == zero

    def test_minus_zero_is_no_zero_value(self):
        calls = method(argument("x", FLOAT))
        assert str(calls.decode_call(calls.encode_call({"x": -0.0}))["x"]) == "-0.0"

    def test_a_part_may_have_no_data_at_all(self):
        message = pb.Input()
        message.data.parts.add(id="names")
        assert method(argument("names", ListOf(STR))).decode_call(message.SerializeToString()) == {"names": []}


class TestArguments:
    def test_in_the_order_of_the_signature_with_defaults_filled_in(self):
        sent = call(top_k=pb.Data(int_value=7), prompt=pb.Data(string_value="p"))
        decoded = GENERATE.decode_call(sent)
        assert list(decoded.items()) == [
            ("prompt", "p"),
            ("image", None),
            ("top_k", 7),
            ("tone", "calm"),
            ("tags", ["a"]),
        ]

    def test_a_default_is_never_shared_between_calls(self):
        first = GENERATE.decode_call(GENERATE.encode_call({"prompt": "p"}))
        first["tags"].append("b")  # pyright: ignore
        assert GENERATE.decode_call(GENERATE.encode_call({"prompt": "p"}))["tags"] == ["a"]

    def test_none_is_left_out_where_it_is_the_default(self):
        message = pb.Input.FromString(GENERATE.encode_call({"prompt": "p", "image": None}))
        assert [part.id for part in message.data.parts] == ["prompt"]

    def test_none_is_sent_where_the_default_is_something_else(self):
        calls = method(argument("limit", OptionalOf(INT), 5))
        assert calls.decode_call(calls.encode_call({"limit": None})) == {"limit": None}
        assert calls.decode_call(calls.encode_call({})) == {"limit": 5}

    def test_an_optional_argument_without_default_is_none(self):
        calls = method(argument("limit", OptionalOf(INT)))
        assert calls.decode_call(call()) == calls.decode_call(calls.encode_call({"limit": None})) == {"limit": None}

    @pytest.mark.parametrize("zero", ["", "text"])
    def test_a_present_part_is_passed_whatever_it_holds(self, zero: str):
        calls = method(argument("tone", STR, "calm"))
        assert calls.decode_call(calls.encode_call({"tone": zero})) == {"tone": zero}

    def test_no_arguments_is_no_old_style_call(self):
        decoded = method().decode_call(call())
        assert decoded == {}
        assert not decoded.old_style

    def test_a_str_may_arrive_as_text_and_a_text_as_str(self):
        assert PROMPT.decode_call(call(prompt=pb.Data(text=pb.Text(raw="hi")))) == {"prompt": "hi"}
        calls = method(argument("prompt", Leaf(Kind.TEXT)))
        assert calls.decode_call(call(prompt=pb.Data(string_value="hi"))) == {"prompt": Text("hi")}
        assert calls.decode_call(call(prompt=pb.Data())) == {"prompt": Text("")}

    def test_what_a_caller_would_naturally_pass(self):
        text, concept = Leaf(Kind.TEXT), Leaf(Kind.CONCEPT)
        calls = method(argument("a", text), argument("b", text), argument("c", concept), argument("d", IMAGE))
        sent = calls.encode_call({"a": "x", "b": {"url": "u"}, "c": "cat", "d": {"url": "i"}})
        assert calls.decode_call(sent) == {
            "a": Text("x"),
            "b": Text(url="u"),
            "c": Concept("cat"),
            "d": Image(url="i"),
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("sent", "path", "words"),
        [
            (call(), "prompt", r"predict\(\) needs this argument"),
            (call(promt=pb.Data(string_value="x")), "promt", "no such argument; its arguments: prompt, image, top_k"),
            (call(prompt=pb.Data(int_value=1)), "prompt", "needs a str, got an int"),
            (call(prompt=pb.Data(image=pb.Image())), "prompt", "needs a str, got an image"),
            (call(prompt=pb.Data(text=pb.Text(url="u"))), "prompt", "text by URL"),
            (call(prompt=pb.Data(), image=pb.Data(string_value="x")), "image", "not JSON"),
            (call(prompt=pb.Data(), top_k=pb.Data(int_value=0)), "top_k", "from 1 to 100, got int 0"),
            (call(prompt=pb.Data(), top_k=pb.Data(int_value=101)), "top_k", "from 1 to 100, got int 101"),
            (call(prompt=pb.Data(), top_k=pb.Data(float_value=5)), "top_k", "needs an int, got a float"),
            (call(prompt=pb.Data(), tone=pb.Data(string_value="x")), "tone", "one of 'calm', 'loud', got str 'x'"),
            (call(prompt=pb.Data(), tags=pb.Data(struct_value=Struct())), "tags", "needs a JSON list"),
            (ASKED[:-3], "", "not a valid message"),
            (b"\xff" * 20, "", "not a valid message"),
            (call(prompt=pb.Data()) + call(prompt=pb.Data()), "prompt", "twice"),
        ],
    )
    def test_each_names_the_argument(self, sent: bytes, path: str, words: str):
        with pytest.raises(InvalidInput, match=words) as caught:
            GENERATE.decode_call(sent)
        assert caught.value.path == path

    def test_a_field_we_do_not_know_is_no_zero_value(self):
        geo = b"\x32\x00"  # Data.geo = 6
        data = pb.Data.FromString(geo)
        with pytest.raises(InvalidInput, match="a type that is not known here"):
            PROMPT.decode_call(call(prompt=data))

    def test_none_where_none_is_not_declared(self):
        sent = method(argument("prompt", OptionalOf(STR), "x")).encode_call({"prompt": None})
        with pytest.raises(InvalidInput, match="prompt: needs a str, got None"):
            PROMPT.decode_call(sent)

    def test_nan_is_a_float_but_in_no_range(self):
        free, bounded = method(argument("x", FLOAT)), method(argument("x", FLOAT, min_value=0.0))
        sent = free.encode_call({"x": float("nan")})
        assert np.isnan(free.decode_call(sent)["x"])  # pyright: ignore
        with pytest.raises(InvalidInput, match=r"of at least 0\.0, got float nan"):
            bounded.decode_call(sent)

    def test_the_path_leads_to_the_value(self):
        node = ListOf(TupleOf((STR, ListOf(INT))))
        sent = method(argument("pairs", ListOf(TupleOf((STR, ListOf(FLOAT)))))).encode_call(
            {"pairs": [("a", []), ("b", [0.0, 0.5])]}
        )
        with pytest.raises(InvalidInput) as caught:
            method(argument("pairs", node)).decode_call(sent)
        assert caught.value.path == "pairs[1][1][1]"

    def test_several_where_one_is_wanted(self):
        sent = method(argument("c", ListOf(Leaf(Kind.CONCEPT)))).encode_call({"c": ["a", "b"]})
        with pytest.raises(InvalidInput, match="c: needs a Concept, got 2 of them"):
            method(argument("c", Leaf(Kind.CONCEPT))).decode_call(sent)

    @pytest.mark.parametrize(
        ("arguments", "path", "words"),
        [
            ({}, "prompt", "needs this argument"),
            ({"prompt": "p", "x": 1}, "x", "no such argument"),
            ({"prompt": 5}, "prompt", "needs a str, got int 5"),
            ({"prompt": None}, "prompt", "needs a str, got None"),
            ({"prompt": "\ud800"}, "prompt", "cannot be sent as UTF-8"),
            ({"prompt": "p", "top_k": True}, "top_k", "needs an int, got bool True"),
            ({"prompt": "p", "top_k": 2**63}, "top_k", "64 bits"),
            ({"prompt": "p", "image": "cat.jpg"}, "image", "needs an Image, got str 'cat.jpg'"),
            ({"prompt": "p", "tags": {"a": 1}}, "tags", "needs a list"),
            ({"prompt": "p", "tags": [1, {"big": 2**53 + 1}]}, "tags[1].big", "beyond 2"),
        ],
    )
    def test_the_clients_side_refuses_before_anything_is_sent(self, arguments: Any, path: str, words: str):
        with pytest.raises(InvalidInput, match=words) as caught:
            GENERATE.encode_call(arguments)
        assert caught.value.path == path


class TestStreams:
    CALLS = method(
        Argument(name="frames", node=INT, streamed=True),
        argument("scale", INT, 1),
        cardinality=Cardinality.BIDI,
    )

    def test_the_first_message_has_all_arguments_and_the_first_item(self):
        sent = self.CALLS.encode_call({"frames": 4, "scale": 2})
        assert self.CALLS.decode_call(sent) == {"frames": 4, "scale": 2}

    def test_the_first_message_may_hold_no_item(self):
        assert self.CALLS.decode_call(self.CALLS.encode_call({})) == {"scale": 1}

    def test_later_messages_are_read_for_their_item_only(self):
        assert self.CALLS.decode_item(self.CALLS.encode_item(0)) == 0
        assert self.CALLS.decode_item(self.CALLS.encode_call({"frames": 4, "scale": 2})) == 4

    def test_a_later_message_without_item_is_refused(self):
        with pytest.raises(InvalidInput, match="frames: the message holds no item"):
            self.CALLS.decode_item(call(scale=pb.Data(int_value=1)))
        with pytest.raises(InvalidInput, match="no streamed argument"):
            PROMPT.decode_item(ASKED)

    def test_a_wrong_item_is_refused_by_name(self):
        with pytest.raises(InvalidInput, match="frames: needs an int, got str 'x'"):
            self.CALLS.encode_item("x")
        with pytest.raises(InvalidInput, match="frames: needs an int, got a str"):
            self.CALLS.decode_item(call(frames=pb.Data(string_value="x")))
