"""Inputs and outputs from bytes and to bytes; the numbers of large arrays go around protobuf.

Such numbers are *apart*: the message has their array without them, and where they lie is said beside it.

Looking for them takes as long as protobuf takes to copy 100 KB. But one call of a method is mostly like another, in
everything but its numbers: what was found out before is looked at first, by exact bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError
from google.protobuf.message import EncodeError as ProtobufEncodeError

from runner.errors import InvalidInput
from runner.wire import array_scan
from runner.wire.mismatch import EncodeError
from runner.wire.payload import Payload
from runner.wire.pb import inference_pb2 as pb

INVALID_MESSAGE: Final = "these bytes are not a valid message, or it is nested too deep"

APART_FROM: Final = 128 * 1024
"""bytes of an array's numbers from which on protobuf's copies cost more than finding out where they lie."""

_LEAST_SHARE: Final = 4
"""An array that lies where it came keeps its whole message in memory, for as long as the method keeps the array. So it
is at least one in so many parts of the message."""

_MAX_REMEMBERED: Final = 4096
"""bytes around the numbers of an array. Around a longer text or file they would hardly be the same again."""

_MAX_SEEN: Final = 64
"""Bounds what one reader remembers: half a megabyte at most."""

_END: Final = 12
"""bytes at the end of a message by which it is looked up: what the shortest shape, dtype and name take, so that there
are no numbers among them."""

_MAX_BYTES: Final = 2**31 - 1
"""The longest message there is."""

Range: TypeAlias = tuple[int, int]
"""Where the numbers of an array lie in a message: start and end."""

_NONE: Final[Mapping[int, Range]] = {}

_DATA_TAGS: Final = {pb.Input: array_scan.INPUT_DATA, pb.Output: array_scan.OUTPUT_DATA}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A message with one array that was read before: the numbers are its bytes `[start:end]`.

    Attributes:
        before: what comes before the numbers.
        after: what comes after them.
        message: what is left without them.
        index: of the part with the array.
    """

    start: int
    end: int
    before: bytes
    after: bytes
    message: bytes
    index: int


class MessageReader:
    """Reads one method's Inputs, or its Outputs. Any thread may use it."""

    def __init__(self, kind: type[Any], arrays: Collection[str]) -> None:
        """Read messages of a kind, `pb.Input` or `pb.Output`; `arrays`: ids of the parts that shall be arrays."""
        self._kind = kind
        self._names = frozenset(name.encode() for name in arrays)
        self._seen: dict[tuple[int, bytes], _Seen] = {}  # by the size of the message, and its last bytes

    def read(self, payload: Payload) -> tuple[Any, Mapping[int, Range]]:
        """Return a message, and where the numbers of its large arrays lie, by the index of their part.

        Raises:
            InvalidInput: the bytes are no such message.
        """
        if self._names and len(payload) >= APART_FROM:
            seen = self._seen.get((len(payload), bytes(payload[-_END:])))
            if seen is not None and payload[: seen.start] == seen.before and payload[seen.end :] == seen.after:
                return parse(self._kind, seen.message), {seen.index: (seen.start, seen.end)}
            found = self._cut(payload)
            if found is not None:
                return parse(self._kind, found.message), found.ranges
        return parse(self._kind, payload), _NONE

    def _cut(self, payload: Payload) -> array_scan.Cut | None:
        at_least = max(APART_FROM, len(payload) // _LEAST_SHARE)
        cut = array_scan.cut(payload, _DATA_TAGS[self._kind], self._names, at_least)
        if cut is not None and len(cut.ranges) == 1 and len(cut.message) <= _MAX_REMEMBERED:
            ((index, (start, end)),) = cut.ranges.items()
            if len(payload) - end < _END:
                return cut
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen[len(payload), bytes(payload[-_END:])] = _Seen(
                start=start,
                end=end,
                before=bytes(payload[:start]),
                after=bytes(payload[end:]),
                message=cut.message,
                index=index,
            )
        return cut


def parse(kind: type[Any], payload: Payload) -> Any:
    """Return a message from its bytes.

    Raises:
        InvalidInput: they are none.
    """
    try:
        return kind.FromString(payload)
    except DecodeError:
        raise InvalidInput(INVALID_MESSAGE) from None


def serialize(message: pb.Output | pb.Input, apart: Mapping[int, memoryview], head: bytes = b"") -> list[Payload]:
    """Return the bytes of a message, in pieces: numbers that are apart are a piece each, between two others.

    Args:
        message: an Input or Output.
        apart: the numbers of its large arrays by the index of their part.
        head: what to put before it: other fields of the message, serialized.

    Raises:
        EncodeError: it is too long.
    """
    try:
        serialized = message.SerializeToString()
    except ProtobufEncodeError as exc:
        raise EncodeError(f"it cannot be sent as one message: {exc}") from exc
    if not apart:
        return [head + serialized]
    sizes = tuple((index, len(numbers)) for index, numbers in apart.items())
    spread = _spread if len(serialized) <= _MAX_REMEMBERED else array_scan.spread
    first, *others = spread(serialized, _DATA_TAGS[type(message)], sizes)
    pieces: list[Payload] = [head + first]
    for numbers, piece in zip(apart.values(), others, strict=True):
        pieces += (numbers, piece)
    size = sum(map(len, pieces))
    if size > _MAX_BYTES:
        raise EncodeError(f"it cannot be sent as one message: it has {size} bytes")
    return pieces


_spread = functools.lru_cache(maxsize=64)(array_scan.spread)
