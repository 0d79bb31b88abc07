"""Which waiting entries form the next batch, and when. Pure: events and instants in, decisions out.

Entries that agree on point and key are a *group*. The rules:

- **Pull.** A batch is formed when the device can take it. An idle device gets what is there; a busy one may have its
  next batch made ready, but only a full one, since any other still grows.
- **Order.** Every entry has a rank: the instant at which it came, set back by `aging` seconds for each level of
  priority. The smallest rank is the most urgent, and waiting makes up for priority, so nobody starves. The rank never
  changes, and so neither does the order of two entries.
- **Turns.** A partial group whose turn it is goes before the full groups of others.
- **The hold.** Members of a coalesced batch come back with their next step a moment after they have their results. A
  device that took what was there at once would split them into cohorts that alternate for ever, each half a batch. So
  the next batch of that group waits until each member has come back or has ended, for about one run's time at most. A
  member that is late once is not waited for until it has come back in time.

Compare instants, never differences: `now >= offered + delay` is the very expression that made the instant to wake at.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple, TypeAlias

from runner.batching.entries import Batch, Decision, Entry, Limits, Reason, Room
from runner.batching.latency import LatencyModel

_COMPLETE: Final = (Reason.FULL, Reason.STEP)
"""Why a batch leaves that cannot grow any more."""

_GroupKey: TypeAlias = "tuple[int, Hashable]"


class PointStatistics(NamedTuple):
    """What waits at one point."""

    waiting: int
    oldest: float | None
    """Instant at which the oldest entry came; None if none waits."""


class _Group:
    """Entries that may run together, and the hold for those that did."""

    __slots__ = (
        "cost",
        "deadlines",
        "expected",
        "hold_until",
        "key",
        "late",
        "limits",
        "met",
        "offers",
        "outstanding",
        "point",
        "ranked",
        "size",
    )

    def __init__(self, point: int, key: Hashable, limits: Limits) -> None:
        self.point = point
        self.key = key
        self.limits = limits
        self.size = 0
        self.cost = 0.0
        # Heaps that may hold entries which have left: `Policy._waiting` knows which are still there.
        self.ranked: list[tuple[float, int]] = []
        self.offers: list[tuple[float, int]] = []
        self.deadlines: list[tuple[float, int]] = []
        self.outstanding = 0  # batches that were taken and are not finished
        self.expected: set[int] = set()  # members of batches who have not come back
        self.late: set[int] = set()  # members who are not waited for
        self.hold_until = -math.inf
        self.met = False  # all members of the last batch have come back or have ended

    def expect_no_more(self, member: int) -> None:
        """A member has come back, or has ended."""
        self.expected.discard(member)
        self.met = self.met or not (self.expected or self.outstanding)


class _Waiting(NamedTuple):
    entry: Entry
    group: _Group
    rank: float


class Policy:
    """See the module's text. Owns what waits; the caller owns the clock and the device."""

    def __init__(self, *, aging: float = 1.0) -> None:
        """Make a policy without points.

        Args:
            aging: seconds of waiting that make up for one level of priority.
        """
        self.latency = LatencyModel()
        self._aging = aging
        self._limits: list[Limits] = []
        self._groups: dict[_GroupKey, _Group] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._awaited: dict[int, set[_Group]] = {}  # member -> groups that hold for it, or count it as late
        self._members: dict[int, tuple[int, ...]] = {}  # batch -> its members, until it is finished
        self._last_batch = 0

    def add(self, limits: Limits) -> int:
        """Add a point; return its number."""
        self._limits.append(limits)
        return len(self._limits) - 1

    def resize(self, point: int, limits: Limits) -> None:
        """Change what bounds the batches of a point from now on."""
        self._limits[point] = limits
        for group in self._groups.values():
            if group.point == point:
                group.limits = limits

    def limits(self, point: int) -> Limits:
        """Return what bounds the batches of a point."""
        return self._limits[point]

    def most(self, point: int) -> tuple[int, float]:
        """Return how many inputs an entry of a point may have, and what they may cost: a batch never parts them."""
        limits = self._limits[point]
        if limits.slo is None:
            return limits.max_size, limits.max_cost
        # What a batch may cost however late its entries are; see `_most_cost`.
        largest = self.latency.largest_within(point, limits.slo / 2)
        return limits.max_size, limits.max_cost if largest is None else min(limits.max_cost, largest)

    # Events.

    def offer(self, entry: Entry, now: float) -> None:
        """An entry waits from now on."""
        key = (entry.point, entry.key)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(entry.point, entry.key, self._limits[entry.point])
        rank = now - entry.priority * self._aging
        self._waiting[entry.id] = _Waiting(entry, group, rank)
        group.size += entry.size
        group.cost += entry.cost
        heapq.heappush(group.ranked, (rank, entry.id))
        heapq.heappush(group.offers, (now, entry.id))
        if entry.deadline is not None:
            heapq.heappush(group.deadlines, (entry.deadline, entry.id))
            heapq.heappush(self._deadlines, (entry.deadline, entry.id))
        if entry.member is not None and entry.member in self._awaited:
            self._came_back(entry.member, now)

    def withdraw(self, entry_id: int) -> bool:
        """The entry's caller went away; False if it does not wait any more."""
        waiting = self._waiting.get(entry_id)
        if waiting is None:
            return False
        self._remove(waiting)
        self._tidy(waiting.group)
        return True

    def finished(self, batch: Batch, seconds: float, now: float) -> None:
        """A batch has run, for so long, and its members have their results: from here on they may come back."""
        self.latency.update(batch.point, batch.cost, seconds)
        if batch.id in self._members:
            self._settle(batch, now, self.latency.predict(batch.point, batch.cost) or seconds)

    def dropped(self, batch: Batch, now: float) -> None:
        """A batch was not run after all: nobody waited for it any more."""
        for member in self._members.get(batch.id, ()):
            self.ended(member)
        self._settle(batch, now, 0.0)

    def ended(self, member: int) -> None:
        """A call is over: nobody waits for its next step."""
        for group in self._awaited.pop(member, ()):
            group.expect_no_more(member)
            group.late.discard(member)
            self._tidy(group)

    # The decision.

    @property
    def met(self) -> bool:
        """True if a batch waits for nobody any more: all who were in the last one have come back or have ended."""
        return any(group.met and group.size for group in self._groups.values())

    def decide(self, now: float, room: Room) -> Decision:
        """Say what runs next, what must not run any more, and when to ask again if nothing happens."""
        expired = self._expire(now)
        if room is Room.NONE or not self._waiting:
            return Decision((), expired, self._next_deadline())
        best: _Group | None = None
        best_reason = Reason.IDLE
        best_rank = wake_at = math.inf
        anybody_complete = False
        for group in self._groups.values():
            if not group.size:
                continue
            reason, later = self._readiness(group, now)
            wake_at = min(wake_at, later)
            if reason is None:
                continue
            anybody_complete = anybody_complete or reason in _COMPLETE
            if (rank := self._head(group.ranked)[0]) < best_rank:
                best, best_reason, best_rank = group, reason, rank
        if best is None:
            deadline = self._next_deadline()
            wake_at = wake_at if deadline is None else min(wake_at, deadline)
            return Decision((), expired, None if wake_at == math.inf else wake_at)
        if room is Room.NEXT and best_reason not in _COMPLETE:
            if not anybody_complete:
                return Decision((), expired, self._next_deadline())
            best_reason = Reason.TURN
        return Decision((self._take(best, best_reason, now),), expired)

    def _readiness(self, group: _Group, now: float) -> tuple[Reason | None, float]:
        """Say why a group may leave now, or else when it may if nothing happens before."""
        limits = group.limits
        if limits.steps:
            return Reason.STEP, math.inf
        if group.size >= limits.max_size or group.cost >= self._most_cost(group, now):
            return Reason.FULL, math.inf
        if limits.holds and group.expected - group.late:
            # Until the batch is finished nobody can come back, and an event will tell of that.
            until = math.inf if group.outstanding else group.hold_until
            if now < until:
                return None, until
        reason = Reason.IDLE
        if limits.max_delay > 0:
            until = self._head(group.offers)[0] + limits.max_delay
            reason = Reason.DELAY
            if (deadline := self._earliest_deadline(group)) is not None:
                latest_start = deadline - (self.latency.predict(group.point, group.cost) or 0.0)
                if latest_start < until:
                    until, reason = latest_start, Reason.DEADLINE
            if now < until:
                return None, until
        return reason, math.inf

    def _take(self, group: _Group, reason: Reason, now: float) -> Batch:
        limits = group.limits
        most = self._most_cost(group, now)
        entries: list[int] = []
        members: list[int] = []
        size, cost, last = 0, 0.0, 0
        while group.size and size < limits.max_size:
            waiting = self._waiting[self._head(group.ranked)[1]]
            entry = waiting.entry
            if entries and (cost + entry.cost > most or size + entry.size > limits.max_size):
                if entry.divisible and (last := self._room_for(entry, limits.max_size - size, most - cost)):
                    entries.append(entry.id)
                    size, cost = size + last, cost + entry.cost / entry.size * last
                    self._divide(waiting, last)
                break
            self._remove(waiting)
            heapq.heappop(group.ranked)
            entries.append(entry.id)
            size += entry.size
            cost += entry.cost
            if limits.holds and entry.member is not None:
                members.append(entry.member)
        self._last_batch += 1
        if limits.holds:
            group.outstanding += 1
            group.met = False
            group.expected.update(members)
            for member in members:
                self._awaited.setdefault(member, set()).add(group)
            self._members[self._last_batch] = tuple(members)
        else:
            self._tidy(group)
        return Batch(self._last_batch, group.point, group.key, tuple(entries), cost, reason, size, last)

    def _room_for(self, entry: Entry, inputs: int, cost: float) -> int:
        """Return how many inputs of an entry fit into so many of so much cost."""
        return max(min(inputs, math.floor(cost / (entry.cost / entry.size)) if cost < entry.cost else inputs), 0)

    def _divide(self, waiting: _Waiting, inputs: int) -> None:
        """So many inputs of an entry go, and the others wait on."""
        entry, group, _ = waiting
        cost = entry.cost / entry.size * inputs
        left = entry._replace(size=entry.size - inputs, cost=entry.cost - cost)
        self._waiting[entry.id] = waiting._replace(entry=left)
        group.size -= inputs
        group.cost -= cost

    def _most_cost(self, group: _Group, now: float) -> float:
        """Return what a batch may cost, by its limit and by what its objective leaves."""
        limits = group.limits
        if limits.slo is None:
            return limits.max_cost
        # Half of the objective at least: a queue that is late already is not mended by ever smaller batches.
        waited = now - self._head(group.offers)[0]
        largest = self.latency.largest_within(group.point, max(limits.slo - waited, limits.slo / 2))
        return limits.max_cost if largest is None else min(limits.max_cost, largest)

    # Members.

    def _came_back(self, member: int, now: float) -> None:
        for group in self._awaited.pop(member):
            group.expect_no_more(member)
            if member in group.late:
                if now <= group.hold_until:
                    group.late.discard(member)
                else:
                    self._awaited.setdefault(member, set()).add(group)
            self._tidy(group)

    def _settle(self, batch: Batch, now: float, hold: float) -> None:
        members = self._members.pop(batch.id, None)
        if members is None:
            return
        group = self._groups[batch.point, batch.key]
        group.outstanding -= 1
        # Who has not come back since the last hold began is late: the new one is for the members of this batch.
        overdue = group.expected.difference(members)
        if overdue and now >= group.hold_until:
            group.late |= overdue
            group.expected -= overdue
        group.hold_until = now + hold
        self._tidy(group)

    # Entries.

    def _remove(self, waiting: _Waiting) -> None:
        del self._waiting[waiting.entry.id]
        group = waiting.group
        group.size -= waiting.entry.size
        # Summing up and taking off again leaves a rest in the last digits, which must not outlive the entries.
        group.cost = group.cost - waiting.entry.cost if group.size else 0.0

    def _tidy(self, group: _Group) -> None:
        """Forget a group that nobody is in and nobody is expected in."""
        if group.size:
            # Those who left from the middle of the heaps stay there until they come to the top: not too many of them.
            for heap in (group.ranked, group.offers, group.deadlines):
                if len(heap) > 64 and len(heap) > 4 * group.size:
                    heap[:] = [item for item in heap if item[1] in self._waiting]
                    heapq.heapify(heap)
        elif not group.outstanding and not group.expected and not group.late:
            self._groups.pop((group.point, group.key), None)
        else:
            group.ranked.clear()
            group.offers.clear()
            group.deadlines.clear()

    def _head(self, heap: list[tuple[float, int]]) -> tuple[float, int]:
        while heap[0][1] not in self._waiting:
            heapq.heappop(heap)
        return heap[0]

    def _earliest_deadline(self, group: _Group) -> float | None:
        heap = group.deadlines
        while heap and heap[0][1] not in self._waiting:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def _next_deadline(self) -> float | None:
        heap = self._deadlines
        while heap and heap[0][1] not in self._waiting:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def _expire(self, now: float) -> tuple[int, ...]:
        expired: list[int] = []
        while (deadline := self._next_deadline()) is not None and deadline <= now:
            _, entry_id = heapq.heappop(self._deadlines)
            self.withdraw(entry_id)
            expired.append(entry_id)
        return tuple(expired)

    # What there is to see.

    def __len__(self) -> int:
        return len(self._waiting)

    def statistics(self) -> Iterator[tuple[int, PointStatistics]]:
        """Yield what waits at each point where something does."""
        found: dict[int, PointStatistics] = {}
        for group in self._groups.values():
            if group.size:
                oldest = self._head(group.offers)[0]
                known = found.get(group.point)
                waiting = group.size + (known.waiting if known else 0)
                if known is not None and known.oldest is not None:
                    oldest = min(oldest, known.oldest)
                found[group.point] = PointStatistics(waiting, oldest)
        return iter(found.items())

    def __repr__(self) -> str:
        return f"<Policy {len(self._waiting)} waiting in {len(self._groups)} groups>"
