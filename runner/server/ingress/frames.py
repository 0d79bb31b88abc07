"""The bytes of the messages between the main process and an ingress process.

`pack` appends a frame's pieces to a list (`processes/framing.py` says what frames are); `unpack` is its inverse.
Nothing is pickled, and nothing here knows sockets or loops.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

from runner.processes.framing import JOIN_BELOW, PREFIX, SHARED_TAG, apart, append, rest
from runner.processes.shared import SharedReader, SharedWriter
from runner.server.ingress.messages import (
    Beat,
    Call,
    Cancel,
    Credit,
    Drain,
    Encrypt,
    EndInput,
    Failed,
    Item,
    Left,
    Message,
    Ready,
    Result,
    RpcKind,
    Serve,
)
from runner.wire.payload import Payload

_ID: Final = struct.Struct("<IBQ")
_CALL: Final = struct.Struct("<IBQdII")  # and the lengths of request id and head
_COUNT: Final = struct.Struct("<IBQIQ")
_RESULT: Final = struct.Struct("<IBQII")  # and the lengths of the reply's beginning and of the trailers
_FAILED: Final = struct.Struct("<IBQIII")  # and the code and the lengths of message and trailers
_DRAIN: Final = struct.Struct("<IBd")
_ENCRYPT: Final = struct.Struct("<IBII")  # and the lengths of certificate and key
_NO_DEADLINE: Final = -1.0

_CALL_TAG: Final = Call.TAG
_RESULT_TAG: Final = Result.TAG
_ITEM_TAG: Final = Item.TAG
_Fields: TypeAlias = tuple[int, bytes, float | None, str, Payload]
_new_call = cast(Callable[[_Fields], Call], functools.partial(tuple.__new__, Call))  # pyright: ignore[reportUnknownMemberType]: the items of tuples are open
"""Makes a call in half of the time that its class takes."""
new_item = cast(Callable[[tuple[int, Payload]], Item], functools.partial(tuple.__new__, Item))  # pyright: ignore[reportUnknownMemberType]: as above
"""Makes an item so."""


def pack(message: Message, out: list[Payload], shared: SharedWriter | None = None) -> int:
    """Append the frame of a message to `out`; return its length in bytes.

    Args:
        message: what to send.
        out: gets the pieces.
        shared: where long payloads may be laid down.
    """
    match message:
        case Item():  # every chunk of every stream
            payload = message.payload
            size = len(payload)
            fixed = _ID.pack(_ID.size - 4 + size, _ITEM_TAG, message.id)
            if 0 < size < JOIN_BELOW:
                out.append(fixed + payload)
                return _ID.size + size
            return append(out, fixed, payload, shared)
        case Result():
            begin, payload, trailers = message.begin, message.payload, message.trailers
            size = _RESULT.size - 4 + len(begin) + len(trailers) + len(payload)
            fixed = _RESULT.pack(size, _RESULT_TAG, message.id, len(begin), len(trailers))
            if begin or trailers:
                fixed = b"".join((fixed, begin, trailers))
            elif 0 < len(payload) < JOIN_BELOW:  # most of them
                out.append(fixed + payload)
                return size + 4
            return append(out, fixed, payload, shared)
        case Call():
            request_id, head, payload = message.request_id.encode(), message.head, message.payload
            size = _CALL.size - 4 + len(request_id) + len(head) + len(payload)
            deadline = _NO_DEADLINE if message.deadline is None else message.deadline
            fixed = _CALL.pack(size, Call.TAG, message.id, deadline, len(request_id), len(head))
            return append(out, b"".join((fixed, request_id, head)), payload, shared)
        case Credit():
            return append(out, _COUNT.pack(_COUNT.size - 4, Credit.TAG, message.id, message.items, message.size), b"")
        case EndInput() | Cancel():
            return append(out, _ID.pack(_ID.size - 4, message.TAG, message.id), b"")
        case Failed():
            text, trailers, details = message.message.encode(), message.trailers, message.details
            size = _FAILED.size - 4 + len(text) + len(trailers) + len(details)
            fixed = _FAILED.pack(size, Failed.TAG, message.id, message.code, len(text), len(trailers))
            return append(out, b"".join((fixed, text, trailers)), details)
        case Left():
            return append(out, _ID.pack(_ID.size - 4, Left.TAG, message.connections), b"")
        case Ready():
            return append(out, _ID.pack(_ID.size - 4, Ready.TAG, message.room), b"")
        case Beat():
            return append(out, PREFIX.pack(1, Beat.TAG), b"")
        case Drain():
            return append(out, _DRAIN.pack(_DRAIN.size - 4, Drain.TAG, message.grace), b"")
        case Encrypt():
            certificate, key, client_ca = message.certificate, message.key, message.client_ca or b""
            size = _ENCRYPT.size - 4 + len(certificate) + len(key) + len(client_ca)
            fixed = _ENCRYPT.pack(size, Encrypt.TAG, len(certificate), len(key))
            return append(out, b"".join((fixed, certificate, key)), client_ca)
        case Serve():
            body = json.dumps({name: getattr(message, name) for name in message.__dataclass_fields__ if name.islower()})
            return append(out, PREFIX.pack(1 + len(body), Serve.TAG), body.encode())


def unpack(frame: memoryview, shared: SharedReader | None = None) -> Message:
    """Return the message of one whole frame, its length prefix included.

    A payload of `JOIN_BELOW` bytes or more is a view into `frame`, or into shared memory; a smaller one is copied out.

    Args:
        frame: the frame.
        shared: where payloads may lie that are not in their frames.

    Raises:
        ValueError: the frame is not one of ours.
    """
    tag = frame[4] if len(frame) > 4 else -1
    try:
        if tag == _ITEM_TAG:
            payload = frame[_ID.size :]
            return new_item((_ID.unpack_from(frame)[2], payload if len(payload) >= JOIN_BELOW else bytes(payload)))
        if tag == _CALL_TAG:
            _, _, call_id, deadline, id_size, head_size = _CALL.unpack_from(frame)
            head = _CALL.size + id_size
            start = head + head_size
            payload = frame[start:]
            return _new_call(
                (
                    call_id,
                    bytes(frame[head:start]),
                    None if deadline < 0 else deadline,
                    str(frame[_CALL.size : head], "utf-8"),
                    payload if len(payload) >= JOIN_BELOW else bytes(payload),
                )
            )
        if tag == SHARED_TAG and shared is not None:
            without, payload = apart(frame, shared)
            message = unpack(without)
            if not isinstance(message, Call | Item | Result) or message.payload:
                raise ValueError(f"{type(message).__name__} has no payload to lie elsewhere")
            return message._replace(payload=payload)
        return _read(frame, tag)
    except (struct.error, TypeError, KeyError, IndexError, ValueError) as exc:
        raise ValueError(f"a message between the main process and an ingress process cannot be read: {exc!r}") from exc


def _read(frame: memoryview, tag: int) -> Message:
    match tag:
        case Result.TAG:
            _, _, call_id, begin_size, trailers_size = _RESULT.unpack_from(frame)
            trailers = _RESULT.size + begin_size
            return Result(
                call_id,
                bytes(frame[_RESULT.size : trailers]),
                rest(frame, trailers + trailers_size),
                bytes(frame[trailers : trailers + trailers_size]),
            )
        case Credit.TAG:
            _, _, call_id, items, size = _COUNT.unpack_from(frame)
            return Credit(call_id, items, size)
        case EndInput.TAG:
            return EndInput(_ID.unpack_from(frame)[2])
        case Cancel.TAG:
            return Cancel(_ID.unpack_from(frame)[2])
        case Failed.TAG:
            _, _, call_id, code, text_size, trailers_size = _FAILED.unpack_from(frame)
            trailers = _FAILED.size + text_size
            details = trailers + trailers_size
            text = str(frame[_FAILED.size : trailers], "utf-8")
            return Failed(call_id, code, text, bytes(frame[details:]), bytes(frame[trailers:details]))
        case Left.TAG:
            return Left(_ID.unpack_from(frame)[2])
        case Ready.TAG:
            return Ready(_ID.unpack_from(frame)[2])
        case Beat.TAG:
            return Beat()
        case Drain.TAG:
            return Drain(_DRAIN.unpack_from(frame)[2])
        case Encrypt.TAG:
            _, _, certificate_size, key_size = _ENCRYPT.unpack_from(frame)
            key = _ENCRYPT.size + certificate_size
            client_ca = key + key_size
            return Encrypt(
                bytes(frame[_ENCRYPT.size : key]), bytes(frame[key:client_ca]), bytes(frame[client_ca:]) or None
            )
        case Serve.TAG:
            fields = cast("dict[str, Any]", json.loads(bytes(frame[PREFIX.size :])))
            fields["rpcs"] = tuple(RpcKind(*each) for each in fields["rpcs"])
            return Serve(**fields)
        case _:
            raise ValueError(f"unknown tag {'none' if tag < 0 else tag}")
