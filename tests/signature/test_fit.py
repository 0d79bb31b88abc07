"""A default is what the method is given, so it has to be of the argument's type."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from runner.signature.fit import fits
from runner.signature.tree import Array, FieldsOf, Json, JsonShape, Kind, Leaf, ListOf, LiteralOf, OptionalOf, TupleOf
from runner.types import JSON, Concept, Image, NamedFields, Text

STR, INT, IMAGE = Leaf(Kind.STR), Leaf(Kind.INT), Leaf(Kind.IMAGE)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (STR, ""),
        (INT, -(2**63)),
        (Leaf(Kind.FLOAT), 1),
        (Leaf(Kind.FLOAT), float("nan")),
        (Leaf(Kind.BOOL), False),
        (Leaf(Kind.TEXT), Text("a")),
        (IMAGE, Image(url="https://example.com/a.png")),
        (Leaf(Kind.IMAGE, pil=True), PIL.Image.new("RGB", (1, 1))),
        (LiteralOf((1, 2)), 2),
        (OptionalOf(INT), None),
        (Json(JsonShape.OBJECT), {"a": 1}),
        (Json(JsonShape.ARRAY), (1, 2)),
        (Json(JsonShape.WRAPPED), JSON(3)),
        (Array(), np.zeros(3)),
        (ListOf(STR), []),
        (ListOf(STR), ("a", "b")),
        (ListOf(OptionalOf(INT)), [1, None]),
        (TupleOf((STR, INT)), ("a", 1)),
        (FieldsOf((("a", INT),)), NamedFields(a=1)),
        (FieldsOf((("a", INT),)), {"a": 1}),
    ],
    ids=repr,
)
def test_it_fits(node, value):
    assert fits(node, value)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (STR, 1),
        (STR, "\ud800"),
        (INT, True),
        (INT, 1.0),
        (INT, 2**63),
        (Leaf(Kind.FLOAT), "1"),
        (Leaf(Kind.BOOL), 1),
        (Leaf(Kind.TEXT), "a"),
        (Leaf(Kind.CONCEPT), "a"),
        (IMAGE, "https://example.com/a.png"),
        (IMAGE, PIL.Image.new("RGB", (1, 1))),
        (LiteralOf((1, 2)), True),
        (LiteralOf(("a",)), "b"),
        (Json(JsonShape.OBJECT), []),
        (Json(JsonShape.ARRAY), {}),
        (Json(JsonShape.WRAPPED), {"a": 1}),
        (Array(), [1, 2]),
        (ListOf(STR), [1]),
        (ListOf(STR), "ab"),
        (ListOf(Leaf(Kind.CONCEPT)), [Concept("a"), "b"]),
        (TupleOf((STR, INT)), ("a",)),
        (TupleOf((STR, INT)), 5),
        (FieldsOf((("a", INT),)), {"a": 1, "b": 2}),
        (FieldsOf((("a", INT),)), [1]),
    ],
    ids=repr,
)
def test_it_does_not_fit(node, value):
    assert not fits(node, value)
