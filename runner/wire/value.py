"""A type's reader and writer, and what every pair of them shares.

Readers and writers know no paths. Each container adds its own step to the path of an error that passes by, so that
only failing calls pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.errors import InvalidInput
from runner.wire import json
from runner.wire.mismatch import EncodeError
from runner.wire.pb import inference_pb2 as pb

Decode = Callable[[pb.Data], object]
"""Reads a value from a message. Raises InvalidInput, its path relative to the value."""

Encode = Callable[[object, pb.Data], None]
"""Writes a value into an empty message. Raises EncodeError, its path relative to the value."""


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
    """

    decode: Decode
    encode: Encode
    has_zero: bool = True
    apart: ApartCodec | None = None

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

    return ValueCodec(decode, encode, codec.has_zero, codec.apart)


def under(step: str, function: Callable[[pb.Data], object], data: pb.Data) -> object:
    """Read or write one part of a container, and say which one it is if that fails."""
    try:
        return function(data)
    except (InvalidInput, EncodeError) as error:
        error.path = step + error.path
        raise
