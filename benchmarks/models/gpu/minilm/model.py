"""MiniLM as the example embeds sentences, in bf16 and with tokens cut to one length."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from loop import BATCH, print_rate

from runner import Batch, ModelClass

EXAMPLE = Path(__file__).parents[4] / "examples" / "models" / "sentence-embedder" / "model.py"


def example() -> type:
    """Return the example's class."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("sentence_embedder", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SentenceEmbedder


class Embedder(ModelClass):
    """Sentences in, vectors out."""

    def load_model(self) -> None:
        """Read the weights."""
        self.inner = example()()
        self.inner.device = self.device
        self.inner.load_model()
        self.inner.net = self.inner.net.to(torch.bfloat16)

    @ModelClass.method(max_batch_size=BATCH)
    def predict(self, item: Batch[str]) -> Batch[torch.Tensor]:
        """Take a text, give float32 (384,)."""
        return self.inner._embed(item).float()


if __name__ == "__main__":
    model = Embedder()
    model.device = "cuda:0"
    model.load_model()
    text = "A sentence of about twenty words, as one finds them in the middle of an ordinary text."
    print_rate(lambda: model.predict([text] * BATCH), float(sys.argv[1]))
