"""The words of the policy: what waits, what bounds a batch, and what is decided."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Reason(enum.Enum):
    """Why a batch left when it did."""

    IDLE = "idle"
    """The device had nothing to do."""
    FULL = "full"
    """No more entries, or no more cost, fit in, or its objective leaves no time for more."""
    DELAY = "delay"
    """It had waited for company as long as it may."""
    DEADLINE = "deadline"
    """One of it could not wait any longer."""
    TURN = "turn"
    """It was its turn, before full batches of others."""
    STEP = "step"
    """It is the next step of streams that share a generator, which nobody can join."""


class Room(enum.Enum):
    """What the device can take."""

    NONE = "none"
    """One batch runs, and the next one is in hand."""
    NEXT = "next"
    """One batch runs; the next one can be made ready."""
    IDLE = "idle"
    """Nothing runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the batches of a point, which is a batched method or a coalescing point.

    Attributes:
        max_size: inputs at most.
        max_cost: what they may cost together; an entry above it runs alone.
        max_delay: seconds that an idle device waits for company.
        holds: the next batch waits for the members of the last one to come back.
        slo: seconds that waiting and running may take together; None: no such objective.
        steps: each entry is a batch by itself, however large: the next step of several streams.
    """

    max_size: int
    max_cost: float = math.inf
    max_delay: float = 0.0
    holds: bool = False
    slo: float | None = None
    steps: bool = False


class Entry(NamedTuple):
    """One call, or several inputs of one, or one step of one, that waits for a batch."""

    id: int
    point: int
    """Number of the method or coalescing point, as `Policy.add` gave it."""
    key: Hashable
    """Entries of a batch agree on it."""
    cost: float = 1.0
    priority: int = 0
    """Higher ones go first."""
    deadline: float | None = None
    """Instant; it is not run after this."""
    member: int | None = None
    """The call that it belongs to, which may come back with its next step."""
    size: int = 1
    """Inputs in it: no more than a batch may have."""
    divisible: bool = False
    """They need not run together, and cost the same each: some may fill up a batch while the others wait."""


class Batch(NamedTuple):
    """Entries that run together."""

    id: int
    point: int
    key: Hashable
    entries: tuple[int, ...]
    """Ids, in the order in which they go."""
    cost: float
    reason: Reason
    size: int = 1
    """Inputs in all of them."""
    last: int = 0
    """How many inputs of the last entry go, if that is divided: the others wait under its id; 0: all."""


class Decision(NamedTuple):
    """What is to be done now."""

    batches: tuple[Batch, ...] = ()
    """At most one."""
    expired: tuple[int, ...] = ()
    """Entries whose deadline has passed. They are forgotten, and must not be run."""
    wake_at: float | None = None
    """Instant at which to decide again if nothing happens before; None: only an event changes anything."""


def checked_cost(cost: Any) -> float:
    """Return what an author's function says of an entry's cost, if it can be summed up.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, infinite or none: a batch could not be kept below its limit.
    """
    number = float(cost)
    if not 0 <= number < math.inf:
        raise ValueError(f"cost: got {cost!r}, needs 0 or more")
    return number
