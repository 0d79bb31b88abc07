"""Waiting calls in the order in which they go: by priority, then by urgency, then in fair shares.

Calls of one priority and one class of urgency form a *rank*. The rank with the highest level goes first, where the
level is the priority and one more for each `aging` seconds that the rank's oldest call has waited: nobody starves.
Of two ranks on one level the more urgent one goes first. Urgency is a matter of three classes only, so that a caller
does not win by a deadline that is a little shorter than another's.

Within a rank the callers share: each has a *tag*, the number of calls that were run for it, and the lowest tag goes
first (start-time fair queueing, Goyal et al., 1996). The tags belong to `Shares`, which all queues have in common, so
what a caller gets through one method counts against it in the next. A caller that comes back after a pause starts at
the tag of those who are being served now: a pause earns no credit.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple, NewType

from runner.limits import CallerLimits
from runner.signature.published import Lane

CallId = NewType("CallId", int)

URGENCIES: Final = (1.5, 12.0)
"""seconds that a call has left when it comes: below the first it is urgent, below the second it is less so. No numbers
that callers like: of equal time-outs some arrive rounded up and some a little late, and 10 s were seen on both sides of
10 s, so that every sixth call of one caller overtook the others."""

_MOST_IDLE: Final = 1024
"""Callers whose tags are kept though nothing of theirs waits."""


class Ticket(NamedTuple):
    """What the dispatcher needs to know of a call."""

    id: CallId
    lane: Lane
    size: int
    """Bytes of payload."""
    caller: str = ""
    """Who shares with whom."""
    priority: int = 0
    """Higher ones go first."""
    deadline: float | None = None
    """Instant; None without one."""
    group: str = ""
    """The deployment that has to run it; empty: any."""
    limits: CallerLimits | None = None
    """What the caller may have here at once; None: no bounds of its own."""
    calls: int = 1
    """How many it counts for: the inputs of a list that go together are a call each."""


class Shares:
    """How many calls were run for each caller, in virtual time."""

    def __init__(self) -> None:
        self._tags: dict[str, float] = {}
        self._time = 0.0  # the tag of the latest call to start

    def tag(self, caller: str) -> float:
        """Return where a caller stands."""
        return max(self._tags.get(caller, 0.0), self._time)

    def charge(self, caller: str, calls: int = 1) -> None:
        """So many calls of this caller start."""
        self._time = tag = max(self._tags.get(caller, 0.0), self._time)
        self._tags[caller] = tag + calls
        if len(self._tags) > _MOST_IDLE:
            # Who is not ahead of the others starts where they are anyway.
            self._tags = {name: kept for name, kept in self._tags.items() if kept > tag}

    def __len__(self) -> int:
        return len(self._tags)


class _Line(OrderedDict[CallId, Ticket]):
    """What waits of one caller, oldest first."""

    calls = 0


class _Rank:
    """Calls of one priority and urgency, by caller."""

    __slots__ = ("callers", "order", "turns")

    def __init__(self) -> None:
        self.callers: dict[str, _Line] = {}
        self.order: OrderedDict[CallId, float] = OrderedDict()  # by arrival: the instant at which each came
        self.turns: list[tuple[float, int, str]] = []  # a heap of (tag, turn, caller); a tag may have grown since


class FairQueue:
    """See the module's text. Offers and withdrawals take constant time, a pop the logarithm of the callers' number."""

    def __init__(self, shares: Shares, aging: float) -> None:
        """Make an empty queue.

        Args:
            shares: what each caller has had, of all queues.
            aging: seconds of waiting that make up for one level of priority.
        """
        self._shares = shares
        self._aging = aging
        self._ranks: dict[tuple[int, int], _Rank] = {}
        self._where: dict[CallId, tuple[int, int]] = {}
        self._callers: dict[CallId, str] = {}
        self._calls = 0
        self._counter = itertools.count()

    def push(self, ticket: Ticket, now: float, *, again: bool = False) -> None:
        """A call waits.

        Args:
            ticket: the call.
            now: the instant at which it came.
            again: it was out once already, and goes before the others of its caller.
        """
        key = (ticket.priority, _urgency(ticket, now))
        rank = self._ranks.get(key)
        if rank is None:
            rank = self._ranks[key] = _Rank()
        self._where[ticket.id] = key
        self._callers[ticket.id] = ticket.caller
        rank.order[ticket.id] = now
        line = rank.callers.get(ticket.caller)
        if line is None:
            line = rank.callers[ticket.caller] = _Line()
            # The number parts equal tags by the order in which the callers came, and is new at each turn.
            heapq.heappush(rank.turns, (self._shares.tag(ticket.caller), next(self._counter), ticket.caller))
        line[ticket.id] = ticket
        line.calls += ticket.calls
        self._calls += ticket.calls
        if again:
            line.move_to_end(ticket.id, last=False)
            rank.order.move_to_end(ticket.id, last=False)

    def withdraw(self, call: CallId) -> Ticket | None:
        """Take a call out; None if it is not here."""
        key = self._where.get(call)
        if key is None:
            return None
        return self._take(key, self._callers[call], call)

    def pop(self, now: float) -> Ticket:
        """Take out the next call, and charge its caller. There must be one."""
        key = self._first_rank(now)
        rank = self._ranks[key]
        while True:
            tag, _, caller = rank.turns[0]
            if caller not in rank.callers:  # it has left since
                heapq.heappop(rank.turns)
                continue
            current = self._shares.tag(caller)
            if current == tag:
                break
            heapq.heapreplace(rank.turns, (current, next(self._counter), caller))
        call = next(iter(rank.callers[caller]))
        ticket = self._take(key, caller, call)
        self._shares.charge(caller, ticket.calls)
        return ticket

    def of_caller(self, caller: str) -> int:
        """Return how many calls of a caller wait."""
        return sum(rank.callers[caller].calls for rank in self._ranks.values() if caller in rank.callers)

    @property
    def callers(self) -> int:
        """How many callers have calls here."""
        if len(self._ranks) == 1:
            return len(next(iter(self._ranks.values())).callers)
        return len({caller for rank in self._ranks.values() for caller in rank.callers})

    @property
    def oldest(self) -> float | None:
        """The instant at which the oldest call came; None if the queue is empty."""
        return min((next(iter(rank.order.values())) for rank in self._ranks.values()), default=None)

    def __len__(self) -> int:
        return self._calls

    def __iter__(self) -> Iterator[CallId]:
        return iter(self._where)

    def _first_rank(self, now: float) -> tuple[int, int]:
        if len(self._ranks) == 1:
            return next(iter(self._ranks))
        best: tuple[int, int] | None = None
        best_order = (-math.inf, 0.0)
        for (priority, urgency), rank in self._ranks.items():
            waited = now - next(iter(rank.order.values()))
            order = (priority + waited // self._aging, -urgency)
            if best is None or order > best_order:
                best, best_order = (priority, urgency), order
        assert best is not None
        return best

    def _take(self, key: tuple[int, int], caller: str, call: CallId) -> Ticket:
        rank = self._ranks[key]
        line = rank.callers[caller]
        ticket = line.pop(call)
        line.calls -= ticket.calls
        self._calls -= ticket.calls
        del rank.order[call], self._where[call], self._callers[call]
        if not line:
            del rank.callers[caller]
            if not rank.callers:
                del self._ranks[key]
            elif len(rank.turns) > 64 and len(rank.turns) > 4 * len(rank.callers):
                rank.turns = [turn for turn in rank.turns if turn[2] in rank.callers]
                heapq.heapify(rank.turns)
        return ticket

    def __repr__(self) -> str:
        return f"<FairQueue {len(self)} calls of {self.callers} callers>"


def _urgency(ticket: Ticket, now: float) -> int:
    """Return 0 for the most urgent class."""
    if ticket.deadline is None:
        return len(URGENCIES)
    left = ticket.deadline - now
    return next((number for number, bound in enumerate(URGENCIES) if left < bound), len(URGENCIES))
