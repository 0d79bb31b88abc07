"""Valid messages of every type, from which the fuzzers start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from runner.errors import CallError, InvalidInput, Overloaded
from runner.server.ingress import messages as ingress_messages
from runner.server.ingress.frames import pack as pack_ingress
from runner.server.ingress.heads import HeadPacker, pack_trailers
from runner.server.ingress.transport import kind_of
from runner.server.rpcs import BidiRpc, UnaryRpc
from runner.signature.dialect import Dialect
from runner.signature.method import REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.publish import to_proto
from runner.signature.published import Lane
from runner.signature.sample import sample
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
from runner.types import Concept, Frame, Image, Region, Text
from runner.wire import reply
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb
from runner.workers import messages
from runner.workers.frames import pack
from runner.workers.pairs import pack_pairs

Signature = MethodSignature


def signature(
    name: str,
    *arguments: Argument,
    result: Node = Leaf(Kind.STR),  # noqa: B008  frozen
    cardinality: Cardinality = Cardinality.UNARY,
) -> Signature:
    return MethodSignature(name=name, cardinality=cardinality, arguments=arguments, result=result)


def one(name: str, node: Node) -> Signature:
    """A method that takes and returns one type."""
    return signature(name, Argument(name="value", node=node), result=node)


_FIELDS = FieldsOf((("name", Leaf(Kind.STR)), ("box", ListOf(Leaf(Kind.FLOAT))), ("note", OptionalOf(Leaf(Kind.TEXT)))))

SIGNATURES: tuple[Signature, ...] = (
    *(one(kind.value.lower(), Leaf(kind)) for kind in Kind),
    *(one(f"list_of_{kind.value.lower()}", ListOf(Leaf(kind))) for kind in Kind),
    *(one(f"json_{shape.value}", Json(shape)) for shape in JsonShape),
    one("array", Array()),
    one("array_of_floats", Array("float32")),
    one("arrays", ListOf(Array())),
    one("maybe_array", OptionalOf(Array("int64"))),
    one("pictures", ListOf(OptionalOf(Leaf(Kind.IMAGE)))),
    one("pair", TupleOf((Leaf(Kind.INT), Leaf(Kind.CONCEPT)))),
    one("fields", _FIELDS),
    one("deep", ListOf(TupleOf((_FIELDS, OptionalOf(ListOf(Json())))))),
    one("word", LiteralOf(("a", "", "b"))),
    one("level", OptionalOf(LiteralOf((1, 2)))),
    signature(
        "chat",
        Argument(name="prompt", node=Leaf(Kind.STR), default=""),
        Argument(name="image", node=OptionalOf(Leaf(Kind.IMAGE)), default=None),
        Argument(name="history", node=ListOf(Json(JsonShape.OBJECT)), default=[]),
        Argument(
            name="top_p",
            node=Leaf(Kind.FLOAT),
            default=0.5,
            limits=Limits(description="How wild", min_value=0.0, max_value=1.0, is_param=True),
        ),
        Argument(
            name="effort", node=Leaf(Kind.STR), default="low", limits=Limits(choices=("low", "high"), is_param=True)
        ),
        cardinality=Cardinality.SERVER_STREAM,
    ),
    signature(
        "track",
        Argument(name="frames", node=Leaf(Kind.FRAME), streamed=True),
        Argument(name="every", node=Leaf(Kind.INT), default=1),
        result=ListOf(Leaf(Kind.REGION)),
        cardinality=Cardinality.BIDI,
    ),
    signature("talk", Argument(name="word", node=Leaf(Kind.STR), streamed=True), cardinality=Cardinality.BIDI),
    signature(
        "total",
        Argument(name="parts", node=Array("float64"), streamed=True),
        result=Leaf(Kind.FLOAT),
        cardinality=Cardinality.CLIENT_STREAM,
    ),
    signature("nothing", result=Leaf(Kind.BOOL)),
)
"""A method for each type, and some of each kind."""

CODECS: tuple[CallCodec, ...] = tuple(map(CallCodec, SIGNATURES))


def _values(node: Node) -> Iterator[object]:
    yield sample(node)
    match node:
        case Array():
            yield np.arange(6, dtype=node.dtype or "float64").reshape(2, 3)
            yield np.zeros((3, 0, 2), node.dtype or "uint8")
        case Leaf(Kind.REGION):
            yield Region(
                box=[0.1, 0.2, 0.3, 0.4],
                concepts=[Concept("cat", 0.5, "c")],
                mask=Image(url="http://example.com/a.png"),
                point=(1.0, 2.0, 3.0),
                text="t",
                track_id="7",
                id="r",
            )
        case Leaf(Kind.FRAME):
            yield Frame(image=Image(bytes=b"GIF89a"), regions=[Region(box=[0, 0, 1, 1])], time=1.5, index=3, id="f")
        case Leaf(Kind.TEXT):
            yield Text(url="https://example.com/t.txt")
        case Json(JsonShape.ARRAY):
            yield [None, {"a": [1.5, True, "x"]}]
        case Json():
            yield {"a": [None, 1.5, {"b": True}]}
        case ListOf(item):
            yield [sample(item)] * 3
            yield []
        case _:
            pass


def inputs(method: Signature, codec: CallCodec) -> Iterator[bytes]:
    """Calls of a method, as our client writes them."""
    arguments = method.arguments
    yield codec.encode_call({argument.name: sample(argument.node) for argument in arguments})
    yield codec.encode_call({argument.name: sample(argument.node) for argument in arguments if argument.required})
    if len(arguments) == 1 and arguments[0].default is REQUIRED:
        for value in _values(arguments[0].node):
            yield codec.encode_call({arguments[0].name: value})


def lists(method: Signature, codec: CallCodec) -> Iterator[bytes]:
    """Requests with several calls of a method, which are alike or are not."""
    singles = list(inputs(method, codec))
    everything = [singles, *([single] * 3 for single in singles)]
    for argument in method.arguments:
        rest = {other.name: sample(other.node) for other in method.arguments}
        for values in _ALIKE.get(type(argument.node), []):
            if not (isinstance(argument.node, Leaf) and argument.node.kind is not Kind.STR):
                everything.append([codec.encode_call({**rest, argument.name: value}) for value in values])
    for each in everything:
        request = pb.PostModelOutputsRequest(model_id="m")
        for data in each:
            request.inputs.add().MergeFromString(data)
        yield request.SerializeToString()


_ALIKE: Mapping[type, Sequence[Sequence[object]]] = {
    Leaf: (["one", "two", "six"], ["x" * 200, "y" * 200]),
    Array: (
        [np.arange(6, dtype="float32") * number for number in range(3)],
        [np.full((2, 3), number, "int64") for number in range(4)],
        [np.full((50, 50), number, "int16") for number in range(2)],
    ),
}


def outputs(method: Signature, codec: CallCodec) -> Iterator[bytes]:
    """Results of a method, as a worker writes them."""
    for value in _values(method.result):
        yield codec.encode_output(value, (1, 2, 3))


def old_style() -> Iterator[bytes]:
    """Calls without a method's name, and JSON text where other clients send it."""
    text = pb.Input(id="old")
    text.data.text.raw = "hello"
    yield text.SerializeToString()
    text.data.text.url = "https://example.com"
    text.data.concepts.add(name="cat", value=0.5)
    text.data.image.base64 = b"GIF89a"
    yield text.SerializeToString()
    for document in ([1, 2.5, [3]], {"name": "x", "value": 0.5}, [{"base64": "AAAA"}], "text", {"a": {"b": [None]}}):
        message = pb.Input()
        message.data.parts.add(id="value").data.string_value = json.dumps(document)
        yield message.SerializeToString()


def params() -> Iterator[bytes]:
    """Parameters of old-style calls."""
    for fields in ({}, {"top_p": 0.5, "prompt": "x"}, {"value": 3}, {"value": [1, [2]]}, {"value": {"name": "x"}}):
        model = pb.Model()
        model.model_version.output_info.params.update(fields)
        yield model.model_version.output_info.params.SerializeToString()


def requests() -> Iterator[bytes]:
    """Whole requests."""
    for method, codec in zip(SIGNATURES, CODECS, strict=True):
        request = pb.PostModelOutputsRequest(model_id="m", version_id="v")
        request.user_app_id.user_id, request.user_app_id.app_id = "u", "a"
        request.runner_selector.deployment.id = "d"
        request.runner_selector.nodepool.compute_cluster.id = "c"
        request.model.model_version.output_info.params["top_p"] = 0.5
        for data in inputs(method, codec):
            request.inputs.add().MergeFromString(data)
        yield request.SerializeToString()
        yield pb.PostModelOutputsRequest(inputs=request.inputs[:1]).SerializeToString()
        del request.inputs[1:]
        yield pb.PostModelOutputsRequest(inputs=list(request.inputs) * 4).SerializeToString()


def descriptions() -> Iterator[bytes]:
    """What a server says of its methods, to the clients of either service."""
    for method in SIGNATURES:
        for dialect in Dialect:
            if dialect is Dialect.NATIVE or method.cardinality is not Cardinality.CLIENT_STREAM:
                yield to_proto(method, dialect=dialect).SerializeToString()


def replies() -> Iterator[bytes]:
    """Replies to calls, and to questions."""
    for method, codec in zip(SIGNATURES, CODECS, strict=True):
        yield reply.success(list(outputs(method, codec)))
    failed = reply.failed_output(21313, "it raised", "more", kind="model_error", path="x[3]")
    yield reply.failure(10010, "some failed", outputs=(failed, reply.EMPTY_OUTPUT))
    yield reply.failure(21354, "too many calls")
    version = pb.SingleModelVersionResponse()
    version.status.code = reply.SUCCESS
    for data in list(descriptions())[::7]:
        version.model_version.method_signatures.add().MergeFromString(data)
    yield version.SerializeToString()
    detail = pb.RpcStatus(code=8, message="too many calls")
    error = Overloaded("too many calls", retry_after=1.5)
    detail.details.add().Pack(pb.ErrorDetail(kind=error.kind.value, message=error.message))
    detail.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a\x02\x08\x01")
    yield detail.SerializeToString()
    yield _filled(pb.Statistics()).SerializeToString()


def _filled(message: Any) -> Any:
    """Return a message with something in every field."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        scalar = "x" if field.type == field.TYPE_STRING else 1
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value["idle" if field.message_type.fields_by_name["key"].type == field.TYPE_STRING else 8] = 1
        elif field.is_repeated:
            _filled(value.add()) if field.message_type is not None else value.append(scalar)
        elif field.message_type is not None:
            _filled(value)
        else:
            setattr(message, field.name, scalar)
    return message


def questions() -> Iterator[bytes]:
    """Requests about the model."""
    ids = pb.UserAppIDSet(user_id="u", app_id="a")
    yield pb.GetModelRequest(user_app_id=ids, model_id="m", version_id="v").SerializeToString()
    yield pb.ListModelVersionsRequest(user_app_id=ids, model_id="m", page=2, per_page=10).SerializeToString()
    yield pb.GetUserRequest(user_app_id=pb.UserAppIDSet(user_id="me")).SerializeToString()
    yield pb.GetDeploymentRequest(user_app_id=ids, deployment_id="d").SerializeToString()
    yield pb.GetNodepoolRequest(user_app_id=ids, compute_cluster_id="c", nodepool_id="n").SerializeToString()


def frames() -> Iterator[bytes]:
    """Every message between the server and a worker, with something in every field; calls of several sizes."""
    everything = [_made(kind) for kind in get_args(messages.Message)]
    everything += [
        messages.Call(2, 1, b"x" * 20_000, b"\x0a\x00", None, "r-1", pack_pairs([("a", "b")])),
        messages.Item(1, b"x" * 20_000),
        messages.Items((1, 2, 1), (b"one", b"", b"three")),
    ]
    for message in everything:
        pieces: list[bytes | memoryview] = []
        pack(message, pieces)
        yield b"".join(pieces)


def ingress_frames() -> Iterator[bytes]:
    """Every message between the main process and an ingress process, so; calls and replies as there are most."""
    everything = [_made(kind) for kind in get_args(ingress_messages.Message)]
    head = HeadPacker("/runner.v1.Inference/PostModelOutputs")(
        "127.0.0.1", (("user-agent", "a/1"), ("x-bin", b"\0\xff"))
    )
    everything += [
        ingress_messages.Call(2, head, None, "r-1", b"x" * 20_000),
        ingress_messages.Result(2, b"begin", b"x" * 20_000, pack_trailers([("x-times", "1;2")])),
        ingress_messages.Failed(2, 13, "é", b"details", pack_trailers([("x-times", "1;2")])),
        ingress_messages.Serve(
            rpcs=(kind_of("/a/b", UnaryRpc(_none)), kind_of("/a/c", BidiRpc(_none, lasting=True))),
            max_message_bytes=1 << 20,
            compress_replies=True,
            max_age=1.5,
            age_grace=2.5,
        ),
    ]
    for message in everything:
        pieces: list[bytes | memoryview] = []
        pack_ingress(message, pieces)
        yield b"".join(pieces)


def _none(*_: Any) -> Any:
    """Do nothing: nobody calls it."""


def _made(kind: Any) -> Any:
    """Return an object with something in every field, by the types of these."""
    hints = get_type_hints(kind)
    names = kind._fields if hasattr(kind, "_fields") else kind.__dataclass_fields__
    return kind(**{name: _value(hints[name]) for name in names if name.islower()})


def _value(hint: Any) -> Any:
    if get_origin(hint) is Mapping:
        key, inner = get_args(hint)
        return {_value(key): _value(inner)}
    if get_origin(hint) is tuple:
        return tuple(map(_value, (inner for inner in get_args(hint) if inner is not ...)))
    if get_args(hint):  # a union
        return _value(get_args(hint)[0])
    if hint in _VALUES:
        return _VALUES[hint]
    return next(iter(hint)) if isinstance(hint, type) and issubclass(hint, Enum) else _made(hint)


_VALUES: dict[Any, Any] = {
    int: 1,
    float: 0.5,
    bool: True,
    str: "x",
    bytes: b"\x0a\x01p",
    object: 1,
    Lane: Lane.THREADS,
    CallError: InvalidInput("wrong", details="more", path="x[3]"),
}
