"""The calls that wait: a queue before each lane, for each group, and those that are to be run alone."""

from __future__ import annotations

from collections import OrderedDict

from runner.dispatch.fair_queue import CallId, FairQueue, Shares, Ticket
from runner.signature.published import Lane
from runner.statistics import LaneStatistics


class _Quarantine(OrderedDict[CallId, Ticket]):
    """Calls that wait to be run alone, oldest first."""

    def withdraw(self, call: CallId) -> Ticket | None:
        """Take a call out; None if it is not here."""
        return self.pop(call, None)


class Backlog:
    """See the module's text. Owns the queues, and counts what is in them. Pure.

    Attributes:
        queues: by lane and group. Others only look at them.
        calls: how many wait.
        size: bytes of their payloads.
    """

    def __init__(self, shares: Shares, aging: float) -> None:
        """Make it empty.

        Args:
            shares: what each caller has had.
            aging: seconds of waiting that make up for one level of priority.
        """
        self.queues: dict[tuple[Lane, str], FairQueue] = {}
        self.calls = 0
        self.size = 0
        self._shares = shares
        self._aging = aging
        self._alone = _Quarantine()
        self._where: dict[CallId, FairQueue | _Quarantine] = {}

    def queue(self, ticket: Ticket) -> FairQueue:
        """Return the queue in which a call waits, or would."""
        key = (ticket.lane, ticket.group)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = FairQueue(self._shares, self._aging)
        return queue

    def push(self, ticket: Ticket, queue: FairQueue, now: float, *, again: bool = False) -> None:
        """A call waits in its queue; see `FairQueue.push`."""
        queue.push(ticket, now, again=again)
        self._put(ticket, queue)

    def push_alone(self, ticket: Ticket) -> None:
        """A call waits that is to be run alone. It goes before the others of those."""
        self._alone[ticket.id] = ticket
        self._alone.move_to_end(ticket.id, last=False)
        self._put(ticket, self._alone)

    def pop(self, queue: FairQueue, now: float) -> Ticket:
        """Take the next call out of one of `queues`, and charge its caller. There must be one."""
        ticket = queue.pop(now)
        self._taken(ticket)
        return ticket

    def withdraw(self, call: CallId) -> bool:
        """Take a call out; return whether it was here."""
        queue = self._where.get(call)
        if queue is None or (ticket := queue.withdraw(call)) is None:
            return False
        self._taken(ticket)
        return True

    def alone(self) -> list[Ticket]:
        """Return the calls that wait to be run alone, in their order."""
        return list(self._alone.values())

    def waits(self, lane: Lane) -> bool:
        """Tell whether calls of a lane wait in its queues."""
        return any(queue and key[0] == lane for key, queue in self.queues.items())

    def lanes(self, now: float) -> tuple[LaneStatistics, ...]:
        """Return what waits in the queues of each lane."""
        waiting: dict[Lane, tuple[int, float]] = {}
        for (lane, _), queue in self.queues.items():
            if (oldest := queue.oldest) is not None:
                count, age = waiting.get(lane, (0, 0.0))
                waiting[lane] = (count + len(queue), max(age, now - oldest))
        return tuple(LaneStatistics(lane, count, age) for lane, (count, age) in waiting.items())

    def _put(self, ticket: Ticket, queue: FairQueue | _Quarantine) -> None:
        self._where[ticket.id] = queue
        self.calls += ticket.calls
        self.size += ticket.size

    def _taken(self, ticket: Ticket) -> None:
        del self._where[ticket.id]
        self.calls -= ticket.calls
        self.size -= ticket.size

    def __repr__(self) -> str:
        return f"<Backlog {self.calls} calls, {self.size} bytes>"
