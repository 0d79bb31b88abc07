"""An answer as it comes: tokens in, and out what of the text can be told already."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from vocabulary import Vocabulary


class Answer:
    """Ends at a token that ends an answer, at a stop text, or when it is as long as it may be.

    Told are whole characters only, which may be of several tokens, and nothing that may be the begin of a stop text.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str], longest: int) -> None:
        """longest: tokens."""
        self.count = 0
        """Tokens so far, without the one that ended it."""
        self.over = longest <= 0
        self.left = longest
        """Tokens that it may still have."""
        self._vocabulary = vocabulary
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unread: list[bytes] = []
        self._held = ""

    def take(self, tokens: Sequence[int]) -> None:
        """Add tokens. Those behind the answer's end are dropped."""
        for token in tokens:
            if self.over:
                break
            if token in self._vocabulary.ends:
                self.over = True
                break
            self.count += 1
            self.left -= 1
            self.over = not self.left
            self._unread.append(self._vocabulary.pieces[token])
            if self._stop:
                self._look_for_stop()

    def text(self) -> str:
        """Return what can be told of it now."""
        self._read()
        # The bytes of half a character at an answer's end are never told.
        held_back = 0 if self.over else max((self._begun(stop) for stop in self._stop), default=0)
        told = self._held[: len(self._held) - held_back]
        self._held = self._held[len(told) :]
        return told

    def _look_for_stop(self) -> None:
        self._read()
        found = [place for place in map(self._held.find, self._stop) if place >= 0]
        if found:
            self._held = self._held[: min(found)]
            self.over = True

    def _read(self) -> None:
        self._held += self._decoder.decode(b"".join(self._unread))
        self._unread.clear()

    def _begun(self, stop: str) -> int:
        """Return how many characters at the end of what is held are the begin of a stop text."""
        most = min(len(stop) - 1, len(self._held))
        return next((size for size in range(most, 0, -1) if self._held.endswith(stop[:size])), 0)
