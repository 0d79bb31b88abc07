"""Values that do not fit their declared type: the error for ours, the words for theirs, and None on the wire."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final, cast

from runner.errors import InvalidInput
from runner.wire.pb import inference_pb2 as pb

NONE_KEY: Final = "_none"
"""A value whose metadata has this key is None. Clients that do not know it see an empty value."""

_WORDS: Final = {
    "image": "an image",
    "video": "a video",
    "concepts": "concepts",
    "regions": "regions",
    "frames": "frames",
    "text": "a text",
    "audio": "an audio",
    "parts": "a list, tuple or named fields",
    "ndarray": "an array",
    "int_value": "an int",
    "float_value": "a float",
    "bytes_value": "bytes",
    "bool_value": "a bool",
    "string_value": "a str",
    "struct_value": "a JSON document",
}

_LONG_INT: Final = 256
"""Bits of an integer that is not written out: Python refuses to, beyond some thousand digits."""


class EncodeError(ValueError):
    """A value of ours does not fit the type it was declared with.

    Args:
        message: what was needed and what was there.
        path: where in the value, such as `[3].score`; empty for the value itself.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def describe(value: object) -> str:
    """Return a value's type and a short form of it; bytes and long containers are only counted."""
    name = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, int) and value.bit_length() > _LONG_INT:
        return f"{name} of {value.bit_length()} bits"
    if isinstance(value, bool | int | float | str):
        text = repr(value)
        return f"{name} {text if len(text) <= 60 else text[:57] + '...'}"
    if (shape := getattr(value, "shape", None)) is not None:
        return f"{name} of shape {tuple(shape)}"
    if isinstance(value, bytes | bytearray | list | tuple | dict):
        return f"{name} of length {len(cast(Sized, value))}"
    return name


def needs(what: str, value: object) -> EncodeError:
    """Return the error for a value of another type."""
    return EncodeError(f"needs {what}, got {describe(value)}")


def is_none(data: pb.Data) -> bool:
    """Return whether a value says that it is None."""
    return data.HasField("metadata") and NONE_KEY in data.metadata.fields


def set_none(data: pb.Data) -> None:
    """Make a value say that it is None."""
    data.metadata.fields[NONE_KEY].bool_value = True


def value_fields(data: pb.Data) -> list[str]:
    """Return the names of the fields in which a message holds values."""
    return [field.name for field, _ in data.ListFields() if field.name != "metadata"]


def expect_zero(data: pb.Data, what: str) -> None:
    """Refuse a value that sits in another field than the declared type's.

    A zero value is an empty message, so that only a message with nothing in it may be taken for one.

    Raises:
        InvalidInput: there is something.
    """
    if data.ByteSize():
        if is_none(data):
            raise InvalidInput(f"needs {what}, got None")
        fields = value_fields(data)
        if fields or not data.HasField("metadata"):
            got = " and ".join(_WORDS.get(name, name) for name in fields) or "a value of a type that is not known here"
            raise InvalidInput(f"needs {what}, got {got}")


def misplaced(data: pb.Data, what: str) -> InvalidInput:
    """Return the error for a message that lacks the declared type's field, for types that have no zero value."""
    try:
        expect_zero(data, what)
    except InvalidInput as error:
        return error
    return InvalidInput(f"needs {what}, got nothing")


def plain(value: object) -> object:
    """Return numpy's and torch's scalars and 0-d arrays as Python's own; anything else as it is."""
    if getattr(value, "shape", None) == () and (item := getattr(value, "item", None)) is not None:
        # What numpy masks would become a zero.
        return value if is_time(value) or hasattr(value, "filled") else item()
    return value


def is_time(value: object) -> bool:
    """Tell whether a value is of numpy's instants or durations, which would become numbers of nanoseconds unseen."""
    return getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m")
