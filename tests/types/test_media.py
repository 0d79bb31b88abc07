"""Texts and files: what they hold, and what bytes that are no image say about themselves."""

import copy
import io

import numpy as np
import PIL.Image
import pytest

from runner.errors import InvalidInput
from runner.types import Audio, Image, Text, Video, media

GREEN = PIL.Image.new("RGB", (6, 4), (0, 200, 0))


def encoded(img_format: str) -> bytes:
    file = io.BytesIO()
    GREEN.save(file, img_format)
    return file.getvalue()


def test_what_was_not_given_is_empty():
    assert (Text().text, Text().url) == ("", "")
    for kind in (Image, Audio, Video):
        assert (kind().url, kind().bytes) == ("", b"")
        assert kind.from_url("https://a/b").url == "https://a/b"


def test_equal_by_content_and_not_by_kind():
    assert Image(bytes=b"x") == Image(bytes=b"x") != Image(bytes=b"y")
    assert Audio(bytes=b"x") != Video(bytes=b"x")
    assert Text("a") == Text("a") != Text("a", url="u")
    assert Text("a") != "a"


def test_the_argument_it_came_in_is_no_part_of_the_value():
    image = Image(bytes=b"x")
    media.set_path(image, "images[3]")
    assert media.path_of(image) == "images[3]"
    assert image == Image(bytes=b"x")
    assert media.path_of(copy.deepcopy(image)) == "images[3]"


def test_a_repr_never_prints_bytes():
    assert repr(Image(bytes=b"secret")) == "Image(<6 bytes>)"
    assert repr(Video(url="u", bytes=b"abc")) == "Video(url='u', <3 bytes>)"
    assert repr(Audio()) == "Audio(<0 bytes>)"
    assert len(repr(Text("x" * 1000))) < 80


def test_base64():
    assert Image(bytes=b"\x00\xff").to_base64_str() == "AP8="


def test_pillow_there_and_back():
    image = Image.from_pil(GREEN)
    assert image.bytes.startswith(b"\x89PNG")
    assert image.to_pil().tobytes() == GREEN.tobytes()
    assert Image.from_pil(GREEN, img_format="JPEG").bytes.startswith(b"\xff\xd8")


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
def test_pixels_there_and_back(shape: tuple[int, ...]):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    back = Image.from_numpy(pixels).to_numpy()
    assert np.array_equal(back, pixels)
    assert back.flags.writeable


@pytest.mark.parametrize(
    ("pixels", "img_format", "words"),
    [
        (np.zeros((4, 6)), "PNG", r"no PNG image has float64 pixels of shape \(4, 6\); needs uint8"),
        (np.zeros((4, 6, 3), np.float32), "PNG", r"no PNG image has float32 pixels of shape \(4, 6, 3\)"),
        (np.zeros((4, 6, 5), np.uint8), "PNG", r"uint8 pixels of shape \(4, 6, 5\)"),
        (np.zeros((0, 6), np.uint8), "PNG", r"uint8 pixels of shape \(0, 6\)"),
        (np.zeros(4, np.uint8), "PNG", r"uint8 pixels of shape \(4,\); needs \(H, W\)"),
        (np.zeros((4, 6, 4), np.uint8), "JPEG", r"no JPEG image has uint8 pixels of shape \(4, 6, 4\)"),
    ],
)
def test_pixels_that_are_no_image_are_refused_by_shape_and_dtype(pixels, img_format: str, words: str):
    with pytest.raises(TypeError, match=words):
        Image.from_numpy(pixels, img_format)


@pytest.mark.parametrize("img_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_usual_formats_are_decoded(img_format: str):
    assert Image(bytes=encoded(img_format)).to_pil().size == (6, 4)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image(bytes=b"this is text"), "not an image"),
        (Image(bytes=encoded("PNG")[:30]), "not an image"),
        (Image(bytes=Image.from_numpy(np.tile(np.arange(256, dtype=np.uint8), (99, 1))).bytes[:-60]), "damaged"),
        (Image(), "no pixels"),
        (Image(url="https://a/b.png"), "not fetched"),
        (Image(bytes=encoded("EPS")), "not an image of a known format"),
    ],
)
def test_bytes_that_are_no_image_are_the_callers_fault(image: Image, words: str):
    media.set_path(image, "images[3]")
    for look in (image.to_pil, image.to_numpy):
        with pytest.raises(InvalidInput, match=words) as caught:
            look()
        assert caught.value.path == "images[3]"
        assert "0x" not in str(caught.value)


def test_too_many_pixels_are_refused_by_the_header(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 23)
    with pytest.raises(InvalidInput, match="6 x 4 pixels, at most 23"):
        Image.from_pil(GREEN).to_pil()


def test_pillows_own_limit_is_an_invalid_input_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(InvalidInput, match="too many pixels"):
        Image.from_pil(GREEN).to_pil()
