"""Frames: what every message between two processes begins with, and where its payload goes.

A frame is `u32 length, u8 tag, body`; the length counts what follows it. Numbers are little-endian. A payload is the
last part of a body. One that lies in shared memory (`shared.py`) is left out of it, and another head comes before the
frame: `u32 length, u8 SHARED_TAG, u64 position, u32 size`.
"""

from __future__ import annotations

import struct
from typing import Final

from runner.processes.shared import SharedReader, SharedWriter
from runner.wire.payload import Payload

JOIN_BELOW: Final = 16 * 1024
"""bytes: a smaller payload is joined to its head, since one more buffer costs the system call more than the copy."""

LENGTH: Final = struct.Struct("<I")
PREFIX: Final = struct.Struct("<IB")

SHARED_TAG: Final = 239
_SHARED: Final = struct.Struct("<IBQI")


def append(out: list[Payload], head: bytes, payload: Payload, shared: SharedWriter | None = None) -> int:
    """Append a frame to `out`, in pieces, so that a long payload is never joined or copied; return its length in bytes.

    Args:
        out: gets the pieces.
        head: everything before the payload; its length counts the payload too.
        payload: perhaps empty.
        shared: where long ones may be laid down.
    """
    if not payload:
        out.append(head)
    elif len(payload) < JOIN_BELOW:
        out.append(head + payload)
    elif shared is not None and (position := shared.put(payload)) >= 0:
        head = LENGTH.pack(len(head) - 4) + head[4:]
        out.append(_SHARED.pack(_SHARED.size - 4 + len(head), SHARED_TAG, position, len(payload)) + head)
        return _SHARED.size + len(head)
    else:
        out.append(head)
        out.append(payload)
    return len(head) + len(payload)


def apart(frame: memoryview, shared: SharedReader) -> tuple[memoryview, memoryview]:
    """Return a frame without its payload, and the payload where it lies. The frame's tag is `SHARED_TAG`.

    Raises:
        ValueError, struct.error: it lies nowhere.
    """
    _, _, position, size = _SHARED.unpack_from(frame)
    return frame[_SHARED.size :], shared.view(position, size)


def rest(frame: memoryview, start: int) -> Payload:
    """Return the payload of a frame that has it from `start` on: in place if it is long, a copy if it is not."""
    payload = frame[start:]
    return payload if len(payload) >= JOIN_BELOW else bytes(payload)
