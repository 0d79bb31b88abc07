"""The room of the replicas: how many calls each takes in each lane, which ones run there, and who gets the next.

A call goes to a replica that has room in its lane, to the one with the least work there. Inputs of a list that go
together count as so many calls, and go where there is room for one. Replicas may belong to a group, a deployment: calls
for it go to them alone, and calls for none go to any replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, NewType

from runner.dispatch.fair_queue import CallId, Ticket
from runner.signature.published import Lane

ReplicaId = NewType("ReplicaId", int)


class Running(NamedTuple):
    """A call that runs, or each of several that began together."""

    replica: ReplicaId
    lane: Lane
    since: float
    """Instant."""
    calls: int
    """How many it counts for."""


class _Replica:
    """Room and work of one replica, by lane."""

    __slots__ = ("alone", "group", "room", "running")

    def __init__(self, room: Mapping[Lane, int], group: str) -> None:
        self.group = group
        self.alone: CallId | None = None  # the call that is to be here by itself
        self.room = dict(room)
        self.running = dict.fromkeys(room, 0)


class Rooms:
    """See the module's text. Owns the count of what runs where; nobody else changes it. Pure."""

    def __init__(self) -> None:
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._running: dict[CallId, Running] = {}

    # Replicas.

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
        return lost

    # Who gets the next call?

    def least_busy(self, lane: Lane, group: str) -> ReplicaId | None:
        """Return the replica with the least work in a lane, of those that have room there."""
        best: ReplicaId | None = None
        least = 0
        for name, replica in self._replicas.items():
            if replica.alone is not None or (group and replica.group != group):
                continue
            running = replica.running.get(lane, 0)
            if running < replica.room.get(lane, 0) and (best is None or running < least):
                best, least = name, running
        return best

    def without_work(self, lane: Lane, group: str) -> ReplicaId | None:
        """Return a replica that has the lane, and runs nothing at all."""
        for name, replica in self._replicas.items():
            fits = (not group or replica.group == group) and replica.room.get(lane, 0) > 0
            if fits and replica.alone is None and not any(replica.running.values()):
                return name
        return None

    def idlest(self) -> ReplicaId | None:
        """Return the replica with the fewest calls of those that get any: the next one goes there, as a rule."""
        best, least = None, 0
        for name, replica in self._replicas.items():
            running = sum(replica.running.values())
            if replica.room and (best is None or running < least):
                best, least = name, running
        return best

    def enough_for(self, tickets: Sequence[Ticket]) -> int:
        """Return how many of these calls would run at once, one after the other, each where `least_busy` says.

        Args:
            tickets: of one lane and one group.
        """
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

    # Calls.

    def start(self, ticket: Ticket, replica: ReplicaId, now: float, *, alone: bool = False) -> None:
        """A call runs on a replica, which gets no other one until this is over if it is to be alone."""
        known = self._replicas[replica]
        known.running[ticket.lane] += ticket.calls
        if alone:
            known.alone = ticket.id
        self._running[ticket.id] = Running(replica, ticket.lane, now, ticket.calls)

    def start_together(
        self, calls: Sequence[CallId], lane: Lane, group: str, now: float
    ) -> list[tuple[ReplicaId, int]]:
        """Run as many of these calls as there is room for; return where: so many of the next ones on each replica."""
        if len(calls) == 1:  # there is nothing to share out
            name = self.least_busy(lane, group)
            if name is None:
                return []
            self._replicas[name].running[lane] += 1
            self._running[calls[0]] = Running(name, lane, now, 1)
            return [(name, 1)]
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
        while taken < count and (name := self.least_busy(lane, group)) is not None:
            replica = self._replicas[name]
            running = replica.running[lane]
            size = min(share, count - taken, replica.room[lane] - running)
            if running < even:  # or all that had less are full
                size = min(size, even - running)
            replica.running[lane] += size
            self._running.update(dict.fromkeys(calls[taken : taken + size], Running(name, lane, now, 1)))
            placed.append((name, size))
            taken += size
        return placed

    def end(self, call: CallId) -> Running | None:
        """A call is over; return what ran, None if it did not."""
        running = self._running.pop(call, None)
        if running is not None:
            replica = self._replicas[running.replica]
            replica.running[running.lane] -= running.calls
            if replica.alone == call:
                replica.alone = None
        return running

    def end_all(self, calls: Iterable[CallId]) -> list[tuple[Running, list[CallId]]]:
        """Calls are over; return what ran, and which of these it was. Those that do not run are left out."""
        found: list[tuple[Running, list[CallId]]] = []
        last: Running | None = None
        ended: list[CallId] = []
        for call in calls:
            running = self._running.pop(call, None)
            if running is None:
                continue
            if running is last:
                ended.append(call)
            else:
                last, ended = running, [call]
                found.append((running, ended))
        for running, ended in found:
            replica = self._replicas[running.replica]
            replica.running[running.lane] -= running.calls * len(ended)
            if replica.alone in ended:
                replica.alone = None
        return found

    def replica_of(self, call: CallId) -> ReplicaId | None:
        """Return where a call runs; None if it does not."""
        running = self._running.get(call)
        return None if running is None else running.replica

    def work(self) -> Mapping[ReplicaId, int]:
        """Return how many calls run on each replica."""
        return {name: sum(replica.running.values()) for name, replica in self._replicas.items()}

    def __repr__(self) -> str:
        return f"<Rooms of {len(self._replicas)} replicas, {len(self._running)} running>"
