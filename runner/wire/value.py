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
class ValueCodec:
    """The reader and the writer of one type. `has_zero`: an empty message is a value of it, and not None."""

    decode: Decode
    encode: Encode
    has_zero: bool = True


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
        return decode_own(data)

    return ValueCodec(decode, encode, codec.has_zero)


def under(step: str, function: Callable[[pb.Data], object], data: pb.Data) -> object:
    """Read or write one part of a container, and say which one it is if that fails."""
    try:
        return function(data)
    except (InvalidInput, EncodeError) as error:
        error.path = step + error.path
        raise
