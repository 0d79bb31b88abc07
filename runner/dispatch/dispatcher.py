"""Admission and order: the state machine between the calls that come in and the replicas that can take them.

Events go in as method calls, with the instant at which they happen; `offer` and `assign` say which calls go to which
replica now. The caller owns the clock, the links and the futures.

A replica has room for so many calls in each lane (`rooms.py`), and a queue stands before each lane (`backlog.py`), in
which calls have the order of `fair_queue.py`. A call goes out when some replica has room in its lane. Room comes back
with `release`, when the worker says that the call is over: a cancelled call keeps its room until then. A full lane
never holds up another; but what a caller is given in one lane counts as its share in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.dispatch.backlog import Backlog
from runner.dispatch.callers import Callers
from runner.dispatch.fair_queue import CallId, FairQueue, Shares, Ticket
from runner.dispatch.forecast import Forecast
from runner.dispatch.rooms import ReplicaId, Rooms, Running
from runner.errors import Overloaded
from runner.signature.published import Lane
from runner.statistics import LaneStatistics

__all__ = ["Assignment", "CallId", "Dispatcher", "ReplicaId", "Statistics", "Ticket"]


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
    lanes: tuple[LaneStatistics, ...] = ()


class Dispatcher:
    """See the module's text. Owns the rooms, the backlog, and what is known of callers and lanes."""

    def __init__(
        self, *, max_queued_calls: int, max_queued_bytes: int, max_queued_wait: float = 0.0, aging: float = 1.0
    ) -> None:
        """Make a dispatcher without replicas.

        Args:
            max_queued_calls: calls that may wait.
            max_queued_bytes: bytes of payload that may wait.
            max_queued_wait: seconds; a call that is predicted to wait longer is refused. 0: no such bound.
            aging: seconds of waiting that make up for one level of priority.
        """
        self._max_calls = max_queued_calls
        self._max_bytes = max_queued_bytes
        self._max_wait = max_queued_wait
        self._shares = Shares()
        self._callers = Callers()
        self._backlog = Backlog(self._shares, aging)
        self._rooms = Rooms()
        self._forecasts: dict[Lane, Forecast] = {}

    # Calls that come.

    def offer(self, ticket: Ticket, now: float, *, slo: float | None = None) -> ReplicaId | None:
        """Take a call.

        Args:
            ticket: the call.
            now: instant.
            slo: seconds within which it should be answered; None without such an objective.

        Returns:
            The replica that runs it at once, or None: it waits for `assign` to name one.

        Raises:
            Overloaded: the queues are full, it would wait too long, or its caller has too many. Nothing has changed.
        """
        backlog = self._backlog
        queue = backlog.queue(ticket)
        replica = self._rooms.least_busy(ticket.lane, ticket.group) if not queue else None
        if ticket.limits is not None:
            self._check_caller(ticket, ticket.calls, ticket.calls if replica is None else 0, now)
        if replica is not None:
            self._run(ticket, replica, now)
            return replica
        if backlog.calls + ticket.calls > self._max_calls:
            raise self._full(f"{backlog.calls} calls are waiting, and no more are taken; try again later", ticket)
        self._check_bytes(ticket, ticket.size)
        self._check_wait(ticket, queue, now, slo)
        self._wait(ticket, queue, now)
        return None

    def offer_list(self, tickets: Sequence[Ticket], now: float, *, slo: float | None = None) -> list[ReplicaId | None]:
        """Take several calls of one lane and one group, or none of them.

        Args:
            tickets: the calls.
            now: instant.
            slo: seconds within which they should be answered; None without such an objective.

        Returns:
            For each call what `offer` would.

        Raises:
            Overloaded: they do not all fit, or the first that waits would wait too long. Nothing has changed.
            InvalidInput: they are more than their caller may have at once.
        """
        first = tickets[0]
        queue = self._backlog.queue(first)
        waiting = tickets[self._rooms.enough_for(tickets) if not queue else 0 :]
        waits = sum([ticket.calls for ticket in waiting])
        if first.limits is not None:
            self._check_caller(first, sum([ticket.calls for ticket in tickets]), waits, now)
        if waiting and self._backlog.calls + waits > self._max_calls:
            raise self._full(
                f"{self._backlog.calls} calls are waiting, and {waits} more do not fit under {self._max_calls}; "
                "send fewer at once or try again later",
                first,
            )
        if waiting:
            self._check_bytes(first, sum(ticket.size for ticket in waiting))
            # Of the first alone: what a long list takes by itself is no reason to come back later.
            self._check_wait(waiting[0], queue, now, slo)
        return [self._run_or_wait(ticket, queue, now) for ticket in tickets]

    def run_at_once(
        self, calls: Sequence[CallId], lane: Lane, group: str, caller: str, now: float
    ) -> list[tuple[ReplicaId, int]]:
        """Take of several calls as many as run at once, and say where: so many of the next ones on each replica.

        What `offer` decides for each is decided for all. Those that are left have to be offered, and so have calls of
        a caller with bounds of its own.

        Args:
            calls: of one lane, one group and one caller, which has no bounds of its own.
            lane, group, caller: what they have in common.
            now: instant.
        """
        if self._backlog.queues.get((lane, group)):
            return []
        placed = self._rooms.start_together(calls, lane, group, now)
        taken = 0
        for _, size in placed:
            taken += size
        if taken:
            self._shares.charge(caller, taken)
        return placed

    def restore(self, ticket: Ticket, arrived: float, *, alone: bool = False) -> None:
        """Have a call wait again that was admitted before. It is never refused, and goes first.

        Args:
            ticket: the call.
            arrived: the instant at which it came.
            alone: it goes to a replica that has nothing else to do, and which gets nothing else until the call is over.
                Nothing is kept waiting for that: a replica that is new has nothing to do.
        """
        self._callers.take(ticket, arrived, waits=True, again=True)
        if alone:
            self._backlog.push_alone(ticket)
        else:
            self._backlog.push(ticket, self._backlog.queue(ticket), arrived, again=True)

    def assign(self, now: float) -> list[Assignment]:
        """Return the waiting calls that go out now, in order. They count as running from here on."""
        backlog, rooms = self._backlog, self._rooms
        if not backlog.calls:
            return []
        assignments: list[Assignment] = []
        for ticket in backlog.alone():
            replica = rooms.without_work(ticket.lane, ticket.group)
            if replica is not None:
                backlog.withdraw(ticket.id)
                self._callers.start(ticket.id)
                rooms.start(ticket, replica, now, alone=True)
                assignments.append(Assignment(ticket.id, replica))
        progress = True
        while progress:
            progress = False
            # One of each queue in turn: two groups of calls may wait for the same replica.
            for (lane, group), queue in backlog.queues.items():
                if queue and (replica := rooms.least_busy(lane, group)) is not None:
                    ticket = backlog.pop(queue, now)
                    self._callers.start(ticket.id)
                    rooms.start(ticket, replica, now)
                    assignments.append(Assignment(ticket.id, replica))
                    progress = True
        return assignments

    # Calls that go.

    def withdraw(self, call: CallId) -> ReplicaId | None:
        """Take a call out of its queue; return the replica that runs it if it is too late for that."""
        if self._backlog.withdraw(call):
            self._callers.end(call)
            return None
        return self._rooms.replica_of(call)

    def release(self, call: CallId, now: float) -> None:
        """The worker says that a call is over: its room is free."""
        running = self._rooms.end(call)
        if running is not None:
            if self._callers.calls:
                self._callers.end(call)
            self._learn(running, running.calls, now)

    def release_all(self, calls: Iterable[CallId], now: float) -> None:
        """Release calls that ended together. Of those that were taken at once, their lane's forecast sees one."""
        for running, ended in self._rooms.end_all(calls):
            if self._callers.calls:
                for call in ended:
                    self._callers.end(call)
            self._learn(running, running.calls * len(ended), now)

    def _learn(self, running: Running, calls: int, now: float) -> None:
        """So many calls of what ran have ended."""
        lane = running.lane
        forecast = self._forecasts.get(lane)
        if forecast is None:
            forecast = self._forecasts[lane] = Forecast()
        backlog = self._backlog.calls > 0 and self._backlog.waits(lane)
        forecast.ended(now, now - running.since, backlog=backlog, calls=calls)

    # Replicas.

    def join(self, replica: ReplicaId, room: Mapping[Lane, int], group: str = "") -> None:
        """A replica is ready for so many calls in each lane."""
        self._rooms.join(replica, room, group)

    def resize(self, replica: ReplicaId, lane: Lane, room: int) -> None:
        """A replica takes so many calls of a lane from now on."""
        self._rooms.resize(replica, lane, room)

    def retire(self, replica: ReplicaId) -> None:
        """A replica gets no more calls, and finishes those that it has."""
        self._rooms.retire(replica)

    def leave(self, replica: ReplicaId) -> list[CallId]:
        """A replica is gone; return the calls that were on it."""
        lost = self._rooms.leave(replica)
        for call in lost:
            self._callers.end(call)
        return lost

    def idlest(self) -> ReplicaId | None:
        """Return the replica with the fewest calls of those that get any: the next one goes there, as a rule."""
        return self._rooms.idlest()

    def statistics(self, now: float = 0.0) -> Statistics:
        """Return a snapshot of the counters."""
        backlog = self._backlog
        return Statistics(backlog.calls, backlog.size, self._rooms.work(), backlog.lanes(now))

    # Is a call taken?

    def _check_caller(self, ticket: Ticket, count: int, waits: int, now: float) -> None:
        forecast = self._forecasts.get(ticket.lane)
        hint = None if forecast is None else forecast.service
        self._callers.check(ticket, count, now, waits=waits, hint=hint)

    def _check_bytes(self, ticket: Ticket, size: int) -> None:
        # What comes alone is taken, however large: a limit below one message would refuse it for ever.
        if self._backlog.calls and self._backlog.size + size > self._max_bytes:
            raise self._full(
                f"{self._backlog.size} bytes of calls are waiting, and no more are taken; try again later", ticket
            )

    def _check_wait(self, ticket: Ticket, queue: FairQueue, now: float, slo: float | None) -> None:
        """Refuse what will wait too long, or can be seen to be answered too late."""
        forecast = self._forecasts.get(ticket.lane)
        if forecast is None or (wait := forecast.wait(self._ahead(ticket, queue))) is None:
            return
        answered = wait + (forecast.service or 0.0)
        if 0 < self._max_wait < wait:
            raise Overloaded(
                f"the call would wait for {wait:.1f} s, and {self._max_wait:g} s is the most; try again later",
                retry_after=wait - self._max_wait,
            )
        if slo is not None and answered > slo:
            raise Overloaded(
                f"the call would be answered after {answered:.2f} s, and its method promises {slo:g} s; try again "
                "later",
                retry_after=answered - slo,
            )
        if ticket.deadline is not None and now + answered > ticket.deadline:
            raise Overloaded(
                f"the call would be answered after {answered:.2f} s, and its deadline is sooner; try again later",
                retry_after=now + answered - ticket.deadline,
            )

    def _ahead(self, ticket: Ticket, queue: FairQueue) -> int:
        """Return how many calls go before a new one: in fair shares, not all that came before it."""
        own = queue.of_caller(ticket.caller)
        others = queue.callers - (1 if own else 0)
        return min(len(queue), own + (own + 1) * others)

    def _full(self, message: str, ticket: Ticket) -> Overloaded:
        forecast = self._forecasts.get(ticket.lane)
        return Overloaded(message, retry_after=None if forecast is None else forecast.until_room)

    # Where does it go?

    def _run_or_wait(self, ticket: Ticket, queue: FairQueue, now: float) -> ReplicaId | None:
        replica = self._rooms.least_busy(ticket.lane, ticket.group) if not queue else None
        if replica is None:
            self._wait(ticket, queue, now)
        else:
            self._run(ticket, replica, now)
        return replica

    def _run(self, ticket: Ticket, replica: ReplicaId, now: float) -> None:
        """Run a call that did not wait."""
        self._callers.take(ticket, now, waits=False)
        self._shares.charge(ticket.caller, ticket.calls)
        self._rooms.start(ticket, replica, now)

    def _wait(self, ticket: Ticket, queue: FairQueue, now: float) -> None:
        self._callers.take(ticket, now, waits=True)
        self._backlog.push(ticket, queue, now)

    def __repr__(self) -> str:
        return f"<Dispatcher of {self._backlog} and {self._rooms}>"
