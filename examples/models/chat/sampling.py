"""Choosing the next token from its logits."""

from __future__ import annotations

import torch
from torch import Tensor


def choose(logits: Tensor, *, temperature: float, top_p: float, generator: torch.Generator | None) -> int:
    """Return a token.

    Args:
        logits: (vocabulary,).
        temperature: 0 takes the likeliest; more of it flattens the odds.
        top_p: the share of the likeliest tokens that are considered (Holtzman et al., 2019).
        generator: of the chance; None: torch's own.
    """
    if temperature <= 0:
        return int(logits.argmax())
    odds = torch.softmax(logits.float() / temperature, dim=-1)
    likely, tokens = odds.sort(descending=True)
    # The first one always stays, however small `top_p` is.
    kept = likely * ((likely.cumsum(0) - likely) < max(top_p, 1e-6))
    return int(tokens[torch.multinomial(kept, 1, generator=generator)])
