"""How long to wait before a worker that died is started again. Pure: the caller owns the clock and the dice."""

from __future__ import annotations

_FIRST = 0.5
_FACTOR = 2.0
_LONGEST = 30.0


def restart_delay(deaths: int, dice: float) -> float:
    """Return the delay in seconds.

    Args:
        deaths: how often in a row the worker died without having answered a call; 0 restarts it at once.
        dice: a random number from 0 to 1, so that several replicas do not come back in step.
    """
    if deaths <= 0:
        return 0.0
    return min(_FIRST * _FACTOR ** min(deaths - 1, 16), _LONGEST) * (0.75 + 0.5 * dice)
