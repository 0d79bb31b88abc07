"""A Llama (Touvron et al., 2023) over a slotted cache: any mix of prompts and running answers in one forward pass.

Each piece of work is a slot, the position of its first token, and its tokens. The linear layers see the tokens of all
pieces as one matrix, so that the weights are read once; attention goes by piece, but in one operation for all pieces of
a single token, which are the steps of running answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from weights import Shape


class Piece(NamedTuple):
    """Tokens of one sequence that are to be read."""

    slot: int
    start: int
    """Position of the first one; everything before it is in the slot already."""
    tokens: Sequence[int]


class Cache:
    """Keys and values of all slots: (layers, slots, kv heads, positions, head)."""

    def __init__(self, shape: Shape, slots: int, length: int, device: str, dtype: torch.dtype) -> None:
        size = (shape.layers, slots, shape.kv_heads, length, shape.head)
        self.keys = torch.zeros(size, device=device, dtype=dtype)
        self.values = torch.zeros(size, device=device, dtype=dtype)


class Llama:
    """The network. Its weights are plain tensors, those with one input joined into one matrix."""

    def __init__(self, shape: Shape, stored: dict[str, Tensor], device: str) -> None:
        self.shape = shape
        self.device = device
        taken = {name: tensor.to(device) for name, tensor in stored.items()}
        self.embedding = taken["token_embd.weight"]  # also the output layer's
        self.norm = taken["output_norm.weight"]
        self.layers = [self._layer(taken, f"blk.{number}.") for number in range(shape.layers)]
        frequencies = shape.rope_base ** (-torch.arange(0, shape.head, 2, dtype=torch.float64) / shape.head)
        angles = torch.arange(shape.context, dtype=torch.float64)[:, None] * frequencies
        self.cosine, self.sine = (f(angles).to(device, self.embedding.dtype) for f in (torch.cos, torch.sin))

    @staticmethod
    def _layer(taken: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
        def joined(*names: str) -> Tensor:
            return torch.cat([taken[f"{prefix}{name}.weight"] for name in names]).contiguous()

        return {
            "before": taken[f"{prefix}attn_norm.weight"],
            "qkv": joined("attn_q", "attn_k", "attn_v"),
            "out": joined("attn_output"),
            "between": taken[f"{prefix}ffn_norm.weight"],
            "up": joined("ffn_gate", "ffn_up"),
            "down": joined("ffn_down"),
        }

    @torch.inference_mode()
    def forward(self, pieces: Sequence[Piece], cache: Cache) -> Tensor:
        """Read the pieces, and keep what they add in the cache.

        Args:
            pieces: those of one token first.
            cache: of which each piece has a slot.

        Returns:
            (pieces, vocabulary): the logits behind the last token of each.
        """
        shape = self.shape
        lengths = [len(piece.tokens) for piece in pieces]
        tokens = torch.tensor([token for piece in pieces for token in piece.tokens], device=self.device)
        places = torch.tensor(
            [piece.start + offset for piece in pieces for offset in range(len(piece.tokens))], device=self.device
        )
        slots = torch.tensor([piece.slot for piece in pieces], device=self.device)
        rows = slots.repeat_interleave(torch.tensor(lengths, device=self.device))
        singles = lengths.count(1)
        steps = _Steps(pieces[:singles], slots[:singles], places[:singles], shape) if singles else None
        cosine, sine = self.cosine[places][:, None], self.sine[places][:, None]
        x = self.embedding[tokens]
        for number, layer in enumerate(self.layers):
            heads = F.linear(self._normed(x, layer["before"]), layer["qkv"]).unflatten(-1, (-1, shape.head))
            q, k, v = heads.split((shape.heads, shape.kv_heads, shape.kv_heads), dim=1)
            q, k = _rotated(q, cosine, sine), _rotated(k, cosine, sine)
            keys, values = cache.keys[number], cache.values[number]
            keys[rows, :, places] = k
            values[rows, :, places] = v
            longer = zip(pieces[singles:], q[singles:].split(lengths[singles:]), strict=True)
            attended = [self._attend(piece, part, keys, values) for piece, part in longer]
            if steps is not None:
                attended.insert(0, steps.attend(q[:singles], keys, values))
            x = x + F.linear(torch.cat(attended).flatten(1), layer["out"])
            gate, up = F.linear(self._normed(x, layer["between"]), layer["up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        last = torch.tensor(lengths, device=self.device).cumsum(0) - 1
        return F.linear(self._normed(x[last], self.norm), self.embedding)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.shape.width,), weight, self.shape.epsilon)

    def _attend(self, piece: Piece, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """q: (tokens, heads, head) of one piece. Every token sees what stands before it, and itself."""
        end = piece.start + len(piece.tokens)
        k, v = (each[piece.slot, :, :end] for each in (keys, values))
        group = self.shape.heads // self.shape.kv_heads
        seen = torch.arange(end, device=self.device) <= torch.arange(piece.start, end, device=self.device)[:, None]
        # The heads that share a key are put behind each other as if they were more tokens.
        grouped = q.unflatten(1, (-1, group)).permute(1, 2, 0, 3).flatten(1, 2)
        found = F.scaled_dot_product_attention(grouped[None], k[None], v[None], attn_mask=seen.repeat(group, 1))[0]
        return found.unflatten(1, (group, -1)).permute(2, 0, 1, 3).flatten(1, 2)


class _Steps:
    """Attention of many sequences, of each of which one token is read."""

    def __init__(self, pieces: Sequence[Piece], slots: Tensor, places: Tensor, shape: Shape) -> None:
        self._end = max(piece.start for piece in pieces) + 1
        self._mask = (torch.arange(self._end, device=slots.device) <= places[:, None])[:, None, None]
        self._group = shape.heads // shape.kv_heads
        # Slots are lent from the lowest on, so they are mostly the first ones in order, and nothing has to be copied.
        first = [piece.slot for piece in pieces]
        self._rows: slice | Tensor = slice(0, len(first)) if first == list(range(len(first))) else slots

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        k, v = (each[self._rows, :, : self._end] for each in (keys, values))
        grouped = q.unflatten(1, (-1, self._group))  # (sequences, kv heads, group, head)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=self._mask).flatten(1, 2)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn pairs of neighbours by their position (Su et al., 2021), in the order in which GGUF keeps them."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)
