"""The bytes of the messages between the server process and a worker.

`pack` appends a frame's pieces to a list (`processes/framing.py` says what frames are); `unpack` is its inverse.
What there is of every call is bytes, here; the rest is text (`text_frames.py`).
Nothing is pickled, and nothing here knows sockets or loops.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from itertools import chain

from runner.errors import CallError
from runner.execution.times import Times
from runner.processes.framing import JOIN_BELOW, SHARED_TAG, apart, append, rest
from runner.processes.shared import SharedReader, SharedWriter
from runner.tuples import maker
from runner.wire.payload import Payload
from runner.workers.messages import (
    Call,
    Calls,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Items,
    Load,
    LoadFailed,
    Message,
    Mixed,
    Ran,
    Ready,
    Result,
    Results,
    Room,
)
from runner.workers.text_frames import TEXT_READERS, append_text, pack_error, unpack_error

_ID = struct.Struct("<IBQ")
_ITEMS = struct.Struct("<IBH")
_CALL = struct.Struct("<IBQHdHIIH")
_COUNT = struct.Struct("<IBQIQ")
_CALLS = struct.Struct("<IBQHHHIH")
_RESULT = struct.Struct("<IBQffffH")
_RESULTS = struct.Struct("<IBQHH")
_TIMES = struct.Struct("<ffffH")
_END = struct.Struct("<I?")  # of one input: how many bytes, and whether they are an error
NO_DEADLINE = -1.0
_BETWEEN = "\n"
"""What no request id has in it: they are values of HTTP fields, or ours."""

_ITEM = Item.TAG
new_item = maker(Item)
new_items = maker(Items)
_new_times = maker(Times)


def pack(message: Message, out: list[Payload], shared: SharedWriter | None = None) -> int:
    """Append the frame of a message to `out`; return its length in bytes.

    Args:
        message: what to send.
        out: gets the pieces.
        shared: where long payloads may be laid down.
    """
    if isinstance(message, Item):  # every chunk of every stream
        payload = message.payload
        size = len(payload)
        head = _ID.pack(_ID.size - 4 + size, _ITEM, message.id)
        if 0 < size < JOIN_BELOW:
            out.append(head + payload)
            return _ID.size + size
        return append(out, head, payload, shared)
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
                message.inputs,
            )
            head = b"".join((head, request_id, message.metadata, message.params))
            return append(out, head, message.payload, shared)
        case Items():
            ids, payloads = message.ids, message.payloads
            count = len(ids)
            numbers = struct.pack(f"<{count}Q{count}I", *ids, *map(len, payloads))
            data = b"".join((numbers, *payloads))
            out += (_ITEMS.pack(_ITEMS.size - 4 + len(data), Items.TAG, count), data)
            return _ITEMS.size + len(data)
        case Calls():
            count = len(message.request_ids)
            request_ids = _BETWEEN.join(message.request_ids).encode()
            left: list[float] = []
            if message.times_left.count(None) < count:
                left = [NO_DEADLINE if each is None else max(each, 0.0) for each in message.times_left]
            blocks = message.metadata
            numbers = struct.pack(f"<{len(left)}d{len(blocks)}I", *left, *map(len, blocks))
            metadata = b"".join(blocks)
            head = _CALLS.pack(
                _CALLS.size - 4 + len(numbers) + len(request_ids) + len(metadata) + len(message.payload),
                Calls.TAG,
                message.id,
                message.method,
                count,
                len(left),
                len(request_ids),
                len(blocks),
            )
            return append(out, b"".join((head, numbers, request_ids, metadata)), message.payload, shared)
        case Results():
            payload, times = message.payload, message.times
            count = len(times)
            size = _RESULTS.size - 4 + count * _TIMES.size + len(payload)
            head = _RESULTS.pack(size, Results.TAG, message.id, message.calls, count)
            times = _times_of(count).pack(*chain.from_iterable(times))
            return append(out, head + times, payload, shared)
        case Result():
            payload = message.payload
            head = _RESULT.pack(_RESULT.size - 4 + len(payload), Result.TAG, message.id, *message.times)
            if not payload or len(payload) >= JOIN_BELOW:
                return append(out, head, payload, shared)
            out.append(head + payload)
            return _RESULT.size + len(payload)
        case Credit():
            return append(out, _COUNT.pack(_COUNT.size - 4, Credit.TAG, message.id, message.items, message.size), b"")
        case EndInput() | Cancel():
            return append(out, _ID.pack(_ID.size - 4, message.TAG, message.id), b"")
        case Mixed():
            payload = b"".join([piece for end in message.ends for piece in _end_pieces(end)])
            head = _RESULT.pack(_RESULT.size - 4 + len(payload), Mixed.TAG, message.id, *message.times)
            return append(out, head, payload)
        case Load() | LoadFailed() | Ready() | Ran() | Room() | Failed():
            return append_text(out, message)


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
        if tag == _ITEM:  # every chunk of every stream
            payload = frame[_ID.size :]
            return new_item((_ID.unpack_from(frame)[2], payload if len(payload) >= JOIN_BELOW else bytes(payload)))
        if (reader := _READERS.get(tag)) is not None:
            return reader(frame)
        if tag == SHARED_TAG and shared is not None:
            without, payload = apart(frame, shared)
            return _with_payload(unpack(without), payload)
    except (struct.error, TypeError, KeyError, ValueError) as exc:
        raise ValueError(f"a message on the link to a worker cannot be read: {exc!r}") from exc
    raise ValueError(f"unknown message tag {'none' if tag < 0 else tag} on the link to a worker")


def _with_payload(message: Message, payload: memoryview) -> Message:
    if not isinstance(message, Call | Calls | Item | Result | Results) or message.payload:
        raise ValueError(f"{type(message).__name__} has no payload to lie elsewhere")
    return message._replace(payload=payload)


def _read_call(frame: memoryview) -> Message:
    _, _, call_id, method, time_left, id_size, metadata_size, params_size, inputs = _CALL.unpack_from(frame)
    start = _CALL.size
    request_id = str(frame[start : start + id_size], "utf-8")
    start += id_size
    metadata = bytes(frame[start : start + metadata_size])
    start += metadata_size
    params = bytes(frame[start : start + params_size])
    payload = rest(frame, start + params_size)
    return Call(call_id, method, payload, params, None if time_left < 0 else time_left, request_id, metadata, inputs)


def _read_result(frame: memoryview) -> Message:
    _, _, call_id, *times = _RESULT.unpack_from(frame)
    return Result(call_id, rest(frame, _RESULT.size), Times(*times))


def _read_items(frame: memoryview) -> Message:
    _, _, count = _ITEMS.unpack_from(frame)
    numbers = struct.unpack_from(f"<{count}Q{count}I", frame, _ITEMS.size)
    data = bytes(frame)
    position = _ITEMS.size + 12 * count
    payloads: list[bytes] = []
    for size in numbers[count:]:
        payloads.append(data[position : position + size])
        position += size
    if position != len(data):
        raise ValueError(f"{count} items come to {position} bytes in a frame of {len(data)}")
    return new_items((numbers[:count], tuple(payloads)))


def _read_calls(frame: memoryview) -> Message:
    _, _, call_id, method, count, timed, ids_size, blocks = _CALLS.unpack_from(frame)
    numbers = struct.unpack_from(f"<{timed}d{blocks}I", frame, _CALLS.size)
    start = _CALLS.size + 8 * timed + 4 * blocks
    request_ids = str(frame[start : start + ids_size], "utf-8").split(_BETWEEN)
    if len(request_ids) != count or timed not in (0, count) or blocks not in (1, count):
        raise ValueError(f"{len(request_ids)} ids, {timed} times and {blocks} blocks of metadata of {count} calls")
    start += ids_size
    metadata: list[bytes] = []
    for size in numbers[timed:]:
        metadata.append(bytes(frame[start : start + size]))
        start += size
    times_left = tuple([None if each < 0 else each for each in numbers[:timed]]) if timed else (None,) * count
    return Calls(call_id, method, rest(frame, start), times_left, tuple(request_ids), tuple(metadata))


def _read_results(frame: memoryview) -> Message:
    _, _, call_id, calls, count = _RESULTS.unpack_from(frame)
    start = _RESULTS.size + count * _TIMES.size
    if start > len(frame) or count not in (1, calls):
        raise ValueError(f"{count} times of {calls} calls")
    times = tuple(map(_new_times, _TIMES.iter_unpack(frame[_RESULTS.size : start])))
    return Results(call_id, calls, rest(frame, start), times)


@functools.cache
def _times_of(count: int) -> struct.Struct:
    """Return what packs the times of so many calls, which are few enough to be told together."""
    return struct.Struct("<" + count * "ffffH")


def _end_pieces(end: Payload | CallError) -> tuple[Payload, Payload]:
    data = pack_error(end) if isinstance(end, CallError) else end
    return _END.pack(len(data), isinstance(end, CallError)), data


def _read_mixed(frame: memoryview) -> Message:
    _, _, call_id, *times = _RESULT.unpack_from(frame)
    ends: list[Payload | CallError] = []
    position = _RESULT.size
    while position < len(frame):
        size, failed = _END.unpack_from(frame, position)
        start = position + _END.size
        position = start + size
        if position > len(frame):
            raise ValueError("it ends inside of an output")
        data = bytes(frame[start:position])
        ends.append(unpack_error(data) if failed else data)
    return Mixed(call_id, tuple(ends), Times(*times))


def _read_end_input(frame: memoryview) -> Message:
    return EndInput(_ID.unpack_from(frame)[2])


def _read_cancel(frame: memoryview) -> Message:
    return Cancel(_ID.unpack_from(frame)[2])


def _read_credit(frame: memoryview) -> Message:
    _, _, call_id, items, size = _COUNT.unpack_from(frame)
    return Credit(call_id, items, size)


_READERS: dict[int, Callable[[memoryview], Message]] = {
    **TEXT_READERS,
    Call.TAG: _read_call,
    Calls.TAG: _read_calls,
    Items.TAG: _read_items,
    EndInput.TAG: _read_end_input,
    Credit.TAG: _read_credit,
    Cancel.TAG: _read_cancel,
    Result.TAG: _read_result,
    Results.TAG: _read_results,
    Mixed.TAG: _read_mixed,
}
