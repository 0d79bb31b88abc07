"""Every message that crosses between the server process and a worker: one closed list, and its bytes.

A frame is `u32 length, u8 tag, body`; the length counts what follows it. Numbers are little-endian. `pack` appends the
frame's pieces to a list, so that a large payload is never joined or copied; `unpack` is its inverse. There are two
sockets to a worker: messages marked `CONTROL` take the second one and overtake payloads that are still on their way.
Nothing is pickled, and nothing here knows sockets or loops.

Messages are frozen. The three that every call costs are named tuples, which are made three times as fast as frozen
dataclasses.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias, cast

from runner.errors import CallError, ErrorKind, call_error
from runner.signature.method import Cardinality
from runner.signature.published import Lane, Published
from runner.wire.payload import Payload

Pairs: TypeAlias = tuple[tuple[str, str], ...]

JOIN_BELOW = 16 * 1024
"""bytes: a smaller payload is joined to its head, since one more buffer costs the system call more than the copy."""

PREFIX = struct.Struct("<IB")
_ID = struct.Struct("<IBQ")
_CALL = struct.Struct("<IBQHdHII")
_COUNT = struct.Struct("<IBQI")
NO_DEADLINE = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """First message to a worker: what to load, and where it may run.

    Attributes:
        model_dir: absolute path of the model directory.
        device: what `self.device` will be, such as `cpu` or `cuda:0`.
        num_threads: unary plain functions that may run at once.
        max_streams: streams of plain functions that may run at once.
        allow_private_urls: whether inputs may be fetched from private addresses.
        fetch_timeout: seconds for one input given by URL.
        fetch_max_bytes: size limit of one such input.
        fetch_max_redirects: redirects followed for one such input.
    """

    TAG: ClassVar[int] = 1
    CONTROL: ClassVar[bool] = True

    model_dir: str
    device: str
    num_threads: int
    max_streams: int
    allow_private_urls: bool
    fetch_timeout: float
    fetch_max_bytes: int
    fetch_max_redirects: int


class Call(NamedTuple):
    """Run a method."""

    id: int
    """Unique on this link, and larger than every one before it."""
    method: int
    """Index into the methods of `Ready`."""
    payload: Payload
    """One serialized input; the first one of an input stream."""
    params: bytes
    """Old-style parameters, a serialized struct; usually empty."""
    time_left: float | None
    """Seconds until the caller's deadline; None without one."""
    request_id: str
    metadata: bytes
    """Packed by `pack_pairs`."""

    TAG = 2
    CONTROL = False


class Item(NamedTuple):
    """One more input of a streamed call (to the worker), or one more of its outputs (from it)."""

    id: int
    payload: Payload

    TAG = 3
    CONTROL = False


@dataclass(frozen=True, slots=True)
class EndInput:
    """The caller has no more to send."""

    TAG: ClassVar[int] = 4
    CONTROL: ClassVar[bool] = False

    id: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Leave to send `items` more: outputs when sent to the worker, inputs when sent by it."""

    TAG: ClassVar[int] = 5
    CONTROL: ClassVar[bool] = True

    id: int
    items: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the call. The worker still answers with `Failed` or `Result`, and only then is its room free again."""

    TAG: ClassVar[int] = 6
    CONTROL: ClassVar[bool] = True

    id: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded; these are its methods, in order."""

    TAG: ClassVar[int] = 16
    CONTROL: ClassVar[bool] = True

    methods: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded; the worker exits after this."""

    TAG: ClassVar[int] = 17
    CONTROL: ClassVar[bool] = True

    message: str
    details: str


class Result(NamedTuple):
    """A call's last message when all went well."""

    id: int
    payload: Payload
    """The serialized output of a call whose answer is one value; empty at the end of an output stream."""

    TAG = 18
    CONTROL = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A call's last message when it did not end well."""

    TAG: ClassVar[int] = 19
    CONTROL: ClassVar[bool] = False

    id: int
    error: CallError


ToWorker: TypeAlias = Load | Call | Item | EndInput | Credit | Cancel
FromWorker: TypeAlias = Ready | LoadFailed | Item | Credit | Result | Failed
Message: TypeAlias = Load | Call | Item | EndInput | Credit | Cancel | Ready | LoadFailed | Result | Failed


def pack(message: Message, out: list[Payload]) -> int:
    """Append the frame of a message to `out`; return its length in bytes."""
    match message:
        case Call():
            request_id = message.request_id.encode()
            time_left = NO_DEADLINE if message.time_left is None else max(message.time_left, 0.0)
            variable = len(request_id) + len(message.metadata) + len(message.params)
            head = _CALL.pack(
                _CALL.size - 4 + variable + len(message.payload),
                Call.TAG,
                message.id,
                message.method,
                time_left,
                len(request_id),
                len(message.metadata),
                len(message.params),
            )
            return _append(out, b"".join((head, request_id, message.metadata, message.params)), message.payload)
        case Item() | Result():
            head = _ID.pack(_ID.size - 4 + len(message.payload), message.TAG, message.id)
            return _append(out, head, message.payload)
        case Credit():
            return _append(out, _COUNT.pack(_COUNT.size - 4, Credit.TAG, message.id, message.items), b"")
        case EndInput() | Cancel():
            return _append(out, _ID.pack(_ID.size - 4, message.TAG, message.id), b"")
        case Failed():
            return _append_text(out, Failed.TAG, {"id": message.id, **_error_fields(message.error)})
        case Load():
            fields = {name: getattr(message, name) for name in Load.__dataclass_fields__ if name.islower()}
            return _append_text(out, Load.TAG, fields)
        case Ready():
            return _append_text(out, Ready.TAG, {"methods": [_published_fields(method) for method in message.methods]})
        case LoadFailed():
            return _append_text(out, LoadFailed.TAG, {"message": message.message, "details": message.details})


def unpack(frame: memoryview) -> Message:
    """Return the message of one whole frame, its length prefix included.

    A payload of `JOIN_BELOW` bytes or more is a view into `frame`; a smaller one is copied out of it.

    Raises:
        ValueError: the frame is not one of ours.
    """
    tag = frame[4]
    reader = _READERS.get(tag)
    if reader is None:
        raise ValueError(f"unknown message tag {tag} on the link to a worker")
    return reader(frame)


def pack_pairs(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return metadata pairs as the bytes that `Call.metadata` carries."""
    return json.dumps(pairs).encode() if pairs else b""


def unpack_pairs(data: bytes) -> Pairs:
    """Return the pairs that `pack_pairs` was given."""
    return tuple((key, value) for key, value in json.loads(data)) if data else ()


def _append(out: list[Payload], head: bytes, payload: Payload) -> int:
    if not payload:
        out.append(head)
    elif len(payload) < JOIN_BELOW:
        out.append(head + payload)
    else:
        out.append(head)
        out.append(payload)
    return len(head) + len(payload)


def _append_text(out: list[Payload], tag: int, fields: dict[str, object]) -> int:
    """Rare messages are JSON: easy to read in a trace, and nobody counts their microseconds."""
    body = json.dumps(fields).encode()
    out.append(PREFIX.pack(1 + len(body), tag) + body)
    return PREFIX.size + len(body)


def _rest(frame: memoryview, start: int) -> Payload:
    rest = frame[start:]
    return rest if len(rest) >= JOIN_BELOW else bytes(rest)


def _read_call(frame: memoryview) -> Message:
    _, _, call_id, method, time_left, id_size, metadata_size, params_size = _CALL.unpack_from(frame)
    start = _CALL.size
    request_id = str(frame[start : start + id_size], "utf-8")
    start += id_size
    metadata = bytes(frame[start : start + metadata_size])
    start += metadata_size
    params = bytes(frame[start : start + params_size])
    payload = _rest(frame, start + params_size)
    return Call(call_id, method, payload, params, None if time_left < 0 else time_left, request_id, metadata)


def _read_item(frame: memoryview) -> Message:
    return Item(_ID.unpack_from(frame)[2], _rest(frame, _ID.size))


def _read_result(frame: memoryview) -> Message:
    return Result(_ID.unpack_from(frame)[2], _rest(frame, _ID.size))


def _read_end_input(frame: memoryview) -> Message:
    return EndInput(_ID.unpack_from(frame)[2])


def _read_cancel(frame: memoryview) -> Message:
    return Cancel(_ID.unpack_from(frame)[2])


def _read_credit(frame: memoryview) -> Message:
    _, _, call_id, items = _COUNT.unpack_from(frame)
    return Credit(call_id, items)


def _read_load(frame: memoryview) -> Message:
    return Load(**_fields(frame))  # pyright: ignore[reportArgumentType]: our own sender wrote these fields


def _read_ready(frame: memoryview) -> Message:
    methods = cast(list[dict[str, object]], _fields(frame)["methods"])
    return Ready(tuple(_published(fields) for fields in methods))


def _read_load_failed(frame: memoryview) -> Message:
    fields = _fields(frame)
    return LoadFailed(str(fields["message"]), str(fields["details"]))


def _read_failed(frame: memoryview) -> Message:
    fields = _fields(frame)
    error = call_error(
        ErrorKind(fields["kind"]), str(fields["message"]), details=str(fields["details"]), path=str(fields["path"])
    )
    return Failed(cast(int, fields["id"]), error)


def _fields(frame: memoryview) -> dict[str, object]:
    return cast(dict[str, object], json.loads(bytes(frame[PREFIX.size :])))


def _error_fields(error: CallError) -> dict[str, object]:
    return {"kind": error.kind.value, "message": error.message, "details": error.details, "path": error.path}


def _published_fields(method: Published) -> dict[str, object]:
    return {
        "name": method.name,
        "cardinality": method.cardinality.value,
        "lane": method.lane.value,
        "clarifai": method.clarifai.hex(),
        "native": method.native.hex(),
        "idempotent": method.idempotent,
    }


def _published(fields: dict[str, object]) -> Published:
    return Published(
        name=str(fields["name"]),
        cardinality=Cardinality(fields["cardinality"]),
        lane=Lane(fields["lane"]),
        clarifai=bytes.fromhex(str(fields["clarifai"])),
        native=bytes.fromhex(str(fields["native"])),
        idempotent=bool(fields["idempotent"]),
    )


_READERS: dict[int, Callable[[memoryview], Message]] = {
    Load.TAG: _read_load,
    Call.TAG: _read_call,
    Item.TAG: _read_item,
    EndInput.TAG: _read_end_input,
    Credit.TAG: _read_credit,
    Cancel.TAG: _read_cancel,
    Ready.TAG: _read_ready,
    LoadFailed.TAG: _read_load_failed,
    Result.TAG: _read_result,
    Failed.TAG: _read_failed,
}
