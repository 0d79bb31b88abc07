"""How many tokens a call has used, as the model reports it with its results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.wire.result import SeeUsage

__all__ = ["Tally", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached_tokens` are among the prompt's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Tally:
    """Adds up what a call reports: with its one result, or with some items of a stream.

    Args:
        batch: the number of inputs of a call with a list, None for a single one.
    """

    def __init__(self, batch: int | None) -> None:
        self._single = batch is None
        self._used = [Usage()] * (1 if batch is None else batch)

    def of(self, entry: int) -> SeeUsage:
        """Return what is told the numbers of an entry's output."""
        return partial(self._add, entry)

    def told(self) -> Usage | list[Usage]:
        """Return what was reported so far; of a list, for each input."""
        return self._used[0] if self._single else list(self._used)

    def _add(self, entry: int, prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> None:
        if prompt_tokens or completion_tokens or cached_tokens:
            used = self._used[entry]
            self._used[entry] = Usage(
                used.prompt_tokens + prompt_tokens,
                used.completion_tokens + completion_tokens,
                used.cached_tokens + cached_tokens,
            )
