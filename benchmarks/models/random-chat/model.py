"""The example `chat` with random weights in SmolLM2-135M's sizes: it talks nonsense, at the same speed.

It needs torch alone, and neither the package with the weights nor those that read it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

EXAMPLE = Path(__file__).parents[3] / "examples" / "models" / "chat"
sys.path.insert(0, str(EXAMPLE))  # before this file's own directory, whose `model` is this one
from model import Chat  # noqa: E402
from network import Shape  # noqa: E402
from vocabulary import Vocabulary  # noqa: E402

SIZES = Shape(
    layers=30,
    width=576,
    hidden=1536,
    heads=9,
    kv_heads=3,
    vocabulary=49152,
    context=8192,
    rope_base=100_000.0,
    epsilon=1e-5,
)
LETTERS = 4  # of a text in one token, as it is with real ones


class Random:
    """Stands for the file with the weights."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return weights by the names that the file has for them, the same every time."""
        chance = torch.Generator().manual_seed(0)
        shape, kv_width = self.shape, self.shape.kv_heads * self.shape.head

        def matrix(rows: int, columns: int) -> Tensor:
            return (torch.randn(rows, columns, generator=chance) / columns**0.5).to(dtype)

        found = {
            "token_embd.weight": matrix(shape.vocabulary, shape.width),
            "output_norm.weight": torch.ones(shape.width, dtype=dtype),
        }
        for number in range(shape.layers):
            sizes = {
                "attn_q": (shape.width, shape.width),
                "attn_k": (kv_width, shape.width),
                "attn_v": (kv_width, shape.width),
                "attn_output": (shape.width, shape.width),
                "ffn_gate": (shape.hidden, shape.width),
                "ffn_up": (shape.hidden, shape.width),
                "ffn_down": (shape.width, shape.hidden),
            }
            found |= {f"blk.{number}.{name}.weight": matrix(*size) for name, size in sizes.items()}
            for name in ("attn_norm", "ffn_norm"):
                found[f"blk.{number}.{name}.weight"] = torch.ones(shape.width, dtype=dtype)
        return found

    def vocabulary(self) -> Vocabulary:
        """Return one in which any few letters are a token, and no token ends an answer."""
        size = self.shape.vocabulary

        def encode(text: str) -> list[int]:
            data = text.encode()
            return [
                2 + int.from_bytes(data[place : place + LETTERS], "little") % (size - 2)
                for place in range(0, len(data), LETTERS)
            ]

        return Vocabulary(encode, [f" {number}".encode() for number in range(size)], start=0, end=1, ends=())


class RandomChat(Chat):
    """Talks nonsense."""

    def source(self) -> Random:
        """See `Chat`."""
        return Random(SIZES)
