"""Admission and order: the state machine between the calls that come in and the replicas that can take them.

Events go in as method calls, with the instant at which they happen; `offer` and `assign` say which calls go to which
replica now. The caller owns the clock, the links and the futures.

A replica has room for so many calls in each lane, and a queue stands before each lane. A call goes out when some
replica has room in its lane, to the one with the least work there. Inputs of a list that go together count as so many
calls, and go out where there is room for one. Room comes back with `release`, when the worker
says that the call is over: a cancelled call keeps its room until then. `fair_queue.py` has the order of those that
wait. A full lane never holds up another; but what a caller is given in one lane counts as its share in all of them.

Replicas may belong to a group, a deployment: calls for it go to them alone, and calls for none go to any replica.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, NewType

from runner.dispatch.callers import Callers
from runner.dispatch.fair_queue import CallId, FairQueue, Shares, Ticket
from runner.dispatch.forecast import Forecast
from runner.errors import Overloaded
from runner.signature.published import Lane
from runner.statistics import LaneStatistics

__all__ = ["Assignment", "CallId", "Dispatcher", "ReplicaId", "Statistics", "Ticket"]

ReplicaId = NewType("ReplicaId", int)


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


class _Replica:
    """Room and work of one replica, by lane."""

    __slots__ = ("alone", "group", "room", "running")

    def __init__(self, room: Mapping[Lane, int], group: str) -> None:
        self.group = group
        self.alone: CallId | None = None  # the call that is to be here by itself
        self.room = dict(room)
        self.running = dict.fromkeys(room, 0)


class _Running(NamedTuple):
    replica: ReplicaId
    lane: Lane
    since: float
    calls: int


class _Quarantine(OrderedDict[CallId, Ticket]):
    """Calls that wait to be run alone, oldest first."""

    def withdraw(self, call: CallId) -> Ticket | None:
        """Take a call out; None if it is not here."""
        return self.pop(call, None)


class Dispatcher:
    """See the module's text. Owns the queues and the count of what runs where; nobody else changes either."""

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
        self._aging = aging
        self._shares = Shares()
        self._callers = Callers()
        self._queues: dict[tuple[Lane, str], FairQueue] = {}
        self._alone = _Quarantine()
        self._where: dict[CallId, FairQueue | _Quarantine] = {}
        self._sizes: dict[CallId, tuple[int, int]] = {}  # bytes, and the calls that it counts for
        self._waiting_bytes = 0
        self._waiting_calls = 0
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._running: dict[CallId, _Running] = {}
        self._forecasts: dict[Lane, Forecast] = {}

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
        queue = self._queue(ticket)
        replica = self._least_busy(ticket.lane, ticket.group) if not queue else None
        self._check_caller(ticket, ticket.calls, ticket.calls if replica is None else 0, now)
        if replica is not None:
            self._run(ticket, replica, now)
            return replica
        if self._waiting_calls + ticket.calls > self._max_calls:
            raise self._full(f"{self._waiting_calls} calls are waiting, and no more are taken; try again later", ticket)
        self._check_bytes(ticket, ticket.size)
        self._check_wait(ticket, queue, now, slo)
        self._wait(ticket, queue, now)
        return None

    def offer_list(self, tickets: Sequence[Ticket], now: float) -> list[ReplicaId | None]:
        """Take several calls of one lane and one group, or none of them.

        Returns:
            For each call what `offer` would.

        Raises:
            Overloaded: they do not all fit. Nothing has changed.
            InvalidInput: they are more than their caller may have at once.
        """
        first = tickets[0]
        queue = self._queue(first)
        waiting = tickets[self._placed_at_once(tickets) if not queue else 0 :]
        waits = sum([ticket.calls for ticket in waiting])
        self._check_caller(first, sum([ticket.calls for ticket in tickets]), waits, now)
        if waiting and self._waiting_calls + waits > self._max_calls:
            raise self._full(
                f"{self._waiting_calls} calls are waiting, and {waits} more do not fit under {self._max_calls}; "
                "send fewer at once or try again later",
                first,
            )
        if waiting:
            self._check_bytes(first, sum(ticket.size for ticket in waiting))
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
        if self._queues.get((lane, group)):
            return []
        work = [
            replica.running[lane]
            for replica in self._replicas.values()
            if replica.room.get(lane) and replica.alone is None and (not group or replica.group == group)
        ]
        if not work:
            return []
        taken, count = 0, len(calls)
        # In few pieces, as what goes together costs less; but no replica gets more than would make all even.
        share, even = -(-count // len(work)), -(-(sum(work) + count) // len(work))
        placed: list[tuple[ReplicaId, int]] = []
        while taken < count and (name := self._least_busy(lane, group)) is not None:
            replica = self._replicas[name]
            running = replica.running[lane]
            size = min(share, count - taken, replica.room[lane] - running)
            if running < even:  # or all that had less are full
                size = min(size, even - running)
            replica.running[lane] += size
            self._running.update(dict.fromkeys(calls[taken : taken + size], _Running(name, lane, now, 1)))
            placed.append((name, size))
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
        if alone:
            self._callers.take(ticket, arrived, waits=True, again=True)
            self._alone[ticket.id] = ticket
            self._alone.move_to_end(ticket.id, last=False)
            self._count(ticket, self._alone)
        else:
            self._wait(ticket, self._queue(ticket), arrived, again=True)

    def withdraw(self, call: CallId) -> ReplicaId | None:
        """Take a call out of its queue; return the replica that runs it if it is too late for that."""
        queue = self._where.pop(call, None)
        if queue is not None:
            self._callers.end(call)
            queue.withdraw(call)
            self._discount(call)
            return None
        running = self._running.get(call)
        return None if running is None else running.replica

    def release(self, call: CallId, now: float) -> None:
        """The worker says that a call is over: its room is free."""
        running = self._running.pop(call, None)
        if running is None:
            return
        self._callers.end(call)
        known = self._replicas[running.replica]
        if known.alone == call:
            known.alone = None
        self._free(running, running.calls, now)

    def release_all(self, calls: Iterable[CallId], now: float) -> None:
        """Release calls that ended together. Of those that were taken at once, their lane's forecast sees one."""
        last: _Running | None = None
        ended = 0
        for call in calls:
            running = self._running.get(call)
            if running is None or running.calls > 1 or self._replicas[running.replica].alone is not None:
                self.release(call, now)
                continue
            del self._running[call]
            self._callers.end(call)
            if running is not last:
                if last is not None:
                    self._free(last, ended, now)
                last, ended = running, 0
            ended += 1
        if last is not None:
            self._free(last, ended, now)

    def _free(self, running: _Running, calls: int, now: float) -> None:
        lane = running.lane
        self._replicas[running.replica].running[lane] -= calls
        forecast = self._forecasts.get(lane)
        if forecast is None:
            forecast = self._forecasts[lane] = Forecast()
        forecast.ended(now, now - running.since, backlog=bool(self._where) and self._waits(lane), calls=calls)

    def join(self, replica: ReplicaId, room: Mapping[Lane, int], group: str = "") -> None:
        """A replica is ready for so many calls in each lane."""
        self._replicas[replica] = _Replica(room, group)

    def resize(self, replica: ReplicaId, lane: Lane, room: int) -> None:
        """A replica takes so many calls of a lane from now on."""
        if (known := self._replicas.get(replica)) is not None and lane in known.room:
            known.room[lane] = max(room, 1)

    def retire(self, replica: ReplicaId) -> None:
        """A replica gets no more calls, and finishes those that it has."""
        if (known := self._replicas.get(replica)) is not None:
            known.room.clear()

    def leave(self, replica: ReplicaId) -> list[CallId]:
        """A replica is gone; return the calls that were on it."""
        self._replicas.pop(replica, None)
        lost = [call for call, running in self._running.items() if running.replica == replica]
        for call in lost:
            del self._running[call]
            self._callers.end(call)
        return lost

    def assign(self, now: float) -> list[Assignment]:
        """Return the waiting calls that go out now, in order. They count as running from here on."""
        if not self._where:
            return []
        assignments = self._assign_alone(now) if self._alone else []
        progress = True
        while progress:
            progress = False
            # One of each queue in turn: two groups of calls may wait for the same replica.
            for (lane, group), queue in self._queues.items():
                if queue and (replica := self._least_busy(lane, group)) is not None:
                    ticket = queue.pop(now)
                    self._leave_queue(ticket)
                    self._start(ticket, replica, now)
                    assignments.append(Assignment(ticket.id, replica))
                    progress = True
        return assignments

    def _assign_alone(self, now: float) -> list[Assignment]:
        assignments: list[Assignment] = []
        for ticket in list(self._alone.values()):
            replica = self._without_work(ticket.lane, ticket.group)
            if replica is not None:
                del self._alone[ticket.id]
                self._replicas[replica].alone = ticket.id
                self._leave_queue(ticket)
                self._start(ticket, replica, now)
                assignments.append(Assignment(ticket.id, replica))
        return assignments

    def room(self, lane: Lane, group: str = "") -> int:
        """Return how many calls of a lane run at once, on all replicas that may take them."""
        return sum(
            replica.room.get(lane, 0) for replica in self._replicas.values() if not group or replica.group == group
        )

    def idlest(self) -> ReplicaId | None:
        """Return the replica with the fewest calls of those that get any: the next one goes there, as a rule."""
        best, least = None, 0
        for name, replica in self._replicas.items():
            running = sum(replica.running.values())
            if replica.room and (best is None or running < least):
                best, least = name, running
        return best

    def statistics(self, now: float = 0.0) -> Statistics:
        """Return a snapshot of the counters."""
        running = {name: sum(replica.running.values()) for name, replica in self._replicas.items()}
        waiting: dict[Lane, tuple[int, float]] = {}
        for (lane, _), queue in self._queues.items():
            if (oldest := queue.oldest) is not None:
                count, age = waiting.get(lane, (0, 0.0))
                waiting[lane] = (count + len(queue), max(age, now - oldest))
        lanes = tuple(LaneStatistics(lane, count, age) for lane, (count, age) in waiting.items())
        return Statistics(self._waiting_calls, self._waiting_bytes, running, lanes)

    def _queue(self, ticket: Ticket) -> FairQueue:
        key = (ticket.lane, ticket.group)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = FairQueue(self._shares, self._aging)
        return queue

    def _waits(self, lane: Lane) -> bool:
        return any(queue and key[0] == lane for key, queue in self._queues.items())

    def _least_busy(self, lane: Lane, group: str) -> ReplicaId | None:
        best: ReplicaId | None = None
        least = 0
        for name, replica in self._replicas.items():
            if replica.alone is not None or (group and replica.group != group):
                continue
            running = replica.running.get(lane, 0)
            if running < replica.room.get(lane, 0) and (best is None or running < least):
                best, least = name, running
        return best

    def _placed_at_once(self, tickets: Sequence[Ticket]) -> int:
        """Return how many of these would go out at once, each as `_least_busy` places it."""
        lane, group = tickets[0].lane, tickets[0].group
        work = [
            [replica.running.get(lane, 0), replica.room.get(lane, 0)]
            for replica in self._replicas.values()
            if replica.alone is None and (not group or replica.group == group)
        ]
        for placed, ticket in enumerate(tickets):
            least = min((each for each in work if each[0] < each[1]), key=itemgetter(0), default=None)
            if least is None:
                return placed
            least[0] += ticket.calls
        return len(tickets)

    def _without_work(self, lane: Lane, group: str) -> ReplicaId | None:
        for name, replica in self._replicas.items():
            fits = (not group or replica.group == group) and replica.room.get(lane, 0) > 0
            if fits and replica.alone is None and not any(replica.running.values()):
                return name
        return None

    def _check_caller(self, ticket: Ticket, count: int, waits: int, now: float) -> None:
        if ticket.limits is not None:
            forecast = self._forecasts.get(ticket.lane)
            hint = None if forecast is None else forecast.service
            self._callers.check(ticket, count, now, waits=waits, hint=hint)

    def _check_bytes(self, ticket: Ticket, size: int) -> None:
        # What comes alone is taken, however large: a limit below one message would refuse it for ever.
        if self._where and self._waiting_bytes + size > self._max_bytes:
            raise self._full(
                f"{self._waiting_bytes} bytes of calls are waiting, and no more are taken; try again later", ticket
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
        return Overloaded(message, retry_after=None if forecast is None else forecast.wait(1))

    def _run_or_wait(self, ticket: Ticket, queue: FairQueue, now: float) -> ReplicaId | None:
        replica = self._least_busy(ticket.lane, ticket.group) if not queue else None
        if replica is None:
            self._wait(ticket, queue, now)
        else:
            self._run(ticket, replica, now)
        return replica

    def _run(self, ticket: Ticket, replica: ReplicaId, now: float) -> None:
        """Run a call that did not wait."""
        self._callers.take(ticket, now, waits=False)
        self._shares.charge(ticket.caller, ticket.calls)
        self._start(ticket, replica, now)

    def _wait(self, ticket: Ticket, queue: FairQueue, now: float, *, again: bool = False) -> None:
        self._callers.take(ticket, now, waits=True, again=again)
        queue.push(ticket, now, again=again)
        self._count(ticket, queue)

    def _leave_queue(self, ticket: Ticket) -> None:
        """A call that waited goes out."""
        del self._where[ticket.id]
        self._discount(ticket.id)
        self._callers.start(ticket.id)

    def _count(self, ticket: Ticket, queue: FairQueue | _Quarantine) -> None:
        self._where[ticket.id] = queue
        self._sizes[ticket.id] = ticket.size, ticket.calls
        self._waiting_bytes += ticket.size
        self._waiting_calls += ticket.calls

    def _discount(self, call: CallId) -> None:
        size, calls = self._sizes.pop(call)
        self._waiting_bytes -= size
        self._waiting_calls -= calls

    def _start(self, ticket: Ticket, replica: ReplicaId, now: float) -> None:
        self._replicas[replica].running[ticket.lane] += ticket.calls
        self._running[ticket.id] = _Running(replica, ticket.lane, now, ticket.calls)

    def __repr__(self) -> str:
        return (
            f"<Dispatcher {self._waiting_calls} waiting, {len(self._running)} running, {len(self._replicas)} replicas>"
        )
