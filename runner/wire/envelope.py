"""The envelope of a request: who is asked, which method, and the bytes of each input, untouched.

The event loop reads this for every message of every call, so it does not parse. It walks the top level of the message
by tags and lengths, and rests on two facts of the wire format:

- Fields may come in any order and in pieces, and joining the bytes of two messages merges the messages. So all bytes
  that are not inputs, joined, are the request without its inputs (the *head*), and the `metadata` of the first input is
  the join of whatever pieces of it there are. Nothing here has to be parsed whole to be read right.
- Clients send the same head and the same metadata again and again. Both are keys of small dicts by their exact bytes:
  a hit cannot be wrong, and protobuf itself reads what is not there yet.

Whether an input is a valid message is for the worker to find out, so that it fails alone. Knows nothing of signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from runner.errors import InvalidInput
from runner.tuples import maker
from runner.wire import varint
from runner.wire.payload import VIEW_FROM, Payload
from runner.wire.pb import inference_pb2 as pb

MAX_INPUTS = 1024
"""Inputs of one request. Clients send 128 at most; two bytes make an empty one, so 256 MiB could hold 128 million."""

MAX_HEAD_BYTES = 1 << 20
"""Ids, selector and old-style parameters are a few hundred bytes; the Node client adds all signatures, some KiB. The
metadata of the first input, where the method's name is, may be as long."""

MAX_FIELDS = 1 << 16
"""Fields at one level of an unusual message: about 30 ms of the event loop."""

_MAX_CACHED = 512
_MAX_CACHED_BYTES = 8192
"""Bounds of each cache: 4 MiB of keys at most, however often a client changes its ids."""

# protobuf tags: field number << 3 | wire type
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_REQUEST_INPUTS, _INPUT_DATA, _DATA_METADATA = 4, 2, 5
_INPUTS_TAG = _REQUEST_INPUTS << 3 | _BYTES
_DATA_TAG = _INPUT_DATA << 3 | _BYTES
_METADATA_TAG = _DATA_METADATA << 3 | _BYTES
_USUAL_TAG_MASK = 0x87  # the wire type, and whether the tag goes on in a second byte
_PARTS_TAG = b"\x9a\x01"  # Data.parts, 19

_USUAL_PARTS = range(64)
_METHOD_KEY = "_method_name"
_MALFORMED = "the request is not a valid message"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is asked. Every id may be empty: clients name what they know."""

    user_id: str = ""
    app_id: str = ""
    model_id: str = ""
    version_id: str = ""
    deployment_id: str = ""
    nodepool_id: str = ""
    compute_cluster_id: str = ""


class Envelope(NamedTuple):
    """What the server reads of a request."""

    target: Target
    params: bytes
    """Parameters of an old-style call, a serialized google Struct; empty in all others."""
    method: str | None
    """The method that the first input names; None if it names none."""
    inputs: list[Payload]
    """The serialized Input messages, in order, unread; long ones are views into the request."""
    run: Payload | None = None
    """Several inputs as they stand in the request, if they stand side by side."""


_new_envelope = maker(Envelope)


def scan(request: Payload) -> Envelope:
    """Read the envelope of a serialized PostModelOutputsRequest.

    What is kept of it, and inputs that are short, are bytes, whatever the request is.

    Raises:
        InvalidInput: the bytes are no such message as far as they were read, or hold more than the bounds allow.
    """
    try:
        single = _single_of_latest(request)
        if single is not None:
            return _new_envelope((_latest.target, _latest.params, _method_of(_metadata_of(single)), [single], None))
        inputs, before, after, run = _split_request(request)
        metadata = _metadata_of(inputs[0]) if inputs else b""
    except IndexError:  # the message ends inside a tag or a length
        raise InvalidInput(_MALFORMED) from None
    if len(inputs) > MAX_INPUTS:
        raise InvalidInput(f"more than {MAX_INPUTS} inputs in one request: send them in several")
    head = before + after
    try:
        target, params = _targets[head]
    except KeyError:
        target, params = _remember(_targets, head, _read_head(head))
    method = _method_of(metadata)
    if len(inputs) == 1 and len(head) <= _MAX_CACHED_BYTES:
        _remember_layout(before, after, target, params)
    return Envelope(target, params, method, inputs, run)


def _method_of(metadata: bytes) -> str | None:
    try:
        return _methods[metadata]
    except KeyError:
        return _remember(_methods, metadata, _read_method(metadata))


def _single_of_latest(request: Payload) -> Payload | None:
    """Return the input of a request that has one, and around it what the latest one had; None if it is not like that.

    Most requests are: what a client says beside its inputs it says each time.
    """
    before, after, _, _ = _latest
    position = len(before)
    size = len(request) - len(after)
    if position + 2 > size or request[position] != _INPUTS_TAG or (before and request[:position] != before):
        return None
    length = request[position + 1]
    position += 2
    if length > 0x7F:
        length, position = varint.decode(request, position - 1)
    if position + length != size or (after and request[size:] != after):
        return None
    if length >= VIEW_FROM:
        return memoryview(request)[position:size]
    return bytes(request[position:size])


def _split_request(request: Payload) -> tuple[list[Payload], bytes, bytes, Payload | None]:
    """Return the inputs, the head in two parts, what is before them and after them, and the run of several inputs.

    Those that are in several runs go to `_split`.
    """
    size = len(request)
    inputs: list[Payload] = []
    first = last = position = 0  # request[first:last] is the run of inputs
    while position < size:
        tag = request[position]
        if tag & _USUAL_TAG_MASK != _BYTES:
            return *_split(request, _REQUEST_INPUTS), b"", None
        length = request[position + 1]
        start = position + 2
        if length > 0x7F:
            length, start = varint.decode(request, position + 1)
        end = start + length
        if tag == _INPUTS_TAG:
            source = request if length < VIEW_FROM else memoryview(request)
            if not inputs:
                first = position
            elif position != last:
                return *_split(request, _REQUEST_INPUTS), b"", None
            else:
                # Elements of a batch mostly have one length: then the next one starts with the same bytes.
                gap = start - position
                prefix = bytes(request[position:start])
                for _ in range(MAX_INPUTS - len(inputs)):
                    if request[end : end + gap] != prefix:
                        break
                    inputs.append(source[start:end])
                    start = end + gap
                    end = start + length
            inputs.append(source[start:end])
            if len(inputs) > MAX_INPUTS:
                break
            last = end
        elif end - (last - first) > MAX_HEAD_BYTES:
            return *_split(request, _REQUEST_INPUTS), b"", None
        position = end
    if position > size:
        raise InvalidInput(_MALFORMED)
    if not isinstance(request, bytes):
        inputs = [bytes(each) if len(each) < VIEW_FROM else each for each in inputs]
    run = memoryview(request)[first:last] if len(inputs) > 1 else None
    return inputs, bytes(request[:first]), bytes(request[last:]), run


def _metadata_of(payload: Payload) -> bytes:
    """Return the serialized metadata of an Input. Reads the shape that clients send; any other goes to `_split`."""
    size = len(payload)
    if size > 1 and payload[0] == _DATA_TAG:
        length = payload[1]
        position = 2
        if length > 0x7F:
            length, position = varint.decode(payload, 1)
        if length > 1 and position + length == size and payload[position] == _METADATA_TAG:
            length = payload[position + 1]
            start = position + 2
            if length > 0x7F:
                length, start = varint.decode(payload, position + 1)
            end = position = start + length
            # A second piece of metadata could follow the parts, so walk to the end.
            for _ in _USUAL_PARTS:
                if position >= size or payload[position : position + 2] != _PARTS_TAG:
                    break
                length = payload[position + 2]
                position += 3
                if length > 0x7F:
                    length, position = varint.decode(payload, position - 1)
                position += length
            if position == size:
                return bytes(payload[start:end])
    data, _ = _split(payload, _INPUT_DATA)
    metadata, _ = _split(data[0] if len(data) == 1 else b"".join(data), _DATA_METADATA)
    return b"".join(metadata)


def _split(message: Payload, number: int) -> tuple[list[Payload], bytes]:
    """Take a message apart, whatever the order of its fields.

    Returns:
        The bytes of each field of that number, and the bytes of all other fields joined.
    """
    size = len(message)
    found: list[Payload] = []
    rest: list[Payload] = []
    position = kept = depth = 0  # message[kept:position] belongs to the rest; `depth` counts open groups
    for _ in range(MAX_FIELDS):
        if position >= size:
            break
        tag, end = varint.decode(message, position)
        wire = tag & 7
        if wire == _BYTES:
            length, start = varint.decode(message, end)
            end = start + length
            if depth == 0 and tag >> 3 == number:
                rest.append(message[kept:position])
                found.append(bytes(message[start:end]) if length < VIEW_FROM else memoryview(message)[start:end])
                kept = end
        elif wire == _VARINT:
            _, end = varint.decode(message, end)
        elif wire == _FIXED64:
            end += 8
        elif wire == _FIXED32:
            end += 4
        elif wire == _GROUP:
            depth += 1
        elif wire == _END_GROUP and depth:
            depth -= 1
        else:
            raise InvalidInput(_MALFORMED)
        position = end
    else:
        raise InvalidInput(f"{MAX_FIELDS} fields or more at one level of the message")
    if position > size or depth:
        raise InvalidInput(_MALFORMED)
    rest.append(message[kept:])
    return found, b"".join(rest)


def _read_head(head: bytes) -> tuple[Target, bytes]:
    if len(head) > MAX_HEAD_BYTES:
        raise InvalidInput(f"more than {MAX_HEAD_BYTES} bytes beside the inputs")
    try:
        request = pb.PostModelOutputsRequest.FromString(head)
    except DecodeError:
        raise InvalidInput(_MALFORMED) from None
    selector = request.runner_selector
    target = Target(
        user_id=request.user_app_id.user_id,
        app_id=request.user_app_id.app_id,
        model_id=request.model_id,
        version_id=request.version_id,
        deployment_id=selector.deployment.id,
        nodepool_id=selector.nodepool.id,
        compute_cluster_id=selector.nodepool.compute_cluster.id,
    )
    return target, request.model.model_version.output_info.params.SerializeToString()


def _read_method(metadata: bytes) -> str | None:
    if len(metadata) > MAX_HEAD_BYTES:
        raise InvalidInput(f"more than {MAX_HEAD_BYTES} bytes of metadata in the first input", path="metadata")
    try:
        fields = Struct.FromString(metadata).fields
    except DecodeError:
        raise InvalidInput(_MALFORMED, path="metadata") from None
    if _METHOD_KEY not in fields:
        return None
    value = fields[_METHOD_KEY]
    if value.WhichOneof("kind") != "string_value":
        raise InvalidInput("the name of a method is text", path=f"metadata.{_METHOD_KEY}")
    return value.string_value


class _Layout(NamedTuple):
    """What stands around the one input of a request, and means this."""

    before: bytes
    after: bytes
    target: Target
    params: bytes


_latest = _Layout(b"", b"", Target(), b"")


def _remember_layout(before: bytes, after: bytes, target: Target, params: bytes) -> None:
    global _latest
    _latest = _Layout(before, after, target, params)


_targets: dict[bytes, tuple[Target, bytes]] = {}
_methods: dict[bytes, str | None] = {}


def _remember(cache: dict[bytes, _Value], key: bytes, value: _Value) -> _Value:
    """Keep a value, unless its key is long. A full cache starts again: what is in use is back within a call each."""
    if len(key) <= _MAX_CACHED_BYTES:
        if len(cache) >= _MAX_CACHED:
            cache.clear()
        cache[key] = value
    return value
