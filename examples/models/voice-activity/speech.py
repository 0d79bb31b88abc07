"""From the probabilities of a stream's windows to the moments at which speech begins and ends."""

from __future__ import annotations

from network import WINDOW

RATE = 16_000  # samples a second
_DOUBT = 0.15  # speech goes on until the probability has fallen by so much below the threshold


class Speech:
    """What is known of one stream. Places are samples from its beginning."""

    def __init__(self, threshold: float, silence_ms: float, margin_ms: float) -> None:
        """Listen for speech.

        Args:
            threshold: probability from which on a window is speech.
            silence_ms: how long there has to be silence before speech is over.
            margin_ms: how much before its first and behind its last window speech is taken to reach.
        """
        self._threshold = threshold
        self._silence = silence_ms * RATE / 1000
        self._margin = margin_ms * RATE / 1000
        self._heard = 0
        self._speaking = False
        self._quiet_since: int | None = None

    def hear(self, probability: float) -> tuple[str, int] | None:
        """Take the next window; return what it makes certain, `("start", place)` or `("end", place)`, if anything."""
        begin, self._heard = self._heard, self._heard + WINDOW
        if probability >= self._threshold:
            self._quiet_since = None
            if not self._speaking:
                self._speaking = True
                return "start", int(max(begin - self._margin, 0))
        elif self._speaking and probability < self._threshold - _DOUBT:
            if self._quiet_since is None:
                self._quiet_since = begin
            if begin - self._quiet_since >= self._silence:
                end, self._speaking, self._quiet_since = self._quiet_since, False, None
                return "end", int(end + self._margin)
        return None

    def finish(self, samples: int) -> tuple[str, int] | None:
        """Return the end of speech that goes on to the end of the stream, which had so many samples."""
        return ("end", samples) if self._speaking else None
