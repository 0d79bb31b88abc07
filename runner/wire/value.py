"""A type's reader and writer, and what every pair of them shares.

Readers and writers know no paths. Each container adds its own step to the path of an error that passes by, so that
only failing calls pay for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.errors import InvalidInput
from runner.wire import json
from runner.wire.mismatch import EncodeError
from runner.wire.payload import Payload
from runner.wire.pb import inference_pb2 as pb

Decode = Callable[[pb.Data], object]
"""Reads a value from a message. Raises InvalidInput, its path relative to the value."""

Encode = Callable[[object, pb.Data], None]
"""Writes a value into an empty message. Raises EncodeError, its path relative to the value."""


Filling: TypeAlias = Callable[[Payload, int, int], object]
"""Makes a value of a message and of where its content starts and ends there. Raises ValueError if it cannot."""


class RowFilling(ABC):
    """A `Filling` that makes one array of the contents of many messages, if they are alike but for these."""

    @abstractmethod
    def __call__(self, payload: Payload, start: int, end: int) -> object:
        """See `Filling`."""

    @abstractmethod
    def rows(self, payload: Payload, start: int, stride: int, count: int) -> Any:
        """Return an array with a row for each content, where they lie. It is to be copied: it may not be written to.

        Args:
            payload: all messages.
            start: where the first content starts.
            stride: bytes from there to where the next one does.
            count: how many there are.
        """


@dataclass(frozen=True, slots=True)
class RowsCodec:
    """The writer of values that are the rows of one array.

    Attributes:
        kind: of all rows, as `ContentCodec.kind` has it of one; None of what is no such array.
        framed: the rows, each between the same bytes.
    """

    kind: Callable[[object], Hashable]
    framed: Callable[[object, bytes, bytes], Payload]


@dataclass(frozen=True, slots=True)
class ContentCodec:
    """What is known of types whose values are the content of one field, such as strings and the numbers of arrays.

    Attributes:
        sent: the content in a message, which was read well; empty if the value is not there.
        filling: of such a message: what makes the values of other contents in its place.
        kind: what a message says of a value beside its content: messages of one kind are the same around it. None
            for what has to be written in full.
        content: of a value that has a kind. Raises UnicodeEncodeError if it cannot be sent.
        rows: of types whose values may be the rows of one array.
    """

    sent: Callable[[pb.Data], bytes]
    filling: Callable[[pb.Data], Filling]
    kind: Callable[[object], Hashable]
    content: Callable[[object], Payload]
    rows: RowsCodec | None = None


@dataclass(frozen=True, slots=True)
class ApartCodec:
    """The reader and the writer of values whose bulk need not be in the message: the numbers of an array.

    The reader gets a message without them, and them; the writer returns those that it did not put into the message,
    None if there are none.
    """

    decode: Callable[[pb.Data, memoryview], object]
    encode: Callable[[object, pb.Data], memoryview | None]


@dataclass(frozen=True, slots=True)
class ValueCodec:
    """The reader and the writer of one type.

    Attributes:
        has_zero: an empty message is a value of it, and not None.
        apart: a second pair for the same type, if its values are arrays.
        inner: what is known of the type if its values are the content of one field.
    """

    decode: Decode
    encode: Encode
    has_zero: bool = True
    apart: ApartCodec | None = None
    inner: ContentCodec | None = None

    def read(self, data: pb.Data, numbers: memoryview | None) -> object:
        """Return the value in a message; `numbers` of an array if the message lacks them."""
        if numbers is None or self.apart is None:
            return self.decode(data)
        return self.apart.decode(data, numbers)


def or_json_text(codec: ValueCodec) -> ValueCodec:
    """Let a reader take the value's JSON form as text, as Node.js clients send objects inside lists.

    The document is written as the client should have written it, and that is read.
    """
    decode_own, encode = codec.decode, codec.encode

    def decode(data: pb.Data) -> object:
        if text := data.string_value:
            data = pb.Data()
            try:
                encode(json.parse(text), data)
            except EncodeError as error:
                raise InvalidInput(error.message, path=error.path) from None
            except (TypeError, ValueError, OverflowError) as exc:  # protobuf's own: half a surrogate, a vast number
                raise InvalidInput(f"a value in the JSON text cannot be taken: {exc}") from None
        return decode_own(data)

    return ValueCodec(decode, encode, codec.has_zero, codec.apart, codec.inner)


def under(step: str, function: Callable[[pb.Data], object], data: pb.Data) -> object:
    """Read or write one part of a container, and say which one it is if that fails."""
    try:
        return function(data)
    except (InvalidInput, EncodeError) as error:
        error.path = step + error.path
        raise
