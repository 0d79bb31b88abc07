"""The policy under any order of events."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.batching.entries import Batch, Entry, Limits, Reason, Room
from runner.batching.policy import Policy

LIMITS = (
    Limits(max_size=3),
    Limits(max_size=5, max_cost=8.0, max_delay=0.02),
    Limits(max_size=4, holds=True),
    Limits(max_size=6, slo=0.02),
)
AGING = 1.0


class AnyOrder(RuleBasedStateMachine):
    """No entry is lost or run twice; no batch is over its bounds, mixed, or late; nothing waits without a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.under_test = Policy(aging=AGING)
        for limits in LIMITS:
            self.under_test.add(limits)
        self.now = 1000.0
        self.last = 0
        self.waiting: dict[int, tuple[Entry, float]] = {}
        self.offered: dict[int, float] = {}
        self.outstanding: list[Batch] = []
        self.finished: dict[tuple[int, object], float] = {}  # group -> when its last batch was finished
        self.batches: set[int] = set()

    @rule(
        point=st.integers(0, len(LIMITS) - 1),
        key=st.sampled_from("ab"),
        cost=st.floats(0.5, 10),
        priority=st.integers(-2, 2),
        patience=st.none() | st.floats(0, 0.5),
        member=st.none() | st.integers(1, 6),
        size=st.integers(1, 3),
        divisible=st.booleans(),
    )
    def offer(
        self,
        point: int,
        key: str,
        cost: float,
        priority: int,
        patience: float | None,
        member: int | None,
        size: int,
        divisible: bool,
    ) -> None:
        self.last += 1
        deadline = None if patience is None else self.now + patience
        entry = Entry(self.last, point, key, cost, priority, deadline, member, size, divisible)
        self.waiting[entry.id] = (entry, self.now)
        self.offered[entry.id] = self.now
        self.under_test.offer(entry, self.now)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.last + 1))
        assert self.under_test.withdraw(number) == (self.waiting.pop(number, None) is not None)

    @rule(seconds=st.floats(0, 0.05))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(member=st.integers(1, 6))
    def end(self, member: int) -> None:
        self.under_test.ended(member)

    @precondition(lambda self: self.outstanding)
    @rule(seconds=st.floats(0.0001, 0.03), dropped=st.booleans())
    def finish(self, seconds: float, dropped: bool) -> None:
        batch = self.outstanding.pop(0)
        if dropped:
            self.under_test.dropped(batch, self.now)
        else:
            self.under_test.finished(batch, seconds, self.now)
        self.finished[batch.point, batch.key] = self.now

    @rule(room=st.sampled_from(Room))
    def decide(self, room: Room) -> None:
        decision = self.under_test.decide(self.now, room)
        late = {number for number, (entry, _) in self.waiting.items() if entry.deadline and entry.deadline <= self.now}
        assert set(decision.expired) == late
        for number in late:
            del self.waiting[number]
        assert len(decision.batches) <= (0 if room is Room.NONE else 1)
        for batch in decision.batches:
            self._check(batch, room)
        if room is Room.IDLE and not decision.batches and self.waiting:
            self._is_held_for_a_reason(decision.wake_at)

    def _check(self, batch: Batch, room: Room) -> None:
        assert batch.id not in self.batches
        self.batches.add(batch.id)
        limits = LIMITS[batch.point]
        entries = [self.waiting.pop(number)[0] for number in batch.entries]  # KeyError: lost, or run twice
        if batch.last:
            whole = entries[-1]
            assert whole.divisible
            assert 0 < batch.last < whole.size
            each = whole.cost / whole.size
            entries[-1] = whole._replace(size=batch.last, cost=each * batch.last)
            left = whole._replace(size=whole.size - batch.last, cost=whole.cost - each * batch.last)
            self.waiting[whole.id] = (left, self.offered[whole.id])
        assert entries
        assert {(entry.point, entry.key) for entry in entries} == {(batch.point, batch.key)}
        assert batch.size == sum(entry.size for entry in entries) <= limits.max_size
        assert len(entries) == 1 or sum(entry.cost for entry in entries) <= limits.max_cost + 1e-9
        if room is Room.NEXT:
            assert batch.reason in (Reason.FULL, Reason.TURN)
        self.outstanding.append(batch)

    def _is_held_for_a_reason(self, wake_at: float | None) -> None:
        for entry, _ in self.waiting.values():
            limits = LIMITS[entry.point]
            group = (entry.point, entry.key)
            if any((batch.point, batch.key) == group for batch in self.outstanding):
                continue
            assert limits.max_delay or limits.holds
            assert wake_at is not None
            if limits.max_delay:
                oldest = min(at for other, at in self.waiting.values() if (other.point, other.key) == group)
                assert self.now < oldest + limits.max_delay
            else:  # a hold lasts for about one run at most
                assert self.now <= self.finished[group] + 0.04
        if wake_at is not None:
            assert wake_at > self.now

    @rule()
    def wake(self) -> None:
        """At the instant that was named, something happens."""
        before = len(self.waiting)
        decision = self.under_test.decide(self.now, Room.IDLE)
        for _ in range(3):
            for number in decision.expired:
                del self.waiting[number]
            for batch in decision.batches:
                self._check(batch, Room.IDLE)
            if decision.batches or decision.expired or decision.wake_at is None:
                return
            self.now = max(self.now, decision.wake_at)
            decision = self.under_test.decide(self.now, Room.IDLE)
        assert not before, "it asks to be woken, and then does nothing"

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.under_test) == len(self.waiting)
        waiting = sum(entry.size for entry, _ in self.waiting.values())
        assert sum(group.size for group in self.under_test._groups.values()) == waiting


TestAnyOrder = AnyOrder.TestCase


def test_nothing_of_old_groups_is_kept() -> None:
    under_test = Policy()
    under_test.add(Limits(max_size=4, holds=True))
    for number in range(1, 1000):
        under_test.offer(Entry(number, 0, f"key {number}", member=number), number / 10)
        (batch,) = under_test.decide(number / 10, Room.IDLE).batches
        under_test.finished(batch, 0.01, number / 10 + 0.01)
        under_test.ended(number)
    assert not under_test._groups
    assert not under_test._awaited
    assert not under_test._members


def test_a_low_priority_is_served_under_a_stream_of_higher_ones() -> None:
    under_test = Policy(aging=AGING)
    under_test.add(Limits(max_size=1))
    under_test.offer(Entry(0, 0, "low", priority=-2), 0.0)
    now = 0.0
    for number in range(1, 100):
        now = number * 0.1
        under_test.offer(Entry(number, 0, "high", priority=2), now)
        (batch,) = under_test.decide(now, Room.IDLE).batches
        if batch.entries == (0,):
            break
    assert now <= 4 * AGING + 0.2
