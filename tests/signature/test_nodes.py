# ruff: noqa: UP006, UP007, UP035, UP045 - the older spellings are under test too
"""Every row of the type table, in each of its spellings."""

import typing
from collections import abc
from enum import Enum
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional, Tuple, TypedDict, Union

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from runner import JSON, Audio, Concept, Frame, Image, NamedFields, Param, Region, Text, Video
from runner.signature.nodes import StreamHint, Unpublishable, describe, read_node, read_stream
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

STR, INT, FLOAT, IMAGE = Leaf(Kind.STR), Leaf(Kind.INT), Leaf(Kind.FLOAT), Leaf(Kind.IMAGE)
OBJECT, ARRAY = Json(JsonShape.OBJECT), Json(JsonShape.ARRAY)

UserId = NewType("UserId", str)


class Message(TypedDict):
    role: str


class Color(Enum):
    RED = "red"


class Point:
    x: int


def resolve(text):
    try:
        return eval(text, globals())
    except NameError as error:
        raise Unpublishable(str(error)) from error


@pytest.mark.parametrize(
    ("hint", "node"),
    [
        (str, STR),
        (bytes, Leaf(Kind.BYTES)),
        (int, INT),
        (float, FLOAT),
        (bool, Leaf(Kind.BOOL)),
        (Text, Leaf(Kind.TEXT)),
        (Image, IMAGE),
        (Concept, Leaf(Kind.CONCEPT)),
        (Region, Leaf(Kind.REGION)),
        (Frame, Leaf(Kind.FRAME)),
        (Audio, Leaf(Kind.AUDIO)),
        (Video, Leaf(Kind.VIDEO)),
        (PIL.Image.Image, Leaf(Kind.IMAGE, pil=True)),
        (np.ndarray, Array()),
        (NDArray[Any], Array()),
        (NDArray[np.floating], Array()),
        (NDArray[np.float32], Array("float32")),
        (np.ndarray[Any, np.dtype[np.uint8]], Array("uint8")),
        (dict, OBJECT),
        (Dict, OBJECT),
        (dict[str, float], OBJECT),
        (Dict[str, Any], OBJECT),
        (Dict[str, List[Dict[str, Optional[int]]]], OBJECT),
        (Message, OBJECT),
        (list, ARRAY),
        (List, ARRAY),
        (list[Any], ARRAY),
        (List[Union[int, str]], ARRAY),
        (JSON, Json(JsonShape.WRAPPED)),
        (List[str], ListOf(STR)),
        (list[dict], ListOf(OBJECT)),
        (list[Message], ListOf(OBJECT)),
        (List[List[float]], ListOf(ListOf(FLOAT))),
        (list[Optional[int]], ListOf(OptionalOf(INT))),
        (Tuple[str, int], TupleOf((STR, INT))),
        (tuple[str], TupleOf((STR,))),
        ((Image, float), TupleOf((IMAGE, FLOAT))),
        (NamedFields(a=str, b=list[Image]), FieldsOf((("a", STR), ("b", ListOf(IMAGE))))),
        (NamedFields(a=str) | None, OptionalOf(FieldsOf((("a", STR),)))),
        (None | NamedFields(a=str), OptionalOf(FieldsOf((("a", STR),)))),
        (list[Optional[NamedFields(a=str)]], ListOf(OptionalOf(FieldsOf((("a", STR),))))),
        ({"a": str}, FieldsOf((("a", STR),))),
        (Optional[Image], OptionalOf(IMAGE)),
        (Image | None, OptionalOf(IMAGE)),
        (Union[None, str], OptionalOf(STR)),
        (Optional[Literal["a", None]], OptionalOf(LiteralOf(("a",)))),
        (int | float, FLOAT),
        (float | int | None, OptionalOf(FLOAT)),
        (Literal["a", "b"], LiteralOf(("a", "b"))),
        (Literal[1, 2], LiteralOf((1, 2))),
        (Literal[True, False], LiteralOf((True, False))),
        (Annotated[str, "doc"], STR),
        (UserId, STR),
        ("list['Image']", ListOf(IMAGE)),
    ],
    ids=lambda value: describe(value) if not isinstance(value, Leaf) else "",
)
def test_publishable(hint, node):
    assert read_node(hint, resolve) == node


@pytest.mark.parametrize(
    ("hint", "advice"),
    [
        (Any, "use dict or list for JSON"),
        (None, "use bool if there is nothing to say"),
        (set[int], "use list[int]"),
        (abc.Sequence[str], "use list[str]"),
        (abc.Mapping[str, int], "use dict[str, int]"),
        (dict[int, str], "use dict[str, str]"),
        (dict[str, Image], "use NamedFields(name=Image, ...)"),
        (list[Image | int], "choose one of Image, int"),
        (tuple, "write tuple[str, int]"),
        (Tuple, "write tuple[str, int]"),
        (tuple[int, ...], "use list[int]"),
        (tuple[()], "write tuple[str, int]"),
        (NamedFields, "write NamedFields(name=str, ...)"),
        (NamedFields(), "write NamedFields(name=str, ...)"),
        (typing.Annotated[int, Param(5, max_value=9)], "write `= Param(...)` behind the type"),
        (str | bytes, "choose one of str, bytes, or use two arguments"),
        (dict | list, "choose one of dict, list, or use JSON"),
        (Literal["a", 1], "all str, all int or all bool"),
        (list[abc.Iterator[str]], "only a whole argument or result can be a stream"),
        (list[Optional[Region]], "leave missing ones out"),
        (PIL.Image, "use PIL.Image.Image"),
        (np.float32, "use int or float, or np.ndarray"),
        (NDArray[np.bool_], "use an integer or floating dtype"),
        (NDArray[np.str_], "use an integer or floating dtype"),
        (NDArray[np.object_], "use an integer or floating dtype"),
        (Color, "use Literal['red']"),
        (Point, "use NamedFields(name=type, ...) or dict"),
        (typing.Callable, "use str, bytes, int"),
        ("Missing", "name 'Missing' is not defined"),
    ],
    ids=lambda value: value if isinstance(value, str) else describe(value),
)
def test_unpublishable(hint, advice):
    with pytest.raises(Unpublishable) as caught:
        read_node(hint, resolve)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "stream"),
    [
        (typing.Iterator[str], StreamHint(str, False)),
        (abc.Iterable[str], StreamHint(str, False)),
        (typing.Generator[str, None, None], StreamHint(str, False)),
        (abc.AsyncIterator[str], StreamHint(str, True)),
        (typing.AsyncIterable[str], StreamHint(str, True)),
        (typing.AsyncGenerator[str, None], StreamHint(str, True)),
        ("abc.Iterator[str]", StreamHint(str, False)),
        (list[str], None),
        ({"a": str}, None),
    ],
    ids=str,
)
def test_streams(hint, stream):
    assert read_stream(hint, resolve) == stream


def test_a_bare_stream_does_not_say_what_it_holds():
    with pytest.raises(Unpublishable, match=r"write Iterator\[str\]"):
        read_stream(abc.Iterator, resolve)
