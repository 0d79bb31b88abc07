"""A signature as the message that clients read, and back.

The message was made for other software and has no word for a few of our types, so going there and back loses what only
matters where the method runs: dtypes, the library of an array, Pillow images. What a caller needs and it cannot say
travels on our own service only, as words in the unused `placeholder`: `null` where a value may be None, `object` or
`array` for JSON that is always a dict or a list. A bound that was not given is infinite there instead of 0.
"""

from __future__ import annotations

import inspect
import json
import keyword
from collections.abc import Callable, Iterable, Mapping
from typing import Final, assert_never, cast

from google.protobuf.json_format import MessageToDict

from runner.errors import SignatureError
from runner.model import ModelClass, methods_of
from runner.options import MethodOptions, PointOptions
from runner.signature.defaults import default_text, parse_choice, parse_default
from runner.signature.dialect import Dialect
from runner.signature.hints import is_asynchronous, read_method
from runner.signature.method import NO_LIMITS, REQUIRED, Argument, Cardinality, Limits, MethodSignature
from runner.signature.published import Lane, Published
from runner.signature.ranges import read_range, write_range
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
from runner.wire.pb import inference_pb2 as pb

__all__ = ["batch_size_of", "from_proto", "options_of", "publish", "signatures_json", "to_proto"]

RESULT = "return"
"""The name of a result's field and of its part."""

NULLABLE = "null"

NO_OVERRIDES: Final[Mapping[str, Mapping[str, object]]] = {}

AUTO_LARGEST: Final = 1024
"""The largest batch that is tried where the size is to be found out."""

_SHAPES = (JsonShape.OBJECT, JsonShape.ARRAY)  # the words for them are the enum's values

_METHOD_TYPES = {
    Cardinality.UNARY: pb.MethodSignature.UNARY_UNARY,
    Cardinality.SERVER_STREAM: pb.MethodSignature.UNARY_STREAMING,
    Cardinality.CLIENT_STREAM: pb.MethodSignature.STREAMING_UNARY,
    Cardinality.BIDI: pb.MethodSignature.STREAMING_STREAMING,
}
_DATA_TYPES = {kind: cast(pb.ModelTypeField.DataType, pb.ModelTypeField.DataType.Value(kind.value)) for kind in Kind}
_CARDINALITIES = {number: cardinality for cardinality, number in _METHOD_TYPES.items()}


def publish(
    model_class: type[ModelClass], overrides: Mapping[str, Mapping[str, object]] = NO_OVERRIDES
) -> tuple[dict[str, MethodSignature], tuple[Published, ...]]:
    """Read all methods of a model: as signatures for the worker, and as messages for the server.

    Args:
        model_class: the model's class.
        overrides: what the configuration says of options, by method.

    Raises:
        SignatureError: a method cannot be published, there is none, or the configuration names one that there is not.
    """
    methods = options_of(model_class, overrides)
    signatures: dict[str, MethodSignature] = {}
    published: list[Published] = []
    for name, options in methods.items():
        function = cast(Callable[..., object], inspect.getattr_static(model_class, name))
        signature = read_method(model_class, name, function, options)
        signatures[name] = signature
        in_clarifai = signature.cardinality is not Cardinality.CLIENT_STREAM
        published.append(
            Published(
                name=name,
                cardinality=signature.cardinality,
                lane=_lane(function, signature),
                clarifai=_serialized(signature, Dialect.CLARIFAI) if in_clarifai else b"",
                native=_serialized(signature, Dialect.NATIVE),
                idempotent=options.idempotent,
                max_batch_size=batch_size_of(options) if signature.batched else 0,
                priority=options.priority,
                slo=_seconds(options.slo_ms),
                timeout=_seconds(options.timeout_ms),
                max_timeout=_seconds(options.max_timeout_ms),
                max_run=options.max_run_seconds,
            )
        )
    if not published:
        raise SignatureError(
            f"{model_class.__name__} publishes no method; put @ModelClass.method above the ones that callers may use"
        )
    return signatures, tuple(published)


def to_proto(signature: MethodSignature, *, dialect: Dialect) -> pb.MethodSignature:
    """Return the message that describes a method to the clients of one service.

    Raises:
        SignatureError: a client-stream method on the Clarifai service, which has no RPC for it.
    """
    if dialect is Dialect.CLARIFAI and signature.cardinality is Cardinality.CLIENT_STREAM:
        raise SignatureError(f"{signature.name}: the Clarifai service has no RPC that takes a stream and answers once")
    as_text = dialect is Dialect.CLARIFAI and _streams_text(signature)
    message = pb.MethodSignature(
        name=signature.name, method_type=_METHOD_TYPES[signature.cardinality], description=signature.description
    )
    for argument in signature.arguments:
        field = message.input_fields.add(name=argument.name, iterator=argument.streamed)
        _write_argument(field, argument, dialect)
        if as_text and argument.streamed:
            field.type = pb.ModelTypeField.TEXT
    result = message.output_fields.add(name=RESULT, iterator=signature.cardinality.streams_output)
    _write_type(result, signature.result, dialect)
    if as_text and signature.result == Leaf(Kind.STR):
        result.type = pb.ModelTypeField.TEXT
    return message


def from_proto(message: pb.MethodSignature) -> MethodSignature:
    """Return what a published message says, as far as it says it.

    Raises:
        SignatureError: the message describes a kind of method or a type that we do not know.
    """
    cardinality = _CARDINALITIES.get(message.method_type)
    if cardinality is None or not message.output_fields:
        raise SignatureError(f"the server describes {message.name!r} as a kind of method that this client cannot call")
    _check_names(message)
    return MethodSignature(
        name=message.name,
        cardinality=cardinality,
        arguments=tuple(_read_argument(field) for field in message.input_fields),
        result=_read_type(message.output_fields[0]),
        description=message.description,
    )


def signatures_json(messages: Iterable[pb.MethodSignature]) -> str:
    """Return the text that answers the `_GET_SIGNATURES` call: one JSON object with a member for each method."""
    return json.dumps({message.name: MessageToDict(message) for message in messages})


def options_of(
    model_class: type[ModelClass], overrides: Mapping[str, Mapping[str, object]] = NO_OVERRIDES
) -> dict[str, MethodOptions]:
    """Return the options of each published method, as the configuration changes them.

    Raises:
        SignatureError: the configuration names a method that there is not, or a value that does not fit.
    """
    methods = methods_of(model_class)
    for name, changes in overrides.items():
        if name not in methods:
            raise SignatureError(
                f"methods.{name}: {model_class.__name__} has no such method; it has {', '.join(methods)}"
            )
        try:
            methods[name] = methods[name].with_overrides(changes)
        except (TypeError, ValueError) as exc:
            raise SignatureError(f"methods.{name}.{exc}") from None
    return methods


def batch_size_of(options: MethodOptions | PointOptions) -> int:
    """Return the largest batch; where it is yet to be found out, the largest that is tried."""
    return AUTO_LARGEST if options.max_batch_size == "auto" else options.max_batch_size


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _lane(function: Callable[..., object], signature: MethodSignature) -> Lane:
    if signature.batched:
        return Lane.of_batches(signature.name)
    if is_asynchronous(function):
        return Lane.COROUTINES
    return Lane.THREADS if signature.cardinality is Cardinality.UNARY else Lane.STREAMS


def _serialized(signature: MethodSignature, dialect: Dialect) -> bytes:
    return to_proto(signature, dialect=dialect).SerializeToString(deterministic=True)


def _streams_text(signature: MethodSignature) -> bool:
    """Tell whether Clarifai's clients expect to send and receive `Text` here, as their documentation shows.

    They encode by the advertised type, and only TEXT lets a caller pass both `str` and `Text` and read `.text`.
    """
    streamed = signature.streamed_argument
    return signature.cardinality is Cardinality.BIDI and streamed is not None and streamed.node == Leaf(Kind.STR)


def _write_argument(field: pb.ModelTypeField, argument: Argument, dialect: Dialect) -> None:
    _write_type(field, argument.node, dialect)
    if argument.default is not REQUIRED:
        field.default = default_text(argument.default)
    elif isinstance(argument.node, OptionalOf) and not argument.streamed:
        # Clients can say None only by leaving an argument out, and leave out only what has null as its default.
        field.default = default_text(None)
    else:
        field.required = True
    limits = argument.limits
    field.description = limits.description
    field.is_param = limits.is_param
    write_range(field, limits, absent_as_infinity=dialect is Dialect.NATIVE)
    for choice in limits.choices or ():
        field.model_type_enum_options.add(id=str(choice))


def _check_names(message: pb.MethodSignature) -> None:
    """Refuse what no Python function can be: its names are shown as a signature, and written into programs.

    Raises:
        SignatureError: a name that is none, one that comes twice, or two streamed arguments.
    """
    names = [field.name for field in message.input_fields]
    for name in (message.name, *names):
        if not name.isidentifier() or keyword.iskeyword(name):
            raise SignatureError(f"the server describes a method with the name {name[:64]!r}, which Python cannot have")
    if len(set(names)) < len(names) or sum(field.iterator for field in message.input_fields) > 1:
        raise SignatureError(f"the server describes {message.name!r} with arguments that no method can have")


def _read_argument(field: pb.ModelTypeField) -> Argument:
    # Choices of a Param are limits, those of a Literal are the type; to a caller it is all the same.
    node = _read_type(field, with_choices=not field.is_param)
    default = REQUIRED if field.required or field.iterator else parse_default(node, field.default)
    if default is None and not isinstance(node, OptionalOf):
        node = OptionalOf(node)
    bare = node.item if isinstance(node, OptionalOf) else node
    low, high = read_range(field, whole=bare == Leaf(Kind.INT))
    choices = None
    if field.is_param and field.model_type_enum_options and isinstance(bare, Leaf):
        choices = tuple(parse_choice(bare.kind, option.id) for option in field.model_type_enum_options)
    limits = Limits(
        description=field.description, min_value=low, max_value=high, choices=choices, is_param=field.is_param
    )
    return Argument(
        name=field.name,
        node=node,
        streamed=field.iterator,
        default=default,
        limits=NO_LIMITS if limits == NO_LIMITS else limits,
    )


def _write_type(field: pb.ModelTypeField, node: Node, dialect: Dialect) -> None:
    match node:
        case Leaf(kind):
            field.type = _DATA_TYPES[kind]
        case Json(shape):
            field.type = pb.ModelTypeField.JSON_DATA
            if dialect is Dialect.NATIVE and shape in _SHAPES:
                field.placeholder = shape.value
        case Array():
            field.type = pb.ModelTypeField.NDARRAY
        case LiteralOf(choices):
            field.type = _DATA_TYPES[node.kind]
            for choice in choices:
                field.model_type_enum_options.add(id=str(choice))
        case OptionalOf(item):
            _write_type(field, item, dialect)
            if dialect is Dialect.NATIVE:
                field.placeholder = f"{NULLABLE} {field.placeholder}".rstrip()
        case ListOf(item):
            field.type = pb.ModelTypeField.LIST
            _write_type(field.type_args.add(name=f"{field.name}_item"), item, dialect)
        case TupleOf(items):
            field.type = pb.ModelTypeField.TUPLE
            for item in items:
                _write_type(field.type_args.add(name=f"{field.name}_item"), item, dialect)
        case FieldsOf(fields):
            field.type = pb.ModelTypeField.NAMED_FIELDS
            for name, item in fields:
                _write_type(field.type_args.add(name=name), item, dialect)
        case _:
            assert_never(node)


def _read_type(field: pb.ModelTypeField, *, with_choices: bool = True) -> Node:
    node = _read_bare_type(field)
    if with_choices and field.model_type_enum_options and isinstance(node, Leaf):
        choices = tuple(parse_choice(node.kind, option.id) for option in field.model_type_enum_options)
        if node.kind in (Kind.STR, Kind.INT, Kind.BOOL):
            node = LiteralOf(cast(tuple[str | int | bool, ...], choices))
    return OptionalOf(node) if NULLABLE in field.placeholder.split() else node


def _read_bare_type(field: pb.ModelTypeField) -> Node:
    items = field.type_args
    match field.type:
        case pb.ModelTypeField.JSON_DATA:
            words = field.placeholder.split()
            return Json(next((shape for shape in _SHAPES if shape.value in words), JsonShape.ANY))
        case pb.ModelTypeField.NDARRAY:
            return Array()
        case pb.ModelTypeField.LIST if len(items) == 1:
            return ListOf(_read_type(items[0]))
        case pb.ModelTypeField.TUPLE if items:
            return TupleOf(tuple(map(_read_type, items)))
        case pb.ModelTypeField.NAMED_FIELDS if items:
            return FieldsOf(tuple((item.name, _read_type(item)) for item in items))
        case number:
            try:
                return Leaf(Kind(pb.ModelTypeField.DataType.Name(number)))
            except ValueError:
                raise SignatureError(
                    f"{field.name!r} has a type that this client does not know ({number}); a newer one may"
                ) from None
