"""Where the time of a call went in its worker."""

from __future__ import annotations

from typing import Final, NamedTuple


class Times(NamedTuple):
    """Where the time of a call went in its worker, in seconds. Of one that failed, until then."""

    queued: float = 0.0
    """From its arrival until it was run, without decoding."""
    decode: float = 0.0
    run: float = 0.0
    """In the model's function; of a batch, the whole of it; of a stream, from its beginning to its end, what its reader
    made it wait for included. Of a call that failed, also what it did after that."""
    encode: float = 0.0
    """Of a stream it is in `run`: a clock read twice for each item would cost more than most items do."""
    batch_size: int = 0
    """Calls that ran together; 0 if it ran by itself."""


UNTIMED: Final = Times()
