from __future__ import annotations

import json
import math

import numpy as np
import pytest

from runner.cli.usage import UsageError
from runner.cli.values import parse_value
from runner.signature.tree import (
    Array,
    FieldsOf,
    Json,
    JsonShape,
    Kind,
    Leaf,
    ListOf,
    LiteralOf,
    OptionalOf,
    TupleOf,
)
from runner.types import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text

STR, INT, FLOAT, BOOL, IMAGE = (Leaf(kind) for kind in (Kind.STR, Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.IMAGE))


@pytest.mark.parametrize(
    ("node", "text", "value"),
    [
        (STR, "5", "5"),
        (STR, "", ""),
        (STR, "@@ada", "@ada"),
        (Leaf(Kind.BYTES), "raw", b"raw"),
        (Leaf(Kind.TEXT), "hi", Text("hi")),
        (Leaf(Kind.TEXT), "https://a/b.txt", Text(url="https://a/b.txt")),
        (INT, "-5", -5),
        (FLOAT, "5", 5.0),
        (FLOAT, "1e3", 1000.0),
        (FLOAT, "inf", math.inf),
        (FLOAT, "-Infinity", -math.inf),
        (BOOL, "true", True),
        (BOOL, "No", False),
        (IMAGE, "https://a/cat.jpg", Image(url="https://a/cat.jpg")),
        (IMAGE, "data:image/png;base64,AA==", Image(url="data:image/png;base64,AA==")),
        (OptionalOf(INT), "null", None),
        (OptionalOf(INT), "3", 3),
        (OptionalOf(STR), "null", "null"),
        (LiteralOf(("low", "high")), "low", "low"),
        (LiteralOf((1, 2)), "2", 2),
        (Json(), '{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        (Json(JsonShape.WRAPPED), "[1]", JSON([1])),
        (ListOf(STR), '["a", "b"]', ["a", "b"]),
        (ListOf(ListOf(FLOAT)), "[[1], [2.5]]", [[1.0], [2.5]]),
        (TupleOf((STR, INT)), '["a", 1]', ("a", 1)),
        (FieldsOf((("a", STR), ("b", OptionalOf(INT)))), '{"a": "x", "b": null}', NamedFields(a="x", b=None)),
        (Leaf(Kind.CONCEPT), "cat", Concept("cat")),
        (Leaf(Kind.CONCEPT), '{"name": "cat", "value": 0.5}', Concept("cat", 0.5)),
        (ListOf(Leaf(Kind.CONCEPT)), '["cat"]', [Concept("cat")]),
        (
            Leaf(Kind.REGION),
            '{"id": "r", "box": [0, 0, 1, 1], "concepts": ["cat"]}',
            Region(box=[0, 0, 1, 1], concepts=[Concept("cat")], id="r"),
        ),
        (Leaf(Kind.FRAME), '{"time": 1.5, "image": "http://a/b"}', Frame(image=Image(url="http://a/b"), time=1.5)),
    ],
)
def test_a_text_stands_for_a_value(node, text, value):
    parsed = parse_value(node, text, "--x")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("node", "text", "message"),
    [
        (INT, "five", "--x: got five, needs a whole number"),
        (INT, "5.5", "--x: needs a whole number, got 5.5"),
        (INT, "true", "--x: needs a whole number, got true"),
        (BOOL, "maybe", "--x: got maybe, needs true or false"),
        (LiteralOf(("low", "high")), "mid", "--x: got 'mid', needs one of low, high"),
        (Json(), "{", "--x: got {, needs JSON (Expecting property name"),
        (ListOf(INT), '{"a": 1}', '--x: needs a JSON list, got {"a": 1}'),
        (ListOf(INT), '[1, "b"]', '--x[1]: needs a whole number, got "b"'),
        (TupleOf((INT, INT)), "[1]", "--x: needs 2 elements, got 1"),
        (FieldsOf((("a", INT),)), '{"b": 1}', "--x: has no field 'b'; its fields are a"),
        (Leaf(Kind.REGION), '{"bbox": []}', "--x: has no field 'bbox'"),
        (Leaf(Kind.REGION), '{"box": 1}', "--x: this object is no Region: 'int' object is not iterable"),
        (ListOf(Leaf(Kind.CONCEPT)), '[{"value": 1}]', "--x[0]: this object is no Concept: missing 1 required"),
        (Leaf(Kind.BYTES), "\ud800", "--x: '\\ud800' cannot be written as UTF-8"),
        (ListOf(IMAGE), '["a\\u0000b"]', "--x[0]: cannot read 'a\\x00b': embedded null byte"),
        (IMAGE, "/no/such/file", "--x: cannot read '/no/such/file': No such file"),
        (STR, "@/no/such/file", "write @@ for a text that begins with @"),
        (Array(), '["a"]', "--x: needs an array of numbers"),
        (Array(), "[[1], [2, 3]]", "--x: not an array"),
    ],
)
def test_what_stands_for_nothing_is_told_in_one_line(node, text, message):
    with pytest.raises(UsageError) as error:
        parse_value(node, text, "--x")
    assert message in str(error.value)


def test_bytes_are_those_that_the_shell_passed():
    argument = b"\xff\xc3\xa9".decode(errors="surrogateescape")  # as it stands in sys.argv
    assert parse_value(Leaf(Kind.BYTES), argument, "--x") == b"\xff\xc3\xa9"


def test_arrays_are_json_or_files(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    typed = parse_value(Array("float32"), json.dumps(array.tolist()), "--x")
    loaded = parse_value(Array(), f"@{tmp_path / 'a.npy'}", "--x")
    for parsed in (typed, loaded):
        assert parsed.dtype == np.float32
        assert np.array_equal(parsed, array)


def test_files_hold_any_value(tmp_path):
    file = tmp_path / "value"
    file.write_text('{"a": 1}')
    assert parse_value(Json(), f"@{file}", "--x") == {"a": 1}
    assert parse_value(STR, f"@{file}", "--x") == '{"a": 1}'
    assert parse_value(Leaf(Kind.BYTES), f"@{file}", "--x") == b'{"a": 1}'
    for text in (f"@{file}", str(file)):
        assert parse_value(Leaf(Kind.AUDIO), text, "--x") == Audio(bytes=b'{"a": 1}')
    assert parse_value(ListOf(IMAGE), json.dumps([str(file)]), "--x") == [Image(bytes=b'{"a": 1}')]
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not a UTF-8 text"):
        parse_value(STR, f"@{file}", "--x")
