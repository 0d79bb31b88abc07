"""Finding out how large batches should be: they grow as long as that pays.

Pure: the caller measures. The size doubles while a batch of twice the size brings at least a tenth more items per
second, and does not fail, as it does where the device's memory ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_GAIN: Final = 1.1
"""Times the throughput that a doubled batch must bring."""


def largest_that_pays(seconds_of: Callable[[int], float | None], largest: int) -> int:
    """Return a batch size, from 1 to `largest`.

    Args:
        seconds_of: measures a batch of so many items; None if it cannot be run.
        largest: sizes beyond it are not tried.

    Raises:
        ValueError: not even one item can be run.
    """
    first = seconds_of(1)
    if first is None:
        raise ValueError("not even a batch of one could be run")
    best, rate = 1, 1 / max(first, 1e-9)
    while best * 2 <= largest:
        seconds = seconds_of(best * 2)
        if seconds is None or best * 2 / max(seconds, 1e-9) < _GAIN * rate:
            return best
        best, rate = best * 2, best * 2 / max(seconds, 1e-9)
    return best
