"""A small value of any type: what `runner check` calls a method with, and what a client script shows."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Final, assert_never

from runner.signature.method import REQUIRED, Argument, OpaqueDefault
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
from runner.types import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text, Video

__all__ = ["sample", "sample_argument"]

SENTENCE: Final = "What is the future of AI?"


def sample(node: Node) -> Any:
    """Return a value of a type. Media are small but real files: a PNG, a WAV and a GIF."""
    match node:
        case Leaf(kind):
            return _leaf(kind)
        case Json(shape):
            document = [1, 2, 3] if shape is JsonShape.ARRAY else {"key": "value"}
            return JSON(document) if shape is JsonShape.WRAPPED else document
        case Array(dtype):
            import numpy as np

            return np.array([[1, 2, 3], [4, 5, 6]], dtype=dtype or "float32")
        case ListOf(item):
            return [sample(item), sample(item)]
        case TupleOf(items):
            return tuple(map(sample, items))
        case FieldsOf(fields):
            return NamedFields(**{name: sample(item) for name, item in fields})
        case OptionalOf(item):
            return sample(item)
        case LiteralOf(choices):
            return choices[0]
        case _:
            assert_never(node)


def sample_argument(argument: Argument) -> Any:
    """Return a value for an argument, or one item if it is streamed: its default if that says something.

    Raises:
        LookupError: it is better left out, because the default is known to the server only.
    """
    default = argument.default
    if isinstance(default, OpaqueDefault):
        raise LookupError(argument.name)
    if default is REQUIRED or (default == "" and not argument.limits.choices):
        return sample(argument.node)
    return default


def _leaf(kind: Kind) -> Any:
    match kind:
        case Kind.STR:
            return SENTENCE
        case Kind.BYTES:
            return b"some bytes"
        case Kind.INT:
            return 1
        case Kind.FLOAT:
            return 0.5
        case Kind.BOOL:
            return True
        case Kind.TEXT:
            return Text(SENTENCE)
        case Kind.IMAGE:
            return Image(bytes=_PNG)
        case Kind.AUDIO:
            return Audio(bytes=_WAV)
        case Kind.VIDEO:
            return Video(bytes=_GIF)
        case Kind.CONCEPT:
            return Concept("cat", 0.75)
        case Kind.REGION:
            return Region(box=[0.25, 0.25, 0.75, 0.75], concepts=[Concept("cat", 0.75)], id="region")
        case Kind.FRAME:
            return Frame(image=Image(bytes=_PNG), time=0.5, index=1)
        case _:
            assert_never(kind)


def _png(side: int) -> bytes:
    """Return a square in two colours, RGB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    upper, lower = b"\x30\x60\x90" * side, b"\xe0\xb0\x40" * side
    rows = b"".join(b"\x00" + (upper if row < side // 2 else lower) for row in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def _wav(samples: int) -> bytes:
    """Return silence: 8 bits, mono, 8 kHz."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    data = struct.pack("<4sI", b"data", samples) + b"\x80" * samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


_PNG: Final = _png(32)
_WAV: Final = _wav(16)
# The smallest moving picture that decoders take: a GIF of one frame of one transparent pixel.
_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
