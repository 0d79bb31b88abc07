"""Calls in the style before methods had signatures: the value lies directly in the input, with parameters beside it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def server(serve):
    return serve("types", "--allow-private-urls")


@pytest.fixture(scope="module")
def model(server, open_model):
    return open_model(server)


def test_predict_by_bytes(model):
    output = model.predict_by_bytes(b"ab", input_type="text").outputs[0]
    # No parts: callers of this style look at the data itself.
    assert output.data.text.raw == output.data.string_value == "abab"
    assert not output.data.parts


def test_inference_params(model):
    output = model.predict_by_bytes(b"ab", input_type="text", inference_params={"factor": 3}).outputs[0]
    assert output.data.text.raw == "ababab"


def test_inference_params_have_ranges(model):
    with pytest.raises(Exception, match="factor"):
        model.predict_by_bytes(b"ab", input_type="text", inference_params={"factor": 9})


def test_predict_by_filepath(model, tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("xy")
    assert model.predict_by_filepath(str(path), input_type="text").outputs[0].data.text.raw == "xyxy"


def test_predict_by_url(model, samples):
    url = f"{samples}/featured-models/redpajama-economic.txt"
    output = model.predict_by_url(url, input_type="text", inference_params={"factor": 1}).outputs[0]
    assert output.data.text.raw == "Prices rise when money is plenty.\n"


def test_list_of_inputs(model):
    from clarifai.client.input import Inputs

    inputs = [Inputs.get_input_from_bytes("", text_bytes=text) for text in (b"a", b"b", b"c")]
    assert [output.data.text.raw for output in model.predict(inputs).outputs] == ["aa", "bb", "cc"]


def test_old_style_generate(serve, open_model):
    model = open_model(serve("chat", "--allow-private-urls"))
    chunks = [response.outputs[0].data.text.raw for response in model.generate_by_bytes(b"hello", input_type="text")]
    assert '"prompt": "hello"' in "".join(chunks)


def test_old_style_stream(serve, open_model):
    model = open_model(serve("streams", "--allow-private-urls"))
    chunks = [response.outputs[0].data.text.raw for response in model.stream_by_bytes(iter([b"a", b"b"]), "text")]
    assert chunks == ["1: a", "2: b"]


def test_without_an_input_type(model):
    # The client asks GetModel and GetModelType which field to fill; the answer must be one that exists.
    assert model.predict_by_bytes(b"ab").outputs[0].status.code == 10000


def test_versions_end(model):
    assert len(list(model.list_versions())) == 1


def test_old_style_image(serve, open_model, cat):
    model = open_model(serve("classifiers", "--allow-private-urls"))
    with pytest.raises(Exception, match="text"):  # its `predict` takes a text
        model.predict_by_bytes(cat, input_type="image")
