"""Defaults and choices as text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runner import JSON, Text
from runner.signature.defaults import default_text, parse_choice, parse_default
from runner.signature.method import OpaqueDefault
from runner.signature.tree import FieldsOf, Json, Kind, Leaf, ListOf, LiteralOf, OptionalOf, TupleOf

STR, INT, FLOAT, BOOL = Leaf(Kind.STR), Leaf(Kind.INT), Leaf(Kind.FLOAT), Leaf(Kind.BOOL)


@pytest.mark.parametrize(
    ("node", "default", "text"),
    [
        (STR, "", ""),
        (STR, "low", "low"),
        (STR, "12", "12"),
        (INT, 5, "5"),
        (FLOAT, 0.7, "0.7"),
        (FLOAT, 1.0, "1.0"),
        (FLOAT, math.inf, "Infinity"),
        (BOOL, True, "true"),
        (OptionalOf(INT), None, "null"),
        (Leaf(Kind.BYTES), b"abc", "b'abc'"),
        (LiteralOf(("a", "b")), "a", "a"),
        (LiteralOf((1, 2)), 2, "2"),
        (Json(), [], "[]"),
        (Json(), {"k": 1}, '{"k": 1}'),
        (ListOf(INT), [1, 2], "[1, 2]"),
        (ListOf(OptionalOf(INT)), [1, None], "[1, null]"),
        (TupleOf((INT, STR)), (1, "a"), '[1, "a"]'),
        (FieldsOf((("a", INT), ("b", STR))), {"a": 1}, '{"a": 1}'),
    ],
    ids=str,
)
def test_there_and_back(node, default, text):
    assert default_text(default) == text
    back = parse_default(node, text)
    assert back == default
    assert type(back) is type(default)


def test_a_whole_default_of_a_float_is_a_float():
    assert default_text(1) == "1"
    assert type(parse_default(FLOAT, "1")) is float


@pytest.mark.parametrize(
    ("node", "default", "text"),
    [
        (Leaf(Kind.NDARRAY if hasattr(Kind, "NDARRAY") else Kind.IMAGE), np.array([1, 2]), "[1 2]"),
        (Leaf(Kind.TEXT), Text("x"), "Text('x')"),
        (Leaf(Kind.BYTES), "nothing", "nothing"),
        (INT, "many", "many"),
        (BOOL, 1, "1"),
    ],
    ids=str,
)
def test_what_cannot_be_told_is_only_printed(node, default, text):
    assert default_text(default) == text
    back = parse_default(node, text)
    assert back == OpaqueDefault(text)
    assert repr(back) == text


def test_no_text_at_all():
    assert parse_default(STR, "") == ""
    assert repr(parse_default(INT, "")) == "..."


def test_a_wrapped_document_is_its_value():
    assert default_text(JSON({"k": 1})) == '{"k": 1}'


def test_the_word_null_is_none():
    assert parse_default(STR, "null") is None


@pytest.mark.parametrize(
    ("kind", "choice"), [(Kind.STR, "low"), (Kind.INT, 3), (Kind.FLOAT, 0.5), (Kind.BOOL, True), (Kind.BOOL, False)]
)
def test_choices(kind, choice):
    assert parse_choice(kind, str(choice)) == choice


def test_a_choice_that_is_no_such_value_stays_text():
    assert parse_choice(Kind.INT, "many") == "many"
    assert parse_choice(Kind.BOOL, "maybe") == "maybe"


@pytest.mark.parametrize("node", [Json(), INT, Leaf(Kind.BYTES)], ids=str)
@pytest.mark.parametrize("brackets", ["[]", "()"])
def test_a_default_that_is_nested_too_deep_is_only_printed(node, brackets):
    text = brackets[0] * 5000 + brackets[1] * 5000
    assert parse_default(node, text) == OpaqueDefault(text)
