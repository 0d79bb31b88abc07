"""Media are found at any depth with the path to each; images and tensors are what the method asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest

from runner.errors import InvalidInput
from runner.signature.method import REQUIRED, Argument, Cardinality, MethodSignature
from runner.signature.tree import Array, ArrayType, FieldsOf, Kind, Leaf, ListOf, Node, OptionalOf, TupleOf
from runner.types import Audio, Frame, Image, NamedFields, Region, Text, Video
from runner.types.media import path_of
from runner.wire.call import CallCodec

STR, IMAGE, TEXT, FRAME = (Leaf(kind) for kind in (Kind.STR, Kind.IMAGE, Kind.TEXT, Kind.FRAME))
PIL_IMAGE = Leaf(Kind.IMAGE, pil=True)
TENSOR = Array(library=ArrayType.TORCH)
PICTURE = PIL.Image.new("L", (2, 3))


def method(node: Node, *, streamed: bool = False, default: object = REQUIRED) -> CallCodec:
    cardinality = Cardinality.BIDI if streamed else Cardinality.UNARY
    argument = Argument(name="value", node=node, streamed=streamed, default=default)
    return CallCodec(MethodSignature(name="predict", cardinality=cardinality, arguments=(argument,), result=node))


def url(name: str) -> Image:
    return Image(url=name)


@pytest.mark.parametrize(
    ("node", "value", "found"),
    [
        (IMAGE, url("u"), ["value"]),
        (IMAGE, Image(url="u", bytes=b"x"), []),
        (IMAGE, Image(bytes=b"x"), []),
        (TEXT, Text(url="u"), ["value"]),
        (TEXT, Text("t", url="u"), []),
        (Leaf(Kind.AUDIO), Audio(url="u"), ["value"]),
        (Leaf(Kind.VIDEO), Video(url="u"), ["value"]),
        (ListOf(IMAGE), [url("a"), Image(bytes=b"x"), url("b")], ["value[0]", "value[2]"]),
        (TupleOf((STR, IMAGE)), ("a", url("u")), ["value[1]"]),
        (FieldsOf((("a", STR), ("b", ListOf(TEXT)))), NamedFields(a="", b=[Text(url="u")]), ["value.b[0]"]),
        (OptionalOf(IMAGE), None, []),
        (OptionalOf(IMAGE), url("u"), ["value"]),
        (Leaf(Kind.REGION), Region(mask=url("u")), ["value.mask"]),
        (
            ListOf(FRAME),
            [Frame(), Frame(image=url("a"), regions=[Region(), Region(mask=url("b"))])],
            ["value[1].image", "value[1].regions[1].mask"],
        ),
        (ListOf(STR), ["https://a"], []),
    ],
)
def test_media_by_url_are_found_with_their_paths(node: Node, value: Any, found: list[str]):
    calls = method(node)
    arguments = calls.decode_call(calls.encode_call({"value": value}))
    unresolved = calls.unresolved(arguments)
    assert [each.path for each in unresolved] == found
    assert [path_of(each.media) for each in unresolved] == found
    stream = method(node, streamed=True)
    assert [each.path for each in stream.unresolved(stream.decode_item(stream.encode_item(value)))] == found
    assert calls.carries_media == (node != ListOf(STR))


def test_what_was_fetched_is_what_the_method_gets():
    calls = method(ListOf(IMAGE))
    arguments = calls.decode_call(calls.encode_call({"value": [url("u")]}))
    (unresolved,) = calls.unresolved(arguments)
    assert isinstance(unresolved.media, Image)
    unresolved.media.bytes = b"fetched"
    assert calls.unresolved(arguments) == []
    assert calls.finish(arguments) == {"value": [Image(url="u", bytes=b"fetched")]}


def test_a_default_by_url_is_fetched_for_each_call():
    calls = method(IMAGE, default=url("u"))
    first = calls.decode_call(calls.encode_call({}))
    (unresolved,) = calls.unresolved(first)
    assert unresolved.path == "value"
    unresolved.media.bytes = b"x"  # pyright: ignore
    assert len(calls.unresolved(calls.decode_call(calls.encode_call({})))) == 1


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (PIL_IMAGE, PICTURE),
        (ListOf(PIL_IMAGE), [PICTURE]),
        (TupleOf((STR, PIL_IMAGE)), ("a", PICTURE)),
        (FieldsOf((("a", STR), ("b", PIL_IMAGE))), NamedFields(a="a", b=PICTURE)),
        (OptionalOf(PIL_IMAGE), PICTURE),
    ],
)
def test_methods_that_work_with_pillow_images_get_them(node: Node, value: Any):
    calls = method(node)
    (finished,) = calls.finish(calls.decode_call(calls.encode_call({"value": value}))).values()
    text = repr(finished)
    assert "Image(" not in text
    assert "size=2x3" in text
    stream = method(node, streamed=True)
    assert "size=2x3" in repr(stream.finish_item(stream.decode_item(stream.encode_item(value))))


def test_a_pillow_image_that_png_cannot_hold_is_refused_with_a_way_out():
    with pytest.raises(InvalidInput, match=r'cannot be sent as PNG .*; convert it first, .*convert\("RGB"\)'):
        method(PIL_IMAGE).encode_call({"value": PIL.Image.new("CMYK", (1, 1))})


def test_none_and_defaults_are_left_alone():
    assert method(OptionalOf(PIL_IMAGE)).finish({"value": None}) == {"value": None}
    calls = method(PIL_IMAGE, default=PICTURE)
    assert calls.finish(calls.decode_call(calls.encode_call({}))) == {"value": PICTURE}


@pytest.mark.parametrize("node", [PIL_IMAGE, ListOf(PIL_IMAGE)])
def test_bytes_that_are_no_image_name_the_argument(node: Node):
    calls = method(node)
    bad = Image(bytes=b"not an image")
    arguments = calls.decode_call(calls.encode_call({"value": [bad] if isinstance(node, ListOf) else bad}))
    with pytest.raises(InvalidInput, match="not an image") as caught:
        calls.finish(arguments)
    assert caught.value.path == ("value[0]" if isinstance(node, ListOf) else "value")


def test_methods_that_work_with_tensors_get_them():
    torch = pytest.importorskip("torch")
    calls = method(ListOf(TENSOR))
    sent = calls.encode_call({"value": [np.arange(3, dtype=np.float32), torch.ones(2)]})
    finished: Any = calls.finish(calls.decode_call(sent))["value"]
    assert [tensor.tolist() for tensor in finished] == [[0, 1, 2], [1, 1]]
    finished[0][0] = 5  # writable
    assert isinstance(finished[1], torch.Tensor)
