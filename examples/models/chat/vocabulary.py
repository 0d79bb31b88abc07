"""Texts as tokens, and tokens as bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence


class Vocabulary:
    """What the network reads and says.

    Attributes:
        pieces: the bytes of each token; none for those that only steer.
        start: the token before a message.
        end: the token behind a message.
        ends: the tokens that end an answer.
    """

    def __init__(
        self,
        encode: Callable[[str], Sequence[int]],
        pieces: Sequence[bytes],
        *,
        start: int,
        end: int,
        ends: Collection[int],
    ) -> None:
        """encode: returns the tokens of a text, in which nothing steers: not even what is spelled like it."""
        self.encode = encode
        self.pieces = pieces
        self.start = start
        self.end = end
        self.ends = ends
        self._longest = max(map(len, pieces))

    def tokens(self, messages: Sequence[tuple[str, str]], begin: str = "") -> list[int]:
        """Return a conversation up to where the answer begins, or to where `begin` of it was said.

        messages: role and text of each.
        """
        break_ = self.encode("\n")
        found: list[int] = []
        for role, text in messages:
            found += [self.start, *self.encode(f"{role}\n{text}"), self.end, *break_]
        return [*found, self.start, *self.encode(f"assistant\n{begin}")]

    def fewest(self, messages: Sequence[tuple[str, str]]) -> int:
        """Return a number of tokens that a conversation has at least, at no cost."""
        return sum(len(text) for _, text in messages) // self._longest
