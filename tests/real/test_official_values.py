"""Every published type through the official client, there and back, and every zero value."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.official import require_sdk

require_sdk()

from clarifai.runners.utils.data_types import (  # noqa: E402
    Audio,
    Concept,
    Frame,
    Image,
    NamedFields,
    Region,
    Text,
    Video,
)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def model(serve, open_model):
    return open_model(serve("types", "--allow-private-urls"))


def plain(value: object) -> object:
    """Return a value that compares by content: the client's data types mostly compare by identity."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, NamedFields):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "to_proto"):
        return value.to_proto()
    return value


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("echo_str", "grüße 🐈"),
        ("echo_str", ""),
        ("echo_str", "nul \0 inside"),
        ("echo_bytes", b"\xff\0\xfe"),
        ("echo_bytes", b""),
        ("echo_int", 2**63 - 1),
        ("echo_int", -(2**63)),
        ("echo_int", 0),
        ("echo_float", 1.5e-300),
        ("echo_float", float("inf")),
        ("echo_float", 0.0),
        ("echo_bool", True),
        ("echo_bool", False),
        ("echo_dict", {"a": {"b": [1, 2.5, "c", None, True]}}),
        ("echo_dict", {}),
        ("echo_list", [1, "two", {"three": []}]),
        ("echo_list", []),
        ("echo_json", {"k": [1]}),
        ("echo_text", Text("hello")),
        ("echo_text", Text("")),
        ("echo_image", Image(bytes=b"opaque until it is decoded")),
        ("echo_concept", Concept("a cat", 0.5)),
        ("echo_region", Region(box=[0.25, 0.5, 0.75, 1.0], concepts=[Concept("x", 0.25)], id="r", track_id="t")),
        ("echo_region", Region(point=(0.5, 0.25, 0.0), id="p")),
        ("echo_frame", Frame(image=Image(bytes=b"f"), regions=[Region(box=[0, 0, 1, 1], id="r")], time=1.5, index=3)),
        ("echo_audio", Audio(bytes=b"RIFF")),
        ("echo_video", Video(bytes=b"mp4")),
        ("echo_tuple", ("a", 1)),
        ("echo_tuple", ("", 0)),
        ("echo_ints", [1, 0, -1]),
        ("echo_ints", []),
        ("echo_dicts", [{"a": 1}, {}]),
        ("echo_dicts", []),
        ("echo_matrix", [[1.0, 0.0], [], [2.5]]),
        ("echo_images", [Image(bytes=b"1"), Image(bytes=b"2")]),
        ("echo_images", []),
        ("echo_concepts", [Concept("a"), Concept("b", 0.25)]),
        ("echo_concepts", []),
        ("echo_regions", [Region(id="a"), Region(id="b", box=[0, 0, 0.5, 0.5])]),
        ("echo_regions", []),
        ("echo_frames", [Frame(image=Image(bytes=b"1"), index=1), Frame(image=Image(bytes=b"2"), index=2)]),
        ("echo_frames", []),
    ],
)
def test_echo(model, method, value):
    result = getattr(model, method)(value=value)
    assert plain(result) == plain(value)
    assert not isinstance(value, bool) or isinstance(result, bool)


def test_nan(model):
    result = model.echo_float(value=float("nan"))
    assert result != result


def test_named_fields(model):
    result = model.echo_named(value={"name": "", "size": 0})
    assert dict(result.items()) == {"name": "", "size": 0}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int64", "complex64"])
def test_arrays(model, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    result = model.echo_ndarray(value=array)
    assert result.dtype == array.dtype
    assert np.array_equal(result, array)


def test_scalar_array(model):
    result = model.echo_ndarray(value=np.array(7, dtype="int16"))
    assert result.shape == ()
    assert result == 7


def test_large_array(model):
    array = np.ones((1024, 1024, 2), dtype="float32")  # 8 MiB: over grpc's own default limit of 4 MiB
    assert np.array_equal(model.echo_ndarray(value=array), array)


def test_pil_image(model, cat):
    import PIL.Image

    picture = PIL.Image.open(io.BytesIO(cat)).convert("RGB")
    result = model.echo_pil(value=picture)
    assert np.array_equal(np.asarray(result.to_pil().convert("RGB")), np.asarray(picture))


def test_images_by_url_inside_a_list(model, samples, cat):
    first, second = model.echo_images(value=[Image(url=f"{samples}/cat1.jpeg"), Image(bytes=b"here already")])
    assert (first.bytes, second.bytes) == (cat, b"here already")


def test_none_and_omitted(model):
    assert model.echo_optional() is None
    assert model.echo_optional(value=None) is None
    assert model.echo_optional(value="x").text == "x"


@pytest.mark.parametrize(
    ("method", "zero"),
    [("zero_str", ""), ("zero_bytes", b""), ("zero_int", 0), ("zero_float", 0.0), ("zero_bool", False)],
)
def test_zero_results_of_calls_without_arguments(model, method, zero):
    result = getattr(model, method)()
    assert result == zero
    assert type(result) is type(zero)


def test_defaults_and_values_equal_to_them(model):
    assert model.scale(text="a") == model.scale(text="a", factor=2) == "a x2 m"


def test_usage_free_calls_report_none(model):
    value, response = model.echo_str(value="x", with_proto=True)
    assert value == "x"
    assert response.outputs[0].status.code == 10000
    assert response.outputs[0].prompt_tokens == response.outputs[0].completion_tokens == 0
