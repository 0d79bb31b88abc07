"""Choosing the next tokens from their logits, for all rows of a batch at once and without asking the device."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 1024
"""Tokens that are considered at all. To sort the whole vocabulary would take a CPU half as long as the network."""

COLDEST = 1e-3
"""A temperature below it is taken for 0."""


class Chances:
    """Numbers from 0 to 1, one for each token of an answer. They are the same whenever the seed is."""

    def __init__(self, seed: int | None) -> None:
        """None: another sequence each time."""
        self._random = Random(seed)
        self._drawn: list[float] = []

    def ahead(self, count: int) -> list[float]:
        """Return those of the next tokens, without moving on."""
        self._drawn += [self._random.random() for _ in range(count - len(self._drawn))]
        return self._drawn[:count]

    def move_on(self, count: int) -> None:
        """So many tokens were taken."""
        del self._drawn[:count]


class Choice(NamedTuple):
    """How one row chooses."""

    temperature: float
    """0 takes the likeliest; more of it flattens the odds."""
    top_p: float
    """The share of the likeliest tokens that are considered (Holtzman et al., 2019)."""
    chances: Sequence[float]
    """A number from 0 to 1 for each token in a row."""


GREEDY = Choice(0.0, 1.0, ())


class Sampling:
    """How one answer chooses, from its first token to its last."""

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        """seed: None takes another chance each time."""
        self._temperature = temperature
        self._top_p = top_p
        self._chances = None if temperature < COLDEST else Chances(seed)

    def ahead(self, count: int) -> Choice:
        """Return the choice of the next tokens."""
        return GREEDY if self._chances is None else Choice(self._temperature, self._top_p, self._chances.ahead(count))

    def move_on(self, count: int) -> None:
        """So many tokens were taken."""
        if self._chances is not None:
            self._chances.move_on(count)


class Chooser:
    """The choices of all rows of a batch, brought to the device once."""

    def __init__(self, choices: Sequence[Choice], count: int, device: str) -> None:
        """Make ready for `count` tokens in a row. A row without chances for all of them is not asked for them."""
        drawn = [row for row, choice in enumerate(choices) if choice.temperature >= COLDEST and choice.chances]
        self._rows: Tensor | None = None
        if drawn:
            self._rows = torch.tensor(drawn, device=device)
            columns = [[choices[row].temperature, choices[row].top_p] for row in drawn]
            self._temperature, self._top_p = torch.tensor(columns, device=device).t()[:, :, None]
            filled = [[*choices[row].chances, *[0.0] * count][:count] for row in drawn]
            self._chances = torch.tensor(filled, device=device).t()[:, :, None]

    def __call__(self, logits: Tensor, number: int, tokens: Tensor) -> None:
        """Put the tokens of rows that do not take the likeliest in its place.

        Args:
            logits: (rows, vocabulary).
            number: of the token, counted from 0.
            tokens: (rows,) the likeliest of each row.
        """
        if self._rows is not None:
            tokens[self._rows] = draw(logits[self._rows].float(), self._temperature, self._top_p, self._chances[number])


def draw(logits: Tensor, temperature: Tensor, top_p: Tensor, chance: Tensor) -> Tensor:
    """Return (rows,): a token of each row.

    Args:
        logits: (rows, vocabulary), float32.
        temperature: (rows, 1).
        top_p: (rows, 1).
        chance: (rows, 1), from 0 to 1: the share of the odds, summed up from the likeliest on, at which to stop.
    """
    scaled = logits / temperature
    likely, tokens = scaled.topk(min(MOST, logits.shape[-1]))
    odds = torch.exp(likely - scaled.logsumexp(-1, keepdim=True))
    kept = odds.cumsum(-1) - odds < top_p
    kept[:, 0] = True  # however small `top_p` is
    summed = (odds * kept).cumsum(-1)
    place = (summed <= chance * summed[:, -1:]).sum(-1, keepdim=True)
    # A chance of nearly 1 may be rounded to all of it.
    place = torch.minimum(place, kept.sum(-1, keepdim=True) - 1)
    return tokens.gather(-1, place).squeeze(-1)
