"""Messages that are nearly right: valid ones taken apart by the wire format, changed in a few places, put together.

A message of random bytes fails at its first tag. These fail deep inside, or not at all, which is where bugs live. Every
change is drawn from the one `Random` that is given, so that a seed and a number are a message.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = range(6)
RAW = -1

MAX_BYTES = 1 << 17
"""A message grows no longer than this: what is to be found is wrong at any size, and short ones are a thousand times as
many. Long ones are made on purpose, by `repeated`."""

NUMBERS = (0, 1, 2, 63, 64, 127, 128, 255, 256, 16383, 16384, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1)
NUMBERS += (2**63, 2**64 - 1)

CONTENTS = (
    b"",
    b"\0",
    b"\xff\xfe",  # no UTF-8
    b"\xed\xa0\x80",  # a surrogate, which UTF-8 has no place for
    b"_method_name",
    b"_none",
    b"_list",
    b"_value",
    b"return",
    b"null",
    b"true",
    b"-1",
    b"0.5",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"9" * 5000,
    b'"\\ud800"',
    b'{"a": "\\ud800"}',
    b'["\\ud800", 1, {"\\udfff": 2}]',
    b"[1, 2, [3]]",
    b"[[1, 2], [3, 4.5]]",
    b'[["' + b"x" * 4000 + b'"' + b", 1" * 4000 + b"]]",
    b"[" * 70 + b"]" * 70,
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 200 + b"1" + b"}" * 200,
    b'{"_list": [1]}',
    b'{"name": "x", "value": 1e400, "id": 7}',
    b'{"region_info": {"bounding_box": {"left_col": "a"}}}',
    b'{"base64": {"type": "Buffer", "data": [256, -1, "x"]}}',
    b'{"base64": "not base64!"}',
    b'{"url": "http://127.0.0.1/"}',
    b"b'abc'",
    b"(" * 200,
    b"float32",
    b"object",
    b"O",
    b"S4",
    b"i8,i8",
    b"(1000,)f8",
    b"M8[ns]",
    b">f8",
    b"complex256",
    b"\x89PNG\r\n\x1a\n",
    b"x = 1\nimport os",
    b"lambda",
)
"""What some reader treats in a way of its own."""


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: its number.
        wire: its wire type; `RAW`: bytes that need not be a field.
        content: its value, or its bytes without tag and length.
        raw: all its bytes.
    """

    number: int
    wire: int
    content: int | bytes
    raw: bytes


def encode_varint(value: int) -> bytes:
    """Return a number in its shortest form."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field(number: int, wire: int, content: int | bytes) -> Field:
    """Return a field with its bytes."""
    raw = encode_varint(number << 3 | wire)
    if isinstance(content, int):
        raw += encode_varint(content)
    else:
        raw += encode_varint(len(content)) + content if wire == BYTES else content
    return Field(number, wire, content, raw)


def raw_field(raw: bytes) -> Field:
    """Return bytes in the place of a field."""
    return Field(0, RAW, raw, raw)


@functools.lru_cache(maxsize=4096)
def take_apart(message: bytes) -> tuple[Field, ...]:
    """Return the fields of a message at its top level; none if the bytes are no message."""
    fields: list[Field] = []
    position, size = 0, len(message)
    while position < size:
        start = position
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        content: int | bytes
        if wire == VARINT:
            content, position = _varint(message, position)
        else:
            if wire == BYTES:
                length, position = _varint(message, position)
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
            else:
                return ()
            content = message[position : position + length]
            position += length
        if position > size or number == 0:
            return ()
        fields.append(Field(number, wire, content, message[start:position]))
    return tuple(fields)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number and where it ends; a place behind the data if it does not end."""
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return value, len(data) + 1


def put_together(fields: Sequence[Field]) -> bytes:
    """Return the bytes of fields."""
    return b"".join([each.raw for each in fields])


class Mutator:
    """Makes messages of a few valid ones."""

    def __init__(self, random: Random, seeds: Sequence[tuple[int, bytes]]) -> None:
        """Take valid messages, each with the case that it belongs to."""
        self._random = random
        self._seeds = list(seeds)
        self._cases = max(case for case, _ in seeds) + 1
        self._changes: list[Callable[[list[Field], int], None]] = [
            self._drop,
            self._double,
            self._swap,
            self._renumber,
            self._retype,
            self._content,
            self._content,
            self._content,
            self._lie,
            self._long_varint,
            self._nest,
            self._group,
            self._graft,
            self._graft,
            self._raw,
            self._split,
        ]

    def message(self) -> tuple[int, bytes]:
        """Return the next one, and the case it is for: mostly that of the message it was made of."""
        random = self._random
        case, seed = random.choice(self._seeds)
        if random.random() < 0.1:
            case = random.randrange(self._cases)
        return case, self.changed(seed)

    def changed(self, message: bytes) -> bytes:
        """Return a message changed in a few places."""
        random = self._random
        if not take_apart(message) or random.random() < 0.1:
            return self.bytes_of(message)
        for _ in range(random.choice((0, 1, 1, 1, 2, 3, 5))):
            message = self._changed(message)
        if random.random() < 0.15:
            message = self.bytes_of(message)
        return message[:MAX_BYTES]

    def bytes_of(self, message: bytes) -> bytes:
        """Return a message with changes that know nothing of its form."""
        random = self._random
        changed = bytearray(message)
        for _ in range(random.choice((1, 1, 2, 4))):
            at = random.randrange(len(changed) + 1)
            match random.randrange(5):
                case 0:
                    del changed[at:]
                case 1:
                    changed[at:at] = random.randbytes(random.choice((1, 2, 10)))
                case 2:
                    del changed[at : at + random.choice((1, 2, 8))]
                case 3 if at < len(changed):
                    changed[at] ^= 1 << random.randrange(8)
                case _ if at < len(changed):
                    changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
                case _:
                    pass
        return bytes(changed)

    def _changed(self, message: bytes) -> bytes:
        """Return a message with one change somewhere in it."""
        random = self._random
        fields = list(take_apart(message))
        if not fields:
            self._graft(fields, 0)
            return put_together(fields)
        index = random.randrange(len(fields))
        chosen = fields[index]
        inner = chosen.content if chosen.wire == BYTES else b""
        if isinstance(inner, bytes) and random.random() < 0.75 and take_apart(inner):
            fields[index] = field(chosen.number, BYTES, self._changed(inner))
            return put_together(fields)
        random.choice(self._changes)(fields, index)
        return put_together(fields)

    # Changes: of `fields`, at `index`.

    def _drop(self, fields: list[Field], index: int) -> None:
        del fields[index]

    def _double(self, fields: list[Field], index: int) -> None:
        times = self._random.choice((1, 1, 1, 2, 17, 64, 300))
        fields[index:index] = [fields[index]] * times

    def _swap(self, fields: list[Field], index: int) -> None:
        other = self._random.randrange(len(fields))
        fields[index], fields[other] = fields[other], fields[index]

    def _renumber(self, fields: list[Field], index: int) -> None:
        number = self._random.choice((0, *range(1, 25), 100, 2**29 - 1, 2**29))
        fields[index] = field(number, fields[index].wire, fields[index].content)

    def _retype(self, fields: list[Field], index: int) -> None:
        was = fields[index]
        tag = len(encode_varint(was.number << 3))
        fields[index] = raw_field(encode_varint(was.number << 3 | self._random.randrange(8)) + was.raw[tag:])

    def _content(self, fields: list[Field], index: int) -> None:
        number, wire, _, _ = fields[index]
        if wire == VARINT:
            fields[index] = field(number, wire, self._random.choice(NUMBERS))
        elif wire == BYTES:
            fields[index] = field(number, wire, self._random.choice(CONTENTS))
        else:
            size = 8 if wire == FIXED64 else 4
            choices = (b"\0" * size, b"\xff" * size, b"\xff" * (size - 1) + b"\x7f", self._random.randbytes(size))
            fields[index] = field(number, wire, self._random.choice(choices))

    def _lie(self, fields: list[Field], index: int) -> None:
        """Say another length than the content has."""
        number, wire, content, _ = fields[index]
        if isinstance(content, bytes) and wire == BYTES:
            length = self._random.choice((len(content) + 1, max(len(content) - 1, 0), *NUMBERS))
            fields[index] = raw_field(encode_varint(number << 3 | BYTES) + encode_varint(length) + content)

    def _long_varint(self, fields: list[Field], index: int) -> None:
        """Write the tag, or the length, in more bytes than it takes."""
        raw = fields[index].raw
        at = self._random.choice((0, 1))
        if at < len(raw) and raw[at] < 0x80:
            zeros = self._random.choice((1, 2, 4, 8, 9, 10))
            fields[index] = raw_field(
                raw[:at] + bytes((raw[at] | 0x80,)) + b"\x80" * (zeros - 1) + b"\0" + raw[at + 1 :]
            )

    def _nest(self, fields: list[Field], index: int) -> None:
        """Put a field into itself, over and over."""
        number, wire, _, raw = fields[index]
        if wire != BYTES:
            return
        tag = encode_varint(number << 3 | BYTES)
        for _ in range(self._random.choice((1, 3, 50, 101, 200))):
            raw = tag + encode_varint(len(raw)) + raw
        fields[index] = raw_field(raw)

    def _group(self, fields: list[Field], index: int) -> None:
        number = self._random.choice((1, 5, 19, 30))
        depth = self._random.choice((1, 1, 3, 120))
        ends = depth - self._random.choice((0, 0, 0, 1))
        opening, end = encode_varint(number << 3 | START_GROUP), encode_varint(number << 3 | END_GROUP)
        fields[index] = raw_field(opening * depth + fields[index].raw + end * ends)

    def _graft(self, fields: list[Field], index: int) -> None:
        """Put a field of another message here."""
        donor = take_apart(self._random.choice(self._seeds)[1])
        while donor:
            chosen = self._random.choice(donor)
            if chosen.wire == BYTES and isinstance(chosen.content, bytes) and self._random.random() < 0.7:
                inner = take_apart(chosen.content)
                if inner:
                    donor = inner
                    continue
            fields.insert(index, chosen)
            return

    def _raw(self, fields: list[Field], index: int) -> None:
        fields.insert(index, raw_field(self._random.randbytes(self._random.choice((1, 2, 12)))))

    def _split(self, fields: list[Field], index: int) -> None:
        """Write a message within in two pieces, which stand for the same."""
        number, wire, content, _ = fields[index]
        if wire == BYTES and isinstance(content, bytes) and (inner := take_apart(content)):
            at = self._random.randrange(len(inner) + 1)
            halves = put_together(inner[:at]), put_together(inner[at:])
            fields[index : index + 1] = [field(number, BYTES, half) for half in halves]


def repeated(field: bytes, size: int, *around: int) -> bytes:
    """Return a field as often as fits into `size` bytes, within fields of these numbers, the outermost first."""
    message = field * (size // len(field))
    for number in reversed(around):
        message = encode_varint(number << 3 | BYTES) + encode_varint(len(message)) + message
    return message
