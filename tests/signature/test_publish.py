"""Signatures as messages: what each service is told, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import Image, ModelClass, NamedFields, Param, Region, Text
from runner.errors import SignatureError
from runner.signature.dialect import Dialect
from runner.signature.method import Argument, Cardinality, Limits, MethodSignature
from runner.signature.publish import from_proto, publish, to_proto
from runner.signature.published import Lane
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
    OptionalOf,
    TupleOf,
)
from runner.wire.pb import inference_pb2 as pb


class Model(ModelClass):
    @ModelClass.method(idempotent=True)
    def predict(
        self,
        prompt: str,
        image: Image | None,
        mode: Literal["fast", "good"] = "fast",
        n: int = Param(3, "how many", min_value=0),
        p: float = Param(0.7, max_value=0.9),
        effort: str | None = Param(None, choices=["low", "high"]),
        pair: tuple[str, float] = ("a", 1),
        fields: NamedFields(a=str) = None,
    ) -> dict[str, Any] | None: ...

    @ModelClass.method
    def stream(self, items: Iterator[str], language: str = "en") -> Iterator[str]: ...

    @ModelClass.method
    def describe(self, images: Iterator[Image]) -> Iterator[str]: ...

    @ModelClass.method
    def generate(self, prompt: str) -> Iterator[Text]: ...

    @ModelClass.method
    def collect(self, items: Iterator[str]) -> list[Region]: ...

    @ModelClass.method
    async def ask(self) -> str: ...

    @ModelClass.method
    async def tell(self, items: AsyncIterator[str]) -> AsyncIterator[str]:
        yield ""


SIGNATURES, PUBLISHED = publish(Model)


def field_types(message):
    return [(field.name, pb.ModelTypeField.DataType.Name(field.type), field.iterator) for field in message.input_fields]


def test_all_methods_are_published_in_order():
    assert list(SIGNATURES) == [method.name for method in PUBLISHED]
    assert {method.name: (method.cardinality, method.lane, method.idempotent) for method in PUBLISHED} == {
        "predict": (Cardinality.UNARY, Lane.THREADS, True),
        "stream": (Cardinality.BIDI, Lane.STREAMS, False),
        "describe": (Cardinality.BIDI, Lane.STREAMS, False),
        "generate": (Cardinality.SERVER_STREAM, Lane.STREAMS, False),
        "collect": (Cardinality.CLIENT_STREAM, Lane.STREAMS, False),
        "ask": (Cardinality.UNARY, Lane.COROUTINES, False),
        "tell": (Cardinality.BIDI, Lane.COROUTINES, False),
    }


def test_a_client_stream_is_published_on_our_service_only():
    collect = PUBLISHED[4]
    assert collect.clarifai == b""
    assert pb.MethodSignature.FromString(collect.native).method_type == pb.MethodSignature.STREAMING_UNARY
    with pytest.raises(SignatureError, match="no RPC that takes a stream and answers once"):
        to_proto(SIGNATURES["collect"], dialect=Dialect.CLARIFAI)


@pytest.mark.parametrize(
    ("name", "dialect", "item", "result"),
    [
        ("stream", Dialect.CLARIFAI, "TEXT", "TEXT"),
        ("tell", Dialect.CLARIFAI, "TEXT", "TEXT"),
        ("describe", Dialect.CLARIFAI, "IMAGE", "STR"),
        ("stream", Dialect.NATIVE, "STR", "STR"),
    ],
)
def test_a_bidi_method_of_str_publishes_text_to_clarifai_clients(name, dialect, item, result):
    message = to_proto(SIGNATURES[name], dialect=dialect)
    assert field_types(message)[0][1:] == (item, True)
    assert pb.ModelTypeField.DataType.Name(message.output_fields[0].type) == result
    assert field_types(message)[1:] in ([], [("language", "STR", False)])


def test_our_service_says_what_a_caller_needs():
    assert from_proto(to_proto(SIGNATURES["predict"], dialect=Dialect.NATIVE)) == MethodSignature(
        name="predict",
        cardinality=Cardinality.UNARY,
        arguments=(
            Argument(name="prompt", node=Leaf(Kind.STR)),
            Argument(name="image", node=OptionalOf(Leaf(Kind.IMAGE)), default=None),
            Argument(name="mode", node=LiteralOf(("fast", "good")), default="fast"),
            Argument(
                name="n",
                node=Leaf(Kind.INT),
                default=3,
                limits=Limits(description="how many", min_value=0, is_param=True),
            ),
            Argument(name="p", node=Leaf(Kind.FLOAT), default=0.7, limits=Limits(max_value=0.9, is_param=True)),
            Argument(
                name="effort",
                node=OptionalOf(Leaf(Kind.STR)),
                default=None,
                limits=Limits(choices=("low", "high"), is_param=True),
            ),
            Argument(name="pair", node=TupleOf((Leaf(Kind.STR), Leaf(Kind.FLOAT))), default=("a", 1.0)),
            Argument(name="fields", node=OptionalOf(FieldsOf((("a", Leaf(Kind.STR)),))), default=None),
        ),
        result=OptionalOf(Json(JsonShape.OBJECT)),
    )


def test_clarifai_clients_are_told_nothing_they_do_not_know():
    message = to_proto(SIGNATURES["predict"], dialect=Dialect.CLARIFAI)
    fields = [*message.input_fields, *message.output_fields]
    assert not any(field.placeholder for field in fields)
    assert (fields[3].model_type_range_info.min, fields[3].model_type_range_info.max) == (0, 0)
    assert not fields[1].required
    assert fields[1].default == "null"


def test_a_model_without_methods_is_refused():
    class Empty(ModelClass):
        pass

    with pytest.raises(SignatureError, match=r"Empty publishes no method; put @ModelClass\.method above"):
        publish(Empty)


@pytest.mark.parametrize(
    "message",
    [
        pb.MethodSignature(name="m"),
        pb.MethodSignature(name="m", method_type=1),
        pb.MethodSignature(name="m", method_type=1, output_fields=[pb.ModelTypeField(name="return")]),
        pb.MethodSignature(name="m", method_type=1, output_fields=[pb.ModelTypeField(name="return", type=99)]),
        pb.MethodSignature(name="m", method_type=1, output_fields=[pb.ModelTypeField(name="return", type=17)]),
    ],
    ids=["no type", "no result", "unset", "unknown", "list of nothing"],
)
def test_a_message_we_cannot_understand_is_refused(message):
    with pytest.raises(SignatureError, match="client"):
        from_proto(message)


# What the message has words for: no dtypes, no libraries, no Pillow; and None only where it says so.
LEAVES = st.one_of(
    st.sampled_from(list(Kind)).map(Leaf),
    st.sampled_from([Json(), Json(JsonShape.OBJECT), Json(JsonShape.ARRAY), Array()]),
    st.lists(st.sampled_from("abcd"), min_size=1, unique=True).map(lambda choices: LiteralOf(tuple(choices))),
    st.just(LiteralOf((1, 2))),
    st.just(LiteralOf((True,))),
)


def optional(node):
    return node if isinstance(node, OptionalOf) else OptionalOf(node)


NODES = st.recursive(
    LEAVES,
    lambda nodes: st.one_of(
        nodes.map(ListOf),
        nodes.map(optional),
        st.lists(nodes, min_size=1, max_size=3).map(lambda items: TupleOf(tuple(items))),
        st.dictionaries(st.sampled_from(["a", "b"]), nodes, min_size=1).map(lambda d: FieldsOf(tuple(d.items()))),
    ),
    max_leaves=6,
)


@given(result=NODES, argument=NODES, cardinality=st.sampled_from(Cardinality))
def test_our_service_says_every_type(result, argument, cardinality):
    streamed = cardinality.streams_input
    default = None if isinstance(argument, OptionalOf) and not streamed else Argument(name="", node=argument).default
    signature = MethodSignature(
        name="m",
        cardinality=cardinality,
        arguments=(Argument(name="x", node=argument, streamed=streamed, default=default),),
        result=result,
    )
    assert from_proto(to_proto(signature, dialect=Dialect.NATIVE)) == signature


def test_what_matters_only_in_the_worker_is_lost():
    result = TupleOf((Array("float32", ArrayType.TORCH), Leaf(Kind.IMAGE, pil=True), Json(JsonShape.WRAPPED)))
    signature = MethodSignature(name="m", cardinality=Cardinality.UNARY, arguments=(), result=result)
    back = from_proto(to_proto(signature, dialect=Dialect.NATIVE))
    assert back.result == TupleOf((Array(), Leaf(Kind.IMAGE), Json()))


def described(*arguments: pb.ModelTypeField, name: str = "predict") -> pb.MethodSignature:
    return pb.MethodSignature(
        name=name,
        method_type=pb.MethodSignature.UNARY_UNARY,
        input_fields=arguments,
        output_fields=[pb.ModelTypeField(name="return", type=pb.ModelTypeField.STR)],
    )


@pytest.mark.parametrize("name", ["", "return", "a b", "x(); y", "1st"])
def test_names_that_python_cannot_have_never_get_into_a_program(name):
    argument = pb.ModelTypeField(name=name, type=pb.ModelTypeField.STR)
    for message in (described(name=name), described(argument)):
        with pytest.raises(SignatureError, match="which Python cannot have"):
            from_proto(message)


@pytest.mark.parametrize("arguments", [("x", "x"), ("x*", "y*")])
def test_arguments_that_no_method_can_have(arguments):
    fields = [pb.ModelTypeField(name=name.strip("*"), iterator="*" in name, type="STR") for name in arguments]
    with pytest.raises(SignatureError, match="no method can have"):
        from_proto(described(*fields))
