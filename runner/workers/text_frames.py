"""The rare messages between the server process and a worker, as JSON: easy to read in a trace, and nobody counts their
microseconds.

Errors have their fields here too, also where they are one end of many (`Mixed`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias, cast

from runner.errors import CallError, ErrorKind, call_error
from runner.execution.times import Times
from runner.processes.framing import PREFIX
from runner.signature.method import Cardinality
from runner.signature.published import Lane, Published
from runner.statistics import BatchStatistics
from runner.wire.payload import Payload
from runner.workers.messages import Failed, Load, LoadFailed, Ran, Ready, Room

TextMessage: TypeAlias = Load | LoadFailed | Ready | Ran | Room | Failed


def pack_error(error: CallError) -> bytes:
    """Return an error by itself."""
    return json.dumps(_error_fields(error)).encode()


def unpack_error(data: bytes) -> CallError:
    """Return the error that `pack_error` was given."""
    return _error(json.loads(data))


def append_text(out: list[Payload], message: TextMessage) -> int:
    """Append the frame of a message to `out`; return its length in bytes."""
    body = json.dumps(_fields_of(message)).encode()
    out.append(PREFIX.pack(1 + len(body), message.TAG) + body)
    return PREFIX.size + len(body)


def _fields_of(message: TextMessage) -> dict[str, object]:
    match message:
        case Failed():
            return {"id": message.id, "times": message.times, **_error_fields(message.error)}
        case Ready():
            return {"methods": [_published_fields(method) for method in message.methods]}
        case LoadFailed():
            return {"message": message.message, "details": message.details}
        case Ran():
            latest = None if message.latest is None else asdict(message.latest)
            return _plain_fields(message) | {"latest": latest}
        case Load() | Room():
            return _plain_fields(message)


def _plain_fields(message: Load | Ran | Room) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__ if name.islower()}


def _read_load(frame: memoryview) -> TextMessage:
    return Load(**_fields(frame))  # pyright: ignore[reportArgumentType]: our own sender wrote these fields


def _read_ran(frame: memoryview) -> TextMessage:
    fields = _fields(frame)
    latest = cast("dict[str, Any] | None", fields.pop("latest"))
    record = None if latest is None else BatchStatistics(**latest)
    return Ran(**fields, latest=record)  # pyright: ignore[reportArgumentType]: as above


def _read_room(frame: memoryview) -> TextMessage:
    fields = _fields(frame)
    return Room(Lane(str(fields["lane"])), cast(int, fields["calls"]))


def _read_ready(frame: memoryview) -> TextMessage:
    methods = cast(list[dict[str, object]], _fields(frame)["methods"])
    return Ready(tuple(_published(fields) for fields in methods))


def _read_load_failed(frame: memoryview) -> TextMessage:
    fields = _fields(frame)
    return LoadFailed(str(fields["message"]), str(fields["details"]))


def _read_failed(frame: memoryview) -> TextMessage:
    fields = _fields(frame)
    return Failed(cast(int, fields["id"]), _error(fields), Times(*cast("list[Any]", fields["times"])))


def _fields(frame: memoryview) -> dict[str, object]:
    return cast(dict[str, object], json.loads(bytes(frame[PREFIX.size :])))


def _error_fields(error: CallError) -> dict[str, object]:
    return {"kind": error.kind.value, "message": error.message, "details": error.details, "path": error.path}


def _error(fields: Mapping[str, object]) -> CallError:
    return call_error(
        ErrorKind(fields["kind"]), str(fields["message"]), details=str(fields["details"]), path=str(fields["path"])
    )


def _published_fields(method: Published) -> dict[str, object]:
    return {
        "name": method.name,
        "cardinality": method.cardinality.value,
        "lane": method.lane,
        "clarifai": method.clarifai.hex(),
        "native": method.native.hex(),
        "idempotent": method.idempotent,
        "max_batch_size": method.max_batch_size,
        "priority": method.priority,
        "slo": method.slo,
        "timeout": method.timeout,
        "max_timeout": method.max_timeout,
        "max_run": method.max_run,
    }


def _published(fields: dict[str, object]) -> Published:
    return Published(
        name=str(fields["name"]),
        cardinality=Cardinality(fields["cardinality"]),
        lane=Lane(str(fields["lane"])),
        clarifai=bytes.fromhex(str(fields["clarifai"])),
        native=bytes.fromhex(str(fields["native"])),
        idempotent=bool(fields["idempotent"]),
        max_batch_size=cast(int, fields["max_batch_size"]),
        priority=cast(int, fields["priority"]),
        slo=cast("float | None", fields["slo"]),
        timeout=cast("float | None", fields["timeout"]),
        max_timeout=cast("float | None", fields["max_timeout"]),
        max_run=cast("float | None", fields["max_run"]),
    )


TEXT_READERS: Final[Mapping[int, Callable[[memoryview], TextMessage]]] = {
    Load.TAG: _read_load,
    Ready.TAG: _read_ready,
    LoadFailed.TAG: _read_load_failed,
    Failed.TAG: _read_failed,
    Ran.TAG: _read_ran,
    Room.TAG: _read_room,
}
"""What reads the frame of a message, whole and with its length prefix, by its tag."""
