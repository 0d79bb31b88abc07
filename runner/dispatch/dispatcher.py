"""Admission and order: the state machine between the calls that come in and the replicas that can take them.

Events go in as method calls; `offer` and `assign` say which calls go to which replica now. The caller owns the clock,
the links and the futures.

A replica has room for so many calls in each lane, and a queue stands before each lane. A call goes out when some
replica has room in its lane, to the one with the least work there. Room comes back with `release`, when the worker
says that the call is over: a cancelled call keeps its room until then. Calls of one lane go out in the order in which
they came, and a full lane never holds up another.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NewType

from runner.errors import Overloaded
from runner.signature.published import Lane

CallId = NewType("CallId", int)
ReplicaId = NewType("ReplicaId", int)


class Ticket(NamedTuple):
    """What the dispatcher needs to know of a call."""

    id: CallId
    lane: Lane
    size: int  # bytes of payload


class Assignment(NamedTuple):
    """Send this call to this replica."""

    call: CallId
    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much is where."""

    waiting_calls: int
    waiting_bytes: int
    running: Mapping[ReplicaId, int]


class _Replica:
    """Room and work of one replica, by lane."""

    __slots__ = ("room", "running")

    def __init__(self, room: Mapping[Lane, int]) -> None:
        self.room = dict(room)
        self.running = dict.fromkeys(room, 0)


class Dispatcher:
    """See the module's text. Owns the queues and the count of what runs where; nobody else changes either."""

    def __init__(self, *, max_queued_calls: int, max_queued_bytes: int) -> None:
        self._max_calls = max_queued_calls
        self._max_bytes = max_queued_bytes
        self._waiting: defaultdict[Lane, OrderedDict[CallId, Ticket]] = defaultdict(OrderedDict)
        self._waiting_calls = 0
        self._waiting_bytes = 0
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._running: dict[CallId, tuple[ReplicaId, Lane]] = {}

    def offer(self, ticket: Ticket) -> ReplicaId | None:
        """Take a call.

        Returns:
            The replica that runs it at once, or None: it waits for `assign` to name one.

        Raises:
            Overloaded: the queues are full. Nothing has changed.
        """
        queue = self._waiting[ticket.lane]
        if not queue and (replica := self._least_busy(ticket.lane)) is not None:
            self._start(ticket, replica)
            return replica
        if self._waiting_calls >= self._max_calls:
            raise Overloaded(f"{self._waiting_calls} calls are waiting, and no more are taken; try again later")
        self._check_bytes(ticket.size)
        self._wait(ticket)
        return None

    def offer_list(self, tickets: Sequence[Ticket]) -> list[ReplicaId | None]:
        """Take several calls of one lane, or none of them.

        Returns:
            For each call what `offer` would.

        Raises:
            Overloaded: they do not all fit. Nothing has changed.
        """
        waiting = tickets[self._idle_room(tickets[0].lane) :]
        if waiting and self._waiting_calls + len(waiting) > self._max_calls:
            raise Overloaded(
                f"{self._waiting_calls} calls are waiting, and {len(waiting)} more do not fit under {self._max_calls}; "
                "send fewer at once or try again later"
            )
        if waiting:
            self._check_bytes(sum(ticket.size for ticket in waiting))
        return [self._run_or_wait(ticket) for ticket in tickets]

    def withdraw(self, call: CallId, lane: Lane) -> ReplicaId | None:
        """Take a call out of its queue; return the replica that runs it if it is too late for that."""
        ticket = self._waiting[lane].pop(call, None)
        if ticket is not None:
            self._left_queue(ticket)
            return None
        running = self._running.get(call)
        return None if running is None else running[0]

    def release(self, call: CallId) -> None:
        """The worker says that a call is over: its room is free."""
        running = self._running.pop(call, None)
        if running is not None:
            replica, lane = running
            self._replicas[replica].running[lane] -= 1

    def join(self, replica: ReplicaId, room: Mapping[Lane, int]) -> None:
        """A replica is ready for so many calls in each lane."""
        self._replicas[replica] = _Replica(room)

    def leave(self, replica: ReplicaId) -> list[CallId]:
        """A replica is gone; return the calls that were on it."""
        self._replicas.pop(replica, None)
        lost = [call for call, (where, _) in self._running.items() if where == replica]
        for call in lost:
            del self._running[call]
        return lost

    def assign(self) -> list[Assignment]:
        """Return the waiting calls that go out now, in order. They count as running from here on."""
        if not self._waiting_calls:
            return []
        assignments: list[Assignment] = []
        for lane, queue in self._waiting.items():
            while queue and (replica := self._least_busy(lane)) is not None:
                _, ticket = queue.popitem(last=False)
                self._left_queue(ticket)
                self._start(ticket, replica)
                assignments.append(Assignment(ticket.id, replica))
        return assignments

    def statistics(self) -> Statistics:
        """Return a snapshot of the counters."""
        running = {name: sum(replica.running.values()) for name, replica in self._replicas.items()}
        return Statistics(self._waiting_calls, self._waiting_bytes, running)

    def _least_busy(self, lane: Lane) -> ReplicaId | None:
        best: ReplicaId | None = None
        least = 0
        for name, replica in self._replicas.items():
            running = replica.running[lane]
            if running < replica.room[lane] and (best is None or running < least):
                best, least = name, running
        return best

    def _idle_room(self, lane: Lane) -> int:
        """Return how many calls of a lane would go out at once."""
        if self._waiting[lane]:
            return 0
        return sum(max(replica.room[lane] - replica.running[lane], 0) for replica in self._replicas.values())

    def _check_bytes(self, size: int) -> None:
        # What comes alone is taken, however large: a limit below one message would refuse it for ever.
        if self._waiting_calls and self._waiting_bytes + size > self._max_bytes:
            raise Overloaded(
                f"{self._waiting_bytes} bytes of calls are waiting, and no more are taken; try again later"
            )

    def _run_or_wait(self, ticket: Ticket) -> ReplicaId | None:
        if not self._waiting[ticket.lane] and (replica := self._least_busy(ticket.lane)) is not None:
            self._start(ticket, replica)
            return replica
        self._wait(ticket)
        return None

    def _wait(self, ticket: Ticket) -> None:
        self._waiting[ticket.lane][ticket.id] = ticket
        self._waiting_calls += 1
        self._waiting_bytes += ticket.size

    def _start(self, ticket: Ticket, replica: ReplicaId) -> None:
        self._replicas[replica].running[ticket.lane] += 1
        self._running[ticket.id] = (replica, ticket.lane)

    def _left_queue(self, ticket: Ticket) -> None:
        self._waiting_calls -= 1
        self._waiting_bytes -= ticket.size

    def __repr__(self) -> str:
        return (
            f"<Dispatcher {self._waiting_calls} waiting, {len(self._running)} running, {len(self._replicas)} replicas>"
        )
