"""A sample of each type is a value of that type."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from runner import Audio, Concept, Frame, Image, NamedFields, Region, Text, Video
from runner.signature.method import Argument, Limits, OpaqueDefault
from runner.signature.sample import sample, sample_argument
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

CLASSES = {
    Kind.STR: str,
    Kind.BYTES: bytes,
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: bool,
    Kind.TEXT: Text,
    Kind.IMAGE: Image,
    Kind.CONCEPT: Concept,
    Kind.REGION: Region,
    Kind.FRAME: Frame,
    Kind.AUDIO: Audio,
    Kind.VIDEO: Video,
}


@pytest.mark.parametrize("kind", Kind)
def test_leaves(kind):
    assert type(sample(Leaf(kind))) is CLASSES[kind]


def test_the_others():
    assert isinstance(sample(Json()), dict)
    assert isinstance(sample(Json(JsonShape.ARRAY)), list)
    assert isinstance(sample(Json(JsonShape.WRAPPED)).value, dict)
    assert sample(Array("uint8")).dtype == np.uint8
    assert sample(Array()).shape == (2, 3)
    assert sample(ListOf(Leaf(Kind.INT))) == [1, 1]
    assert sample(TupleOf((Leaf(Kind.INT), Leaf(Kind.BOOL)))) == (1, True)
    assert sample(FieldsOf((("a", Leaf(Kind.INT)),))) == NamedFields(a=1)
    assert sample(OptionalOf(Leaf(Kind.INT))) == 1
    assert sample(LiteralOf(("a", "b"))) == "a"


def test_media_are_real_files():
    import PIL.Image

    assert sample(Leaf(Kind.IMAGE)).to_pil().size == (32, 32)
    with wave.open(io.BytesIO(sample(Leaf(Kind.AUDIO)).bytes)) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8000, 16)
    with PIL.Image.open(io.BytesIO(sample(Leaf(Kind.VIDEO)).bytes)) as clip:
        clip.load()
        assert clip.format == "GIF"


def test_an_argument_is_its_default_if_that_says_something():
    assert sample_argument(Argument(name="x", node=Leaf(Kind.INT), default=7)) == 7
    assert sample_argument(Argument(name="x", node=OptionalOf(Leaf(Kind.INT)), default=None)) is None
    assert sample_argument(Argument(name="x", node=Leaf(Kind.INT))) == 1
    assert sample_argument(Argument(name="x", node=Leaf(Kind.STR), default="")) != ""
    limits = Limits(choices=("", "a"), is_param=True)
    assert sample_argument(Argument(name="x", node=Leaf(Kind.STR), default="", limits=limits)) == ""
    with pytest.raises(LookupError):
        sample_argument(Argument(name="x", node=Leaf(Kind.TEXT), default=OpaqueDefault("Text('x')")))
