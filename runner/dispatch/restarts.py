"""When a worker that died is started again, and when its place is given up for a while: a circuit breaker. Pure.

CLOSED      a worker that had answered a call is started again at once, and so is one that died of a call which was
found to be what kills workers. Any other is waited for: 0.5 s, doubled from death to death
OPEN        after the fifth such death in a row: nothing is started for some 30 s, and calls that only this place
could run are refused at once
HALF_OPEN   the next worker is ready, and is tried out with one call of each lane at a time. Its first answer closes
the breaker; its death before that opens it again
"""

from __future__ import annotations

import enum
from typing import Final

from runner.dispatch.backoff import restart_delay

OPENS_AFTER: Final = 5
"""Deaths in a row without an answer."""

OPEN_SECONDS: Final = 30.0
"""How long nothing is started, give or take a quarter."""


class Breaker(enum.Enum):
    """See the module's text."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Restarts:
    """The machine of one place. Its owner tells what happens to the workers there, in order."""

    def __init__(self) -> None:
        self.breaker = Breaker.CLOSED
        self.deaths = 0  # in a row, without an answer

    def died(self, *, sound: bool, dice: float) -> float:
        """A worker has died, or never came to life; return the seconds until the next one is to be started.

        Args:
            sound: it had answered a call, or it is known that it died of one and not by itself.
            dice: a random number from 0 to 1, so that several places do not start theirs in step.
        """
        if sound:
            self.reset()
            return 0.0
        self.deaths += 1
        if self.deaths < OPENS_AFTER:
            return restart_delay(self.deaths, dice)
        self.breaker = Breaker.OPEN
        return OPEN_SECONDS * (0.75 + 0.5 * dice)

    def ready(self) -> None:
        """A worker has loaded the model."""
        if self.breaker is Breaker.OPEN:
            self.breaker = Breaker.HALF_OPEN

    def reset(self) -> None:
        """A worker has answered a call, or another version of the model has taken over."""
        self.breaker = Breaker.CLOSED
        self.deaths = 0

    def __repr__(self) -> str:
        return f"<Restarts {self.breaker.value}, {self.deaths} deaths>"
