"""A Llama (Touvron et al., 2023) over a slotted cache: any mix of prompts and running answers in one forward pass.

`Llama.forward` takes pieces of any lengths. The linear layers see the tokens of all pieces as one matrix, so that the
weights are read once; attention is one operation for the pieces of a single token, which are the steps of running
answers, and one for all longer ones. `Llama.step` is the same for single tokens in fixed shapes, as `decoder.py` wants
it: nothing in it depends on values that the host would have to know.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The sizes of the network."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_base: float
    epsilon: float

    @property
    def head(self) -> int:
        """The width of one head."""
        return self.width // self.heads

    @property
    def group(self) -> int:
        """Heads that share their keys and values."""
        return self.heads // self.kv_heads


class Piece(NamedTuple):
    """Tokens of one sequence that are to be read."""

    slot: int
    start: int
    """Position of the first one; everything before it is in the slot already."""
    tokens: Sequence[int]

    @property
    def end(self) -> int:
        """Position behind the last one."""
        return self.start + len(self.tokens)


class Cache:
    """Keys and values of all slots, for each layer: (slots, kv heads, positions, head).

    There is one position more than a sequence may have. Nothing ever looks there: a slot that takes no part in a
    `Llama.step` has what it computes put there.
    """

    def __init__(self, shape: Shape, slots: int, length: int, device: str, dtype: torch.dtype) -> None:
        self.slots = slots
        self.length = length
        size = (slots, shape.kv_heads, length + 1, shape.head)
        self.keys = [_zeros(size, device, dtype) for _ in range(shape.layers)]
        self.values = [_zeros(size, device, dtype) for _ in range(shape.layers)]


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
        self.turns = torch.polar(torch.ones_like(angles), angles).to(device, torch.complex64)

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

        Returns:
            (pieces, width): what the last token of each has become, for `logits`.
        """
        order = sorted(range(len(pieces)), key=lambda index: (len(pieces[index].tokens) > 1, pieces[index].slot))
        ordered = [pieces[index] for index in order]
        singles = [piece for piece in ordered if len(piece.tokens) == 1]
        grids = [_Grid(group, self) for group in (singles, ordered[len(singles) :]) if group]
        tokens, places, slots = torch.tensor(
            [
                [token for piece in ordered for token in piece.tokens],
                [place for piece in ordered for place in range(piece.start, piece.end)],
                [piece.slot for piece in ordered for _ in piece.tokens],
            ],
            device=self.device,
        )
        sizes = [grid.tokens for grid in grids]

        def attend(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            parts = zip(grids, q.split(sizes), strict=True)
            return torch.cat([grid.attend(part, keys, values) for grid, part in parts])

        x = self._run(tokens, places, slots, cache, attend)
        last = [0] * len(pieces)
        behind = 0
        for index in order:
            behind += len(pieces[index].tokens)
            last[index] = behind - 1
        return x[torch.tensor(last, device=self.device)]

    @torch.inference_mode()
    def step(self, tokens: Tensor, places: Tensor, slots: Tensor, cache: Cache, window: int) -> Tensor:
        """Read one token in each of the first slots.

        Args:
            tokens: (rows,); row and slot have the same number.
            places: (rows,) the position of each; the cache's length in a slot that takes no part.
            slots: (rows,) 0, 1, 2...
            cache: keeps what they add.
            window: positions that are looked at; every place that counts is below it.

        Returns:
            (rows, width), for `logits`.
        """
        rows = len(tokens)
        mask = _mask(places, window, self.embedding.dtype)[:, None, None]

        def attend(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            q = q.unflatten(1, (self.shape.kv_heads, self.shape.group))
            k, v = keys[:rows, :, :window], values[:rows, :, :window]
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).flatten(1, 2)

        return self._run(tokens, places, slots, cache, attend)

    @torch.inference_mode()
    def logits(self, x: Tensor) -> Tensor:
        """Return (rows, vocabulary), of rows of what `forward` and `step` return."""
        return F.linear(self._normed(x, self.norm), self.embedding)

    def _run(
        self,
        tokens: Tensor,
        places: Tensor,
        slots: Tensor,
        cache: Cache,
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """All layers. tokens, places, slots: (n,). attend: of (n, heads, head), given a layer's keys and values."""
        shape = self.shape
        turns = self.turns[places][:, None]
        x = self.embedding[tokens]
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            heads = F.linear(self._normed(x, layer["before"]), layer["qkv"]).unflatten(-1, (-1, shape.head))
            turned, v = heads.split((shape.heads + shape.kv_heads, shape.kv_heads), dim=1)
            q, k = _turned(turned, turns).split((shape.heads, shape.kv_heads), dim=1)
            keys[slots, :, places] = k
            values[slots, :, places] = v
            x = x + F.linear(attend(q, keys, values).flatten(1), layer["out"])
            gate, up = F.linear(self._normed(x, layer["between"]), layer["up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        return x

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.shape.width,), weight, self.shape.epsilon)


class _Grid:
    """Attention of some pieces at once: their tokens in rows of one length, the shorter ones filled up."""

    def __init__(self, pieces: Sequence[Piece], net: Llama) -> None:
        """Lay them out. The tokens of all pieces stand one behind the other, in this order."""
        self._shape = net.shape
        lengths = [len(piece.tokens) for piece in pieces]
        self.tokens = sum(lengths)
        self._rows, self._columns = len(pieces), max(lengths)
        self._end = max(piece.end for piece in pieces)
        # Every token sees what stands before it, and itself. What fills a row up sees what the row's last token sees.
        places = [[min(piece.start + column, piece.end - 1) for column in range(self._columns)] for piece in pieces]
        mask = _mask(torch.tensor(places, device=net.device), self._end, net.embedding.dtype)
        self._mask = mask.repeat(1, self._shape.group, 1)[:, None]
        slots = [piece.slot for piece in pieces]
        # Slots are lent from the lowest on, so they are mostly neighbours in order, and nothing has to be copied.
        together = slots == list(range(slots[0], slots[0] + len(slots)))
        self._slots = slice(slots[0], slots[0] + len(slots)) if together else torch.tensor(slots, device=net.device)
        self._filling = self._emptying = None
        if self.tokens < self._rows * self._columns:
            firsts = [sum(lengths[:row]) for row in range(self._rows)]
            places_in_line = [
                first + min(column, length - 1)
                for first, length in zip(firsts, lengths, strict=True)
                for column in range(self._columns)
            ]
            places_in_grid = [row * self._columns + column for row, n in enumerate(lengths) for column in range(n)]
            self._filling = torch.tensor(places_in_line, device=net.device)
            self._emptying = torch.tensor(places_in_grid, device=net.device)

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(tokens, heads, head) of these pieces, given a layer's cache."""
        kv_heads, group = self._shape.kv_heads, self._shape.group
        k, v = (each[self._slots, :, : self._end] for each in (keys, values))
        filled = q if self._filling is None else q[self._filling]
        # The heads that share a key are put behind each other as if they were more tokens.
        grouped = filled.view(self._rows, self._columns, kv_heads, group, -1).permute(0, 2, 3, 1, 4).flatten(2, 3)
        found = F.scaled_dot_product_attention(grouped, k, v, attn_mask=self._mask)
        found = found.unflatten(2, (group, self._columns)).permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)
        return found if self._emptying is None else found[self._emptying]


def _mask(places: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """Return (..., window): 0 up to each place, minus infinity behind it."""
    seen = torch.arange(window, device=places.device) <= places[..., None]
    return torch.zeros(seen.shape, dtype=dtype, device=places.device).masked_fill_(~seen, -math.inf)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turn pairs of neighbours by their position (Su et al., 2021), in the order in which GGUF keeps them."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


def _zeros(size: tuple[int, ...], device: str, dtype: torch.dtype) -> Tensor:
    if device != "cpu":
        return torch.zeros(size, device=device, dtype=dtype)
    # Pages of zeros that take memory only once something is written there: most sequences end long before their slot.
    pages = mmap.mmap(-1, math.prod(size) * dtype.itemsize)
    return torch.frombuffer(pages, dtype=dtype).view(size)
