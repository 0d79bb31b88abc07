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

import math
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Final, NamedTuple, TypeAlias

from runner.batching.entries import Batch, Decision, Entry, Limits, Reason, Room
from runner.batching.entry_heap import EntryHeap
from runner.batching.group import Group
from runner.batching.latency import LatencyModel

_COMPLETE: Final = (Reason.FULL, Reason.STEP)
"""Why a batch leaves that cannot grow any more."""

_GroupKey: TypeAlias = "tuple[int, Hashable]"


class _Waiting(NamedTuple):
    entry: Entry
    group: Group
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
        self._groups: dict[_GroupKey, Group] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._deadlines = EntryHeap(self._waiting)
        self._awaited: dict[int, set[Group]] = {}  # member -> groups that hold for it, or count it as late
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
        # What a batch may cost however late its entries are; see `Group.most_cost`.
        largest = self.latency.largest_within(point, limits.slo / 2)
        return limits.max_size, limits.max_cost if largest is None else min(limits.max_cost, largest)

    # Events.

    def offer(self, entry: Entry, now: float) -> None:
        """An entry waits from now on."""
        key = (entry.point, entry.key)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(entry.point, entry.key, self._limits[entry.point], self._waiting)
        rank = now - entry.priority * self._aging
        self._waiting[entry.id] = _Waiting(entry, group, rank)
        group.size += entry.size
        group.cost += entry.cost
        heappush(group.ranked, (rank, entry.id))
        heappush(group.offers, (now, entry.id))
        if entry.deadline is not None:
            heappush(group.deadlines, (entry.deadline, entry.id))
            heappush(self._deadlines, (entry.deadline, entry.id))
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
            return Decision((), expired, self._deadlines.smallest())
        best: Group | None = None
        best_reason = Reason.IDLE
        best_rank = wake_at = math.inf
        anybody_complete = False
        for group in self._groups.values():
            if not group.size:
                continue
            reason, later = group.readiness(now, self.latency)
            wake_at = min(wake_at, later)
            if reason is None:
                continue
            anybody_complete = anybody_complete or reason in _COMPLETE
            if (rank := group.rank) < best_rank:
                best, best_reason, best_rank = group, reason, rank
        if best is None:
            deadline = self._deadlines.smallest()
            wake_at = wake_at if deadline is None else min(wake_at, deadline)
            return Decision((), expired, None if wake_at == math.inf else wake_at)
        if room is Room.NEXT and best_reason not in _COMPLETE:
            if not anybody_complete:
                return Decision((), expired, self._deadlines.smallest())
            best_reason = Reason.TURN
        return Decision((self._take(best, best_reason, now),), expired)

    def _take(self, group: Group, reason: Reason, now: float) -> Batch:
        limits = group.limits
        most = group.most_cost(now, self.latency)
        entries: list[int] = []
        members: list[int] = []
        size, cost, last = 0, 0.0, 0
        ranked = group.ranked
        while size < limits.max_size and (first := ranked.first()) is not None:
            waiting = self._waiting[first[1]]
            entry = waiting.entry
            if entries and (cost + entry.cost > most or size + entry.size > limits.max_size):
                if entry.divisible and (last := self._room_for(entry, limits.max_size - size, most - cost)):
                    entries.append(entry.id)
                    size, cost = size + last, cost + entry.cost / entry.size * last
                    self._divide(waiting, last)
                break
            self._remove(waiting)
            heappop(ranked)
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

    def _tidy(self, group: Group) -> None:
        """Forget a group that nobody is in and nobody is expected in."""
        group.tidy()
        self._deadlines.tidy(len(self._waiting))
        if not (group.size or group.awaits):
            self._groups.pop((group.point, group.key), None)

    def _expire(self, now: float) -> tuple[int, ...]:
        expired: list[int] = []
        while (deadline := self._deadlines.smallest()) is not None and deadline <= now:
            _, entry_id = heappop(self._deadlines)
            self.withdraw(entry_id)
            expired.append(entry_id)
        return tuple(expired)

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Policy {len(self._waiting)} waiting in {len(self._groups)} groups>"
