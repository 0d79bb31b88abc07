"""Calls from before methods had names: one value directly in the input's data, and no parts.

`predict_by_bytes` and its kin send them. Each argument takes the field of its type, once, in the order of the
signature. The same rule covers a first argument that a client put beside the parts instead of in one.
"""

from __future__ import annotations

from typing import Final

from runner.errors import InvalidInput
from runner.signature.tree import Array, Json, Kind, Leaf, ListOf, LiteralOf, Node, OptionalOf
from runner.wire.mismatch import value_fields
from runner.wire.pb import inference_pb2 as pb

METHOD_KEY: Final = "_method_name"

_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.STR: ("text", "string_value"),
    Kind.BYTES: ("bytes_value",),
    Kind.INT: ("int_value",),
    Kind.FLOAT: ("float_value",),
    Kind.BOOL: ("bool_value",),
    Kind.TEXT: ("text", "string_value"),
    Kind.IMAGE: ("image",),
    Kind.AUDIO: ("audio",),
    Kind.VIDEO: ("video",),
    Kind.CONCEPT: ("concepts",),
    Kind.REGION: ("regions",),
    Kind.FRAME: ("frames",),
}
_REPEATED: Final = frozenset(("concepts", "regions", "frames"))


def is_old_style(data: pb.Data) -> bool:
    """Return whether an input is a call of the old style, rather than one that was given no arguments."""
    if data.parts:
        return False
    named = data.HasField("metadata") and METHOD_KEY in data.metadata.fields
    return not named or bool(value_fields(data))


def fields_for(node: Node) -> tuple[str, ...]:
    """Return the fields in which an old-style value of a type may sit, the usual one first."""
    match node:
        case Leaf(kind=kind) | LiteralOf(kind=kind):
            return _FIELDS[kind]
        case OptionalOf(item=item):
            return fields_for(item)
        case ListOf(item=item):
            return tuple(field for field in fields_for(item) if field in _REPEATED)
        case Array():
            return ("ndarray",)
        case Json():
            return ("struct_value", "string_value")
        case _:
            return ()


def text_url(data: pb.Data) -> str:
    """Return where the text of an old-style value is to be fetched; empty if the text is there, or is none."""
    return "" if data.text.raw else data.text.url


class LooseValues:
    """The values that lie directly in an input's data, each to be taken once."""

    def __init__(self, data: pb.Data) -> None:
        self._data = data
        self._left = set(value_fields(data)) - {"parts"}

    def take(self, fields: tuple[str, ...]) -> pb.Data | None:
        """Return a message with the first of these fields that is there, None if none is."""
        for field in fields:
            if field in self._left:
                self._left.remove(field)
                alone = pb.Data()
                value = getattr(self._data, field)
                if field in _REPEATED:
                    getattr(alone, field).MergeFrom(value)
                elif hasattr(value, "SetInParent"):
                    getattr(alone, field).CopyFrom(value)
                else:
                    setattr(alone, field, value)
                return alone
        return None

    def expect_none_left(self) -> None:
        """Refuse an input with a value that no argument takes: ignoring it would answer another question.

        Raises:
            InvalidInput: there is one.
        """
        if self._left:
            raise InvalidInput(f"the input holds a value that no argument takes: {', '.join(sorted(self._left))}")
