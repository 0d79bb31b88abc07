"""JSON documents: as `google.protobuf.Struct`, the published form, and as text, the form some clients send.

A Struct holds an object only. A list travels as the single key `_list`, and any other document as the single key
`_value`. All numbers are doubles on the wire: whole ones come back as `int`, and integers which a double cannot hold
are refused rather than rounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from runner.errors import InvalidInput
from runner.types import JSON
from runner.wire.mismatch import EncodeError, describe, is_time, plain

LIST_KEY: Final = "_list"
VALUE_KEY: Final = "_value"

MAX_INT: Final = 2**53
"""Beyond this a double no longer holds every integer."""

MAX_DEPTH: Final = 80
"""Messages within messages that a document may become: protobuf's readers give up at 100, and the call needs some."""

_NAME: Final = re.compile(r"[A-Za-z_]\w*")


def encode_document(document: object, struct: Struct) -> None:
    """Fill a Struct from an object, a list or any other JSON document but None.

    Raises:
        EncodeError: something in it is not JSON, and where.
    """
    document = own(document)
    if isinstance(document, Mapping):
        fields = cast(Mapping[object, object], document)
        if len(fields) == 1 and (LIST_KEY in fields or VALUE_KEY in fields):
            raise EncodeError(f"an object with the single key {next(iter(fields))!r} stands for something else")
        _encode_object(fields, struct, 1)
    elif isinstance(document, list | tuple):
        _encode_list(cast(list[object], document), struct.fields[LIST_KEY].list_value, 3)
    else:
        _encode_value(document, struct.fields[VALUE_KEY], 2)


def decode_document(struct: Struct) -> Any:
    """Return the object, list or other document that a Struct stands for."""
    fields = struct.fields
    if len(fields) == 1:
        for key in (LIST_KEY, VALUE_KEY):
            if key in fields:
                return decode_value(fields[key])
    return {name: decode_value(value) for name, value in fields.items()}


def parse(text: str) -> Any:
    """Return the document of a JSON text.

    Raises:
        InvalidInput: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidInput("the JSON text is nested too deep") from None
    except ValueError as exc:
        raise InvalidInput(f"the text is not JSON: {exc}") from None


def _encode_object(fields: Mapping[object, object], struct: Struct, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EncodeError("the JSON document is nested too deep")
    struct.SetInParent()
    entries = struct.fields
    for key, value in fields.items():
        name = key if isinstance(key, str) else _key(key)
        try:
            if name in entries:
                raise EncodeError(f"two keys of the object become {name!r}")
            entry = entries[name]
        except UnicodeEncodeError:
            raise EncodeError(f"the key {name!r} cannot be sent as UTF-8") from None
        try:
            _encode_value(value, entry, depth + 2)
        except EncodeError as error:
            error.path = (f".{name}" if _NAME.fullmatch(name) else f"[{name!r}]") + error.path
            raise


def _encode_list(items: list[object] | tuple[object, ...], target: ListValue, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EncodeError("the JSON document is nested too deep")
    target.SetInParent()
    values = target.values
    for index, item in enumerate(items):
        try:
            _encode_value(item, values.add(), depth + 1)
        except EncodeError as error:
            error.path = f"[{index}]{error.path}"
            raise


def _encode_value(value: object, target: Value, depth: int) -> None:
    value = own(value)
    if value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        try:
            target.string_value = value
        except UnicodeEncodeError:
            raise EncodeError(f"{describe(value)} cannot be sent as UTF-8") from None
    elif isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise EncodeError(f"the integer {describe(value)} is beyond 2^53; send it as a str")
        target.number_value = value
    elif isinstance(value, float):
        target.number_value = value
    elif isinstance(value, Mapping):
        _encode_object(cast(Mapping[object, object], value), target.struct_value, depth + 1)
    elif isinstance(value, list | tuple):
        _encode_list(cast(list[object], value), target.list_value, depth + 1)
    else:
        raise EncodeError(f"JSON cannot hold a value of type {type(value).__name__}")


def own(value: object) -> object:
    """Return the Python value behind a `JSON`, an array or a scalar of numpy or torch."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, JSON):
        return value.value
    value = plain(value)
    to_list = getattr(value, "tolist", None)
    return value if to_list is None or is_time(value) else to_list()


_PLAIN: Final = frozenset((str, int, float, bool, type(None), dict, list))


def _key(key: object) -> str:
    """Return the name of a key that is not a str, as `json.dumps` writes it."""
    if isinstance(key, bool | int | float | None):
        return json.dumps(key)
    raise EncodeError(f"the keys of a JSON object are strings, got {describe(key)}")


def decode_value(value: Value) -> Any:
    """Return what one value of a Struct stands for."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and -MAX_INT <= number <= MAX_INT else number
    if kind == "struct_value":
        return {name: decode_value(item) for name, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [decode_value(item) for item in value.list_value.values]
    if kind == "bool_value":
        return value.bool_value
    return None
