"""What is fuzzed: functions that take any bytes, and may raise nothing but what they document.

A target checks more than that where a second opinion is cheap: the scanners against protobuf, and that what was read
can be written and read again.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from google.protobuf.message import DecodeError

from runner.client.address import ModelIds
from runner.client.calls import Call as ClientCall
from runner.client.calls import MethodCalls, RequestHead, Selector, read_methods
from runner.client.failures import from_grpc
from runner.client.reply import read_reply
from runner.config import ModelIdentity
from runner.errors import CallError, InvalidInput, RunnerError, SignatureError
from runner.processes.channel import Channel
from runner.server.catalog import Catalog
from runner.server.ingress import frames as ingress
from runner.server.ingress.heads import HeadPacker, pack_trailers, read_head, read_trailers
from runner.server.ingress.messages import Call, Failed, Result
from runner.signature.dialect import Dialect
from runner.signature.method import MethodSignature
from runner.signature.publish import from_proto, signatures_json
from runner.signature.published import Lane, Published
from runner.signature.render import python_signature, render
from runner.signature.script import client_script
from runner.wire import array_scan, run
from runner.wire.call import Arguments, CallCodec
from runner.wire.envelope import scan
from runner.wire.pb import inference_pb2 as pb
from runner.wire.statistics import decode_statistics
from runner.workers.frames import pack, unpack
from tests.fuzz import connection, protocol, seeds
from tests.fuzz.seeds import CODECS, SIGNATURES

Run = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """One way in.

    Attributes:
        name: what the command line and the corpus call it.
        run: takes a case and a message. What it raises is a bug.
        seeds: valid messages with their cases.
    """

    name: str
    run: Run
    seeds: Callable[[], Iterator[tuple[int, bytes]]]


def _envelope(case: int, message: bytes) -> None:
    """The server's loop reads requests; protobuf has the last word about what is in them."""
    try:
        found = scan(message)
    except InvalidInput:
        return
    assert sum(map(len, found.inputs)) <= len(message)
    try:
        expected = pb.PostModelOutputsRequest.FromString(message)
    except DecodeError:
        return  # inputs are told apart, not judged
    assert len(found.inputs) == len(expected.inputs), (len(found.inputs), len(expected.inputs))
    assert found.target.model_id == expected.model_id
    assert found.target.deployment_id == expected.runner_selector.deployment.id


def _decode(case: int, message: bytes) -> None:
    """A worker reads the input of a call."""
    codec = CODECS[case]
    try:
        arguments = codec.decode_call(message)
    except InvalidInput:
        return
    codec.unresolved(arguments)
    _written_again(codec, arguments)


def _written_again(codec: CallCodec, arguments: Arguments) -> None:
    # Not everything that can be read can be written: a JSON number beyond 2^53, say.
    with contextlib.suppress(InvalidInput):
        again = codec.decode_call(codec.encode_call(arguments))
        assert again.keys() == arguments.keys()


def _list(case: int, message: bytes) -> None:
    """A worker reads a list of inputs at once, as it would read each."""
    try:
        inputs, whole = scan(message)[-2:]
    except InvalidInput:
        return
    if whole is None:
        return
    assert run.split(whole, len(inputs)) == inputs
    at_once, one_by_one = CallCodec(SIGNATURES[case]), CallCodec(SIGNATURES[case])
    with contextlib.suppress(InvalidInput):
        at_once.decode_call(inputs[-1])  # and learns it
    payload = bytes(whole) if len(message) % 2 else memoryview(bytearray(whole))
    alike = at_once.decode_alike(payload, len(inputs))
    if alike is None:
        return
    assert len(alike.values) == len(inputs)
    for value, each in zip(alike.values, inputs, strict=True):
        expected = one_by_one.decode_call(each)
        assert not expected.old_style
        assert list(expected) == list(alike.arguments)
        for name, argument in expected.items():
            assert _same(value if name == alike.name else alike.arguments[name], argument), (name, each)


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    return type(one) is type(other) and (one == other or one != one)


def _item(case: int, message: bytes) -> None:
    """A worker reads one more item of a stream."""
    streaming = _streaming()
    codec = streaming[case % len(streaming)]
    with contextlib.suppress(InvalidInput):
        codec.unresolved(codec.decode_item(message))


def _streaming() -> list[CallCodec]:
    return [codec for method, codec in zip(SIGNATURES, CODECS, strict=True) if method.streamed_argument is not None]


def _params(case: int, message: bytes) -> None:
    """A worker reads parameters of old-style calls, which set arguments by name."""
    with contextlib.suppress(InvalidInput):
        CODECS[case].decode_call(b"", message)


@functools.cache
def _callers() -> list[MethodCalls]:
    """Methods as clients of the two services know them."""
    head = RequestHead(ModelIds(), Selector())
    known: list[MethodSignature] = []
    for description in seeds.descriptions():
        known.append(from_proto(pb.MethodSignature.FromString(description)))
    return [MethodCalls(signature, head) for signature in known]


_ONE, _BATCH = ClientCall(request=b"", timeout=None), ClientCall(request=b"", timeout=None, batch=1)


def _reply(case: int, message: bytes) -> None:
    """A client reads what claims to be a server."""
    callers = _callers()
    caller = callers[case % len(callers)]
    for call in (_ONE, _BATCH):
        with contextlib.suppress(CallError):
            caller.result(call, message)
    with contextlib.suppress(CallError):
        read_reply(message)
    with contextlib.suppress(RunnerError):
        read_methods(message)
    with contextlib.suppress(InvalidInput):
        decode_statistics(message)
    from_grpc(case % 20, "text", message, target="somewhere")


def _cut(case: int, message: bytes) -> None:
    """The numbers of arrays are cut out of a message, which has to stay the same otherwise."""
    tag, kind = ((array_scan.INPUT_DATA, pb.Input), (array_scan.OUTPUT_DATA, pb.Output))[case % 2]
    cut = array_scan.cut(message, tag, {b"value", b"return", b""}, 1)
    if cut is None:
        return
    try:
        expected = kind.FromString(message)
    except DecodeError:
        try:
            kind.FromString(cut.message)
        except DecodeError:
            return
        raise AssertionError("what is left is valid, and the message was not") from None
    found: Any = kind.FromString(cut.message)
    for index, (start, end) in cut.ranges.items():
        array = found.data.parts[index].data.ndarray
        assert not array.buffer
        array.buffer = message[start:end]
    assert found == expected


def _signature(case: int, message: bytes) -> None:
    """A client reads how a server describes a method, shows it, and writes a program that calls it."""
    try:
        parsed = pb.MethodSignature.FromString(message)
    except DecodeError:
        return
    try:
        signature = from_proto(parsed)
    except SignatureError:
        return
    render(signature)
    assert isinstance(python_signature(signature), inspect.Signature)
    CallCodec(signature)
    # A program that people will run: no name or text of a server's may become code.
    compile(client_script([signature]), "<script>", "exec")


def _published(case: int, message: bytes) -> None:
    """The server describes what a worker says that it has."""
    try:
        parsed = pb.MethodSignature.FromString(message)
    except DecodeError:
        return
    signatures_json([parsed])


@functools.cache
def _catalog() -> Catalog:
    catalog = Catalog(ModelIdentity(), strict_ids=True)
    description = next(seeds.descriptions())
    catalog.publish(
        [
            Published(
                name="predict",
                cardinality=SIGNATURES[0].cardinality,
                lane=Lane.THREADS,
                clarifai=description,
                native=description,
            )
        ]
    )
    return catalog


_QUESTIONS = (
    "GetModel",
    "GetModelVersion",
    "ListModelVersions",
    "GetModelType",
    "GetUser",
    "GetDeployment",
    "GetNodepool",
)


def _question(case: int, message: bytes) -> None:
    """The server answers questions about the model."""
    with contextlib.suppress(CallError):
        _catalog().reply(Dialect.NATIVE, _QUESTIONS[case % len(_QUESTIONS)], message)


def _frame(case: int, message: bytes) -> None:
    """The server reads what a worker says, which runs the model's code."""
    with contextlib.suppress(ValueError):
        found = unpack(_whole(message))
        pieces: list[bytes | memoryview] = []
        pack(found, pieces)
        assert type(unpack(_joined(pieces))) is type(found)


def _ingress(case: int, message: bytes) -> None:
    """The main process and an ingress process read what the other one says; clients speak to the latter."""
    try:
        found = ingress.unpack(_whole(message))
    except ValueError:
        return
    packed: list[bytes | memoryview] = []
    assert ingress.pack(found, packed) == sum(map(len, packed))
    again: list[bytes | memoryview] = []
    ingress.pack(ingress.unpack(_joined(packed)), again)
    assert _joined(again) == _joined(packed)  # messages may be unequal to themselves: an instant that is no number
    with contextlib.suppress(ValueError):
        match found:
            case Call():
                path, peer, metadata = read_head(found.head)
                assert read_head(HeadPacker(path)(peer, metadata)) == (path, peer, metadata)
            case Result() | Failed():
                trailers = read_trailers(found.trailers)
                assert read_trailers(pack_trailers(trailers)) == trailers
            case _:
                pass


def _whole(message: bytes) -> memoryview:
    """Return a message as a frame whose length is right."""
    body = message[4:] or b"\0"
    return memoryview(bytearray(len(body).to_bytes(4, "little") + body))


def _joined(pieces: list[bytes | memoryview]) -> memoryview:
    return memoryview(bytearray(b"".join(pieces)))


class _Ear:
    """Takes what a channel of a link hears."""

    def __init__(self) -> None:
        self.closed = False

    def received(self, frame: memoryview) -> None:
        unpack(frame)

    def close(self) -> None:
        self.closed = True


def _stream(case: int, message: bytes) -> None:
    """A channel of a link takes bytes in pieces of any size."""
    ear: Any = _Ear()
    channel = Channel(ear, cast(Any, None), 0)  # it hears only
    size = (1, 3, 64, 1 << 20)[case % 4]
    position = 0
    try:
        while position < len(message) and not ear.closed:
            buffer = channel.get_buffer(-1)
            piece = message[position : position + min(size, len(buffer))]
            buffer[: len(piece)] = piece
            channel.buffer_updated(len(piece))
            position += len(piece)
    except ValueError:
        pass


def _numbered(messages: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[tuple[int, bytes]]]:
    return lambda: enumerate(messages())


def _of_codecs(
    messages: Callable[[MethodSignature, CallCodec], Iterator[bytes]], others: Callable[[], Iterator[bytes]]
) -> Callable[[], Iterator[tuple[int, bytes]]]:
    """Messages of each method with its number, and some for all of them."""

    def made() -> Iterator[tuple[int, bytes]]:
        for case, (method, codec) in enumerate(zip(SIGNATURES, CODECS, strict=True)):
            for message in messages(method, codec):
                yield case, message
            for message in others():
                yield case, message

    return made


def _items() -> Iterator[tuple[int, bytes]]:
    for case, codec in enumerate(_streaming()):
        for method in SIGNATURES[:12]:
            for message in seeds.inputs(method, CODECS[SIGNATURES.index(method)]):
                yield case, message
        yield case, codec.encode_call({})


def _arrays() -> Iterator[tuple[int, bytes]]:
    for method, codec in zip(SIGNATURES, CODECS, strict=True):
        if "array" in method.name:
            for message in seeds.inputs(method, codec):
                yield 0, message
            for message in seeds.outputs(method, codec):
                yield 1, message


def _nothing() -> Iterator[bytes]:
    return iter(())


TARGETS: Sequence[Target] = (
    Target("envelope", _envelope, _numbered(seeds.requests)),
    Target("call", _decode, _of_codecs(seeds.inputs, seeds.old_style)),
    Target("list", _list, _of_codecs(seeds.lists, _nothing)),
    Target("item", _item, _items),
    Target("params", _params, _of_codecs(lambda *_: _nothing(), seeds.params)),
    Target("array", _cut, _arrays),
    Target("reply", _reply, _numbered(seeds.replies)),
    Target("signature", _signature, _numbered(seeds.descriptions)),
    Target("published", _published, _numbered(seeds.descriptions)),
    Target("question", _question, _numbered(seeds.questions)),
    Target("frame", _frame, _numbered(seeds.frames)),
    Target("link", _stream, _numbered(seeds.frames)),
    Target("ingress", _ingress, _numbered(seeds.ingress_frames)),
    Target("headers", protocol.header_blocks, protocol.recorded),
    Target("head", protocol.call_head, protocol.heads),
    Target("body", protocol.body, protocol.bodies),
    Target("value", protocol.value, protocol.values),
    Target("connection", connection.conversation, connection.conversations),
)
