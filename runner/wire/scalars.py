"""Strings, bytes, numbers and booleans, each in a field of its own. A zero value is an empty message."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from runner.errors import InvalidInput
from runner.wire.mismatch import EncodeError, describe, expect_zero, needs, plain
from runner.wire.value import ContentCodec

if TYPE_CHECKING:
    from runner.wire.payload import Payload
    from runner.wire.pb import inference_pb2 as pb
    from runner.wire.value import Filling


def decode_str(data: pb.Data) -> str:
    """Read a string, also from a client that sends it as a text."""
    if value := data.string_value:
        return value
    if data.HasField("text"):
        text = data.text
        if text.url and not text.raw:
            raise InvalidInput("needs a str, got a text by URL; only arguments of type Text are fetched")
        return text.raw
    expect_zero(data, "a str")
    return ""


def encode_str(value: object, data: pb.Data) -> None:
    """Write a string."""
    if not isinstance(value, str):
        raise needs("a str", value)
    try:
        data.string_value = value
    except UnicodeEncodeError:
        raise EncodeError(f"{describe(value)} cannot be sent as UTF-8") from None


def _sent_str(data: pb.Data) -> bytes:
    return data.string_value.encode()


def _fill_str(payload: Payload, start: int, end: int) -> str:
    return str(payload[start:end], "utf-8")


def _str_filling(data: pb.Data) -> Filling:
    return _fill_str


def _kind_of_str(value: object) -> int | None:
    return len(value.encode()) if type(value) is str else None


def _content_of_str(value: object) -> bytes:
    return cast(str, value).encode()


STR_CONTENT: Final = ContentCodec(_sent_str, _str_filling, _kind_of_str, _content_of_str)


def encode_str_and_text(value: object, data: pb.Data) -> None:
    """Write a string for readers of either field."""
    encode_str(value, data)
    data.text.raw = data.string_value


def decode_bytes(data: pb.Data) -> bytes:
    """Read bytes."""
    if value := data.bytes_value:
        return value
    expect_zero(data, "bytes")
    return b""


def encode_bytes(value: object, data: pb.Data) -> None:
    """Write bytes, or what has a buffer of them."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise needs("bytes", value)
    data.bytes_value = bytes(cast(bytes, value))


def decode_int(data: pb.Data) -> int:
    """Read an integer of 64 bits."""
    if value := data.int_value:
        return value
    expect_zero(data, "an int")
    return 0


def encode_int(value: object, data: pb.Data) -> None:
    """Write an integer of 64 bits; a bool is none."""
    number = plain(value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise needs("an int", value)
    if not -(2**63) <= number < 2**63:
        raise EncodeError(f"needs an int of 64 bits, got {describe(number)}")
    data.int_value = number


def decode_float(data: pb.Data) -> float:
    """Read a float of 64 bits."""
    value = data.float_value
    # -0.0 is as false as 0.0 is, but it is a value on the wire.
    if not value and math.copysign(1.0, value) > 0:
        expect_zero(data, "a float")
    return value


def encode_float(value: object, data: pb.Data) -> None:
    """Write a float of 64 bits, from a float or an int."""
    number = plain(value)
    if not isinstance(number, float | int) or isinstance(number, bool):
        raise needs("a float", value)
    try:
        data.float_value = number
    except OverflowError:
        raise EncodeError(f"needs a float, got {describe(number)}, which is too large for one") from None


def decode_bool(data: pb.Data) -> bool:
    """Read a boolean."""
    if data.bool_value:
        return True
    expect_zero(data, "a bool")
    return False


def encode_bool(value: object, data: pb.Data) -> None:
    """Write a boolean, from a bool or from 0 and 1."""
    flag = plain(value)
    if not isinstance(flag, bool) and not (isinstance(flag, int) and flag in (0, 1)):
        raise needs("a bool", value)
    data.bool_value = bool(flag)
