"""The closed tree that type hints become.

`hints.py` builds it from annotations, `publish.py` from a published signature; codec, schema and client walk it with
an exhaustive `match` and never meet `typing`. Adding a node here makes the type checker list every place that has to
learn about it. Knows nothing of the wire.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


class Kind(enum.Enum):
    """What a leaf holds. The values are the names of the published data types."""

    STR = "STR"
    BYTES = "BYTES"
    INT = "INT"
    FLOAT = "FLOAT"
    BOOL = "BOOL"
    TEXT = "TEXT"
    IMAGE = "IMAGE"
    CONCEPT = "CONCEPT"
    REGION = "REGION"
    FRAME = "FRAME"
    AUDIO = "AUDIO"
    VIDEO = "VIDEO"


class JsonShape(enum.Enum):
    """What Python value a JSON leaf stands for."""

    ANY = "any"  # whatever JSON holds
    OBJECT = "object"  # a dict
    ARRAY = "array"  # a list
    WRAPPED = "wrapped"  # a `runner.types.JSON`


class ArrayType(enum.Enum):
    """Which library's array the method works with. The wire is the same."""

    NUMPY = "numpy"
    TORCH = "torch"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a plain or media type. `pil`: an IMAGE the method takes or returns as `PIL.Image.Image`."""

    kind: Kind
    pil: bool = False


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON document."""

    shape: JsonShape = JsonShape.ANY


@dataclass(frozen=True, slots=True)
class Array:
    """An n-dimensional array of numbers. `dtype`: the declared numpy dtype name, None for any numeric one."""

    dtype: str | None = None
    library: ArrayType = ArrayType.NUMPY


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one type."""

    item: Node


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A tuple of fixed length."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class FieldsOf:
    """Named fields, in order."""

    fields: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class OptionalOf:
    """A value or None. Never nested in another `OptionalOf`."""

    item: Node


@dataclass(frozen=True, slots=True)
class LiteralOf:
    """One of a few values, all str, all int or all bool."""

    choices: tuple[str | int | bool, ...]

    @property
    def kind(self) -> Kind:
        """The type the choices have on the wire."""
        first = self.choices[0]
        if isinstance(first, bool):
            return Kind.BOOL
        return Kind.INT if isinstance(first, int) else Kind.STR


Node: TypeAlias = Leaf | Json | Array | ListOf | TupleOf | FieldsOf | OptionalOf | LiteralOf
