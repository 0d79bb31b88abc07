"""Take the numbers of large arrays out of a serialized message, and put them in: bytes in, bytes out.

protobuf copies a bytes field when it reads or writes a message, and once more to hand it out. So it gets to see the
message without them, an equal one whose arrays are empty: `cut` makes it, and `spread` is the inverse. Everything else
in the message is kept byte for byte, for protobuf to judge.

Only arrays that are an argument or a result themselves are found, and only where each field on the way there comes
once and in the order of the field numbers, as protobuf libraries write them. `cut` leaves anything else alone: being
strict costs time and never an answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from runner.errors import InvalidInput
from runner.wire import varint
from runner.wire.payload import Payload

# protobuf tags: field number << 3 | wire type
_VARINT, _BYTES = 0, 2
_USUAL_TAG_MASK = 0x87  # the wire type, and whether the tag goes on in a second byte
INPUT_DATA: Final = 2 << 3 | _BYTES
"""The tag of Input.data."""
OUTPUT_DATA: Final = 6 << 3 | _BYTES
"""The tag of Output.data."""
_METADATA: Final = 5 << 3 | _BYTES  # in Data
_PARTS_TAG, _NDARRAY_TAG = varint.encode(19 << 3 | _BYTES), varint.encode(20 << 3 | _BYTES)  # in Data
_PARTS_LOW, _PARTS_HIGH = _PARTS_TAG
_NDARRAY_LOW, _NDARRAY_HIGH = _NDARRAY_TAG
_PART_DATA, _PART_ID = 1 << 3 | _BYTES, 2 << 3 | _BYTES
_PART_DATA_TAG: Final = varint.encode(_PART_DATA)
_BUFFER: Final = 1 << 3 | _BYTES  # in NDArray
_BUFFER_TAG: Final = varint.encode(_BUFFER)
_SHAPE, _PACKED_SHAPE, _DTYPE = 2 << 3 | _VARINT, 2 << 3 | _BYTES, 3 << 3 | _BYTES  # in NDArray

_MAX_FIELDS: Final = 256
"""Fields at one level, about 0.1 ms of looking. Two bytes make an empty one, so that a message could hold millions."""


_LOOKED_AT: Final = 1024
"""bytes in which the first array is looked for: what usual metadata and short arguments before it take."""

_NUMBERS: Final = re.compile(rb"\xa2\x01[\x80-\xff]{2,4}[\x01-\x7f]\x0a[\x80-\xff]{2,4}[\x01-\x7f]").search
"""The heads of an NDArray and of its buffer, both of 16 KiB or more."""


class Cut(NamedTuple):
    """A message without the numbers of its large arrays."""

    message: bytes
    ranges: dict[int, tuple[int, int]]
    """Where the numbers lie in what was cut: start and end, by the index of their part."""


class _Array(NamedTuple):
    """An array in a part: the content of its NDArray is message[start:end]."""

    start: int
    end: int
    name: bytes
    """The part's id."""


class _Unusual(Exception):
    """The message may be right, but is not in the form that is looked for here."""


def cut(payload: Payload, data_tag: int, names: Collection[bytes], at_least: int) -> Cut | None:
    """Return a message without the numbers of its large arrays; None if it has none or is in an unusual form.

    Args:
        payload: a serialized Input or Output.
        data_tag: INPUT_DATA or OUTPUT_DATA.
        names: ids of the parts to look at.
        at_least: bytes; smaller arrays are left where they are.
    """
    message = memoryview(payload)
    ranges: dict[int, tuple[int, int]] = {}
    pieces: list[Payload] = []
    try:
        begin, kept, end = _data(message, data_tag)
        for index, (part, start, part_end) in enumerate(_parts(message, kept, end, _MAX_FIELDS)):
            if part_end - start < at_least:
                continue
            array = _array(message, start, part_end)
            if array is None or array.name not in names:
                continue
            first, last = _buffer(message, array)
            if last - first < at_least:
                continue
            ranges[index] = first, last
            opening = _opening(array.end - last, part_end - array.end)
            pieces += (message[kept:part], opening, message[last:part_end])
            kept = part_end
    except (_Unusual, IndexError, InvalidInput):  # wrong or only strange: protobuf knows
        return None
    if not ranges:
        return None
    pieces.append(message[kept:end])
    head = varint.encode(data_tag) + varint.encode(sum(map(len, pieces)))
    return Cut(b"".join((message[:begin], head, *pieces, message[end:])), ranges)


def spread(message: bytes, data_tag: int, sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the bytes between which the numbers of a message's arrays belong, to be what protobuf would have written.

    Args:
        message: what protobuf wrote without the numbers.
        data_tag: INPUT_DATA or OUTPUT_DATA.
        sizes: indices of the parts that hold an array without its numbers, in order, and how many bytes these are.

    Returns:
        What comes before the first numbers, what is between any two, and what comes after the last.
    """
    view = memoryview(message)
    begin, start, end = _data(view, data_tag)
    parts = _parts(view, start, end, len(view))
    pieces: list[bytes] = []
    kept = start
    for index, size in sizes:
        part, part_start, part_end = parts[index]
        array = _array(view, part_start, part_end)
        assert array is not None, "protobuf writes fields in the order of their numbers"
        head = _BUFFER_TAG + varint.encode(size)
        opening = _opening(len(head) + size + array.end - array.start, part_end - array.end)
        pieces.append(message[kept:part] + opening + head)
        kept = array.start
    pieces.append(message[kept:end])
    whole = sum(map(len, pieces)) + sum(size for _, size in sizes)
    pieces[0] = message[:begin] + varint.encode(data_tag) + varint.encode(whole) + pieces[0]
    pieces[-1] += message[end:]
    return pieces


def numbers_at(payload: Payload) -> int:
    """Guess where the numbers of the first large array lie in a serialized Input; 0 if none is seen.

    For whoever copies it and can choose where to: numbers that are not aligned are copied once more before they are
    used. A wrong guess costs that and nothing else.
    """
    found = _NUMBERS(payload, 0, _LOOKED_AT)
    return 0 if found is None else found.end()


def _data(message: memoryview, data_tag: int) -> tuple[int, int, int]:
    """Return where the one field `data` of an Input or Output begins, and where its content starts and ends."""
    found = None
    position, size = 0, len(message)
    for _ in range(_MAX_FIELDS):
        if position >= size:
            break
        begin = position
        tag = message[position]
        length, start = varint.decode(message, position + 1)
        if tag & _USUAL_TAG_MASK == _BYTES:
            position = start + length
        elif tag & _USUAL_TAG_MASK == _VARINT:
            position = start
        else:
            raise _Unusual
        if tag == data_tag:
            if found is not None or not message[start - 1]:
                raise _Unusual
            found = begin, start, position
    if found is None or position != size:
        raise _Unusual
    return found


def _parts(message: memoryview, position: int, end: int, most: int) -> list[tuple[int, int, int]]:
    """Return where each part of a Data begins, and where its content starts and ends. There may be metadata as well."""
    found: list[tuple[int, int, int]] = []
    for _ in range(most):
        if position >= end:
            break
        begin = position
        tag = message[position]
        if tag == _PARTS_LOW and message[position + 1] == _PARTS_HIGH:
            length, start = varint.decode(message, position + 2)
            position = start + length
            found.append((begin, start, position))
        elif tag == _METADATA:
            length, start = varint.decode(message, position + 1)
            position = start + length
        else:
            raise _Unusual
    if position != end:
        raise _Unusual
    return found


def _array(message: memoryview, start: int, end: int) -> _Array | None:
    """Return where the array of the part with this content lies; None for a part of another kind, or in another form.

    No length that encloses the array may end in a zero byte: it would be longer than need be, which is for protobuf to
    judge, and after the edit not there any more.
    """
    if start == end or message[start] != _PART_DATA:
        return None
    length, data = varint.decode(message, start + 1)
    data_end = data + length
    if data_end >= end or message[data_end] != _PART_ID:
        return None
    if message[data] != _NDARRAY_LOW or message[data + 1] != _NDARRAY_HIGH:
        return None
    length, array = varint.decode(message, data + 2)
    if array + length != data_end or not (message[start - 1] and message[data - 1] and message[array - 1]):
        return None
    length, name = varint.decode(message, data_end + 1)
    return _Array(array, data_end, bytes(message[name:end])) if name + length == end else None


def _buffer(message: memoryview, array: _Array) -> tuple[int, int]:
    """Return where the numbers of an array start and end. After them come only its shape and dtype."""
    if message[array.start] != _BUFFER:
        raise _Unusual
    length, start = varint.decode(message, array.start + 1)
    position = end = start + length
    if not message[start - 1]:
        raise _Unusual
    for _ in range(_MAX_FIELDS):
        if position >= array.end:
            break
        tag = message[position]
        length, position = varint.decode(message, position + 1)
        if tag in (_PACKED_SHAPE, _DTYPE):
            position += length
        elif tag != _SHAPE:
            raise _Unusual
    if position != array.end:
        raise _Unusual
    return start, end


def _opening(array: int, rest: int) -> bytes:
    """Return what stands in a part before the content of its array.

    Args:
        array: bytes of that content.
        rest: bytes of the part behind its data.
    """
    opening = _NDARRAY_TAG + varint.encode(array)
    opening = _PART_DATA_TAG + varint.encode(len(opening) + array) + opening
    return _PARTS_TAG + varint.encode(len(opening) + array + rest) + opening
