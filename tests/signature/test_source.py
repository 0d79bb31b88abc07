"""Source that makes an equal value."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest

import runner
from runner import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text, Video
from runner.signature.source import value_source

NAMESPACE = {"np": np, "base64": base64} | {name: getattr(runner, name) for name in runner.__all__}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.5,
        math.inf,
        "it's",
        b"\x00'",
        [],
        [1, [2.0, None]],
        (),
        (1,),
        ("a", 2),
        {"a": [1], "b": {}},
        Text("hi"),
        Text(url="http://host/t.txt"),
        Image(bytes=b"\x89PNG"),
        Image(url="http://host/i.png"),
        Audio(bytes=b"RIFF"),
        Video(url="http://host/v.mp4"),
        Concept("cat", 0.5),
        [Concept("cat", 0.5), Text("x")],
        Frame(image=Image(bytes=b"x"), time=1.5, index=2, regions=[]),
    ],
    ids=repr,
)
def test_evaluates_to_an_equal_value(value):
    assert eval(value_source(value), dict(NAMESPACE)) == value


def test_a_region_without_its_random_id():
    region = Region(box=[0.0, 0.25, 0.5, 1.0], concepts=[Concept("cat", 0.5)], point=(0.5, 0.5, 0.0), text="t")
    back = eval(value_source(region), dict(NAMESPACE))
    assert (back.box, back.concepts, back.point, back.text) == (region.box, region.concepts, region.point, region.text)


def test_fields_and_documents_are_written_as_plain_values():
    assert value_source(NamedFields(a=1, b=Text("x"), c=None)) == "{'a': 1, 'b': Text('x'), 'c': None}"
    assert value_source(JSON({"k": [1]})) == "{'k': [1]}"


def test_small_arrays_only():
    source = value_source(np.array([[1, 2]], dtype=np.uint8))
    assert source == "np.array([[1, 2]], dtype='uint8')"
    assert value_source(np.zeros(100)) is None


def test_no_source_is_not_half_a_source():
    assert value_source(object()) is None
    assert value_source([1, object()]) is None
    assert value_source({"a": object()}) is None
    assert value_source(Frame(image=Image(bytes=b"x"), regions=[Region(text=object())])) is None


def test_names_stand_for_long_expressions():
    image = Image(bytes=b"x")
    assert value_source([image, "x"], {value_source(image): "picture"}) == "[picture, 'x']"
