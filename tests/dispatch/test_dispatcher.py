"""Admission and order, as tables of events and as a state machine that does anything in any order."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from runner.dispatch.dispatcher import Assignment, CallId, Dispatcher, ReplicaId, Ticket
from runner.errors import Overloaded
from runner.signature.published import Lane

LANES = (Lane.THREADS, Lane.STREAMS, Lane.COROUTINES)
NOW = 100.0
ROOM = {Lane.THREADS: 2, Lane.STREAMS: 1, Lane.COROUTINES: 3}


def dispatcher(*, calls: int = 10, size: int = 1000) -> Dispatcher:
    return Dispatcher(max_queued_calls=calls, max_queued_bytes=size)


def ticket(number: int, lane: Lane = Lane.THREADS, size: int = 1) -> Ticket:
    return Ticket(CallId(number), lane, size)


def ids(assignments: list[Assignment]) -> list[int]:
    return [assignment.call for assignment in assignments]


def test_calls_wait_until_a_replica_joins_and_then_go_out_in_order() -> None:
    under_test = dispatcher()
    for number in (3, 1, 2):
        under_test.offer(ticket(number), NOW)
    assert under_test.assign(NOW) == []
    under_test.join(ReplicaId(1), ROOM)
    assert ids(under_test.assign(NOW)) == [3, 1]
    assert under_test.assign(NOW) == []


def test_room_comes_back_with_release_only() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    assert [under_test.offer(ticket(number), NOW) for number in (1, 2, 3)] == [ReplicaId(1), ReplicaId(1), None]
    assert under_test.withdraw(CallId(1)) == ReplicaId(1)
    assert under_test.assign(NOW) == []
    under_test.release(CallId(1), NOW)
    assert ids(under_test.assign(NOW)) == [3]


def test_a_full_lane_does_not_hold_up_another() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    assert [under_test.offer(ticket(number, Lane.STREAMS), NOW) for number in (1, 2)] == [ReplicaId(1), None]
    assert under_test.offer(ticket(3, Lane.COROUTINES), NOW) == ReplicaId(1)


def test_calls_go_to_the_replica_with_the_least_work() -> None:
    under_test = dispatcher()
    for name in (1, 2):
        under_test.join(ReplicaId(name), ROOM)
    assert [under_test.offer(ticket(number), NOW) for number in (1, 2, 3)] == [ReplicaId(1), ReplicaId(2), ReplicaId(1)]


def test_a_withdrawn_call_is_never_sent() -> None:
    under_test = dispatcher()
    under_test.offer(ticket(1), NOW)
    assert under_test.withdraw(CallId(1)) is None
    under_test.join(ReplicaId(1), ROOM)
    assert under_test.assign(NOW) == []
    assert under_test.statistics().waiting_calls == 0


def test_a_lost_replica_names_its_calls_and_leaves_the_waiting_ones() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    for number in (1, 2, 3):
        under_test.offer(ticket(number), NOW)
    assert under_test.leave(ReplicaId(1)) == [1, 2]
    under_test.release(CallId(1), NOW)  # the worker's last word may still be on its way
    under_test.join(ReplicaId(2), ROOM)
    assert ids(under_test.assign(NOW)) == [3]


def test_more_calls_than_the_bound_are_refused_and_change_nothing() -> None:
    under_test = dispatcher(calls=2)
    under_test.offer(ticket(1), NOW)
    under_test.offer(ticket(2), NOW)
    with pytest.raises(Overloaded, match="2 calls are waiting"):
        under_test.offer(ticket(3), NOW)
    assert under_test.statistics().waiting_calls == 2


def test_more_bytes_than_the_bound_are_refused_but_one_large_call_is_taken() -> None:
    under_test = dispatcher(size=10)
    under_test.offer(ticket(1, size=50), NOW)
    with pytest.raises(Overloaded, match="50 bytes of calls are waiting"):
        under_test.offer(ticket(2, size=1), NOW)


def test_a_list_that_cannot_fit_is_refused_as_a_whole() -> None:
    under_test = dispatcher(calls=4)
    under_test.offer(ticket(1), NOW)
    with pytest.raises(Overloaded, match="1 calls are waiting, and 4 more do not fit under 4"):
        under_test.offer_list([ticket(number) for number in range(2, 6)], NOW)
    assert under_test.statistics().waiting_calls == 1
    assert under_test.offer_list([ticket(number) for number in range(2, 5)], NOW) == [None] * 3


def test_a_list_goes_where_there_is_room_and_only_the_rest_has_to_fit() -> None:
    under_test = dispatcher(calls=1)
    under_test.join(ReplicaId(1), ROOM)
    with pytest.raises(Overloaded, match="2 more do not fit under 1"):
        under_test.offer_list([ticket(number) for number in range(4)], NOW)
    assert under_test.offer_list([ticket(number) for number in range(3)], NOW) == [1, 1, None]


def test_a_list_of_too_many_bytes_is_refused_as_a_whole_unless_it_is_alone() -> None:
    under_test = dispatcher(size=10)
    under_test.offer(ticket(1, size=4), NOW)
    with pytest.raises(Overloaded, match="4 bytes of calls are waiting"):
        under_test.offer_list([ticket(2, size=4), ticket(3, size=4)], NOW)
    assert under_test.statistics().waiting_bytes == 4
    under_test.withdraw(CallId(1))
    assert under_test.offer_list([ticket(2, size=40), ticket(3, size=40)], NOW) == [None, None]


def test_what_goes_together_counts_as_often_as_it_has_calls() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), {Lane.THREADS: 8})
    first, second, third = (Ticket(CallId(number), Lane.THREADS, 1, calls=6) for number in (1, 2, 3))
    assert under_test.offer(first, NOW) == ReplicaId(1)
    assert under_test.offer(second, NOW) == ReplicaId(1)  # there is room for one of it
    assert under_test.offer(third, NOW) is None
    statistics = under_test.statistics()
    assert (statistics.waiting_calls, statistics.running[ReplicaId(1)]) == (6, 12)
    with pytest.raises(Overloaded, match="6 calls are waiting"):
        under_test.offer(Ticket(CallId(4), Lane.THREADS, 1, calls=5), NOW)
    under_test.release(CallId(1), NOW)
    assert ids(under_test.assign(NOW)) == [3]


def test_a_group_is_run_by_its_own_replicas_and_the_rest_by_any() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), {Lane.THREADS: 1}, "fast")
    under_test.join(ReplicaId(2), {Lane.THREADS: 1}, "slow")
    slow = [ticket(number)._replace(group="slow") for number in (1, 2)]
    assert [under_test.offer(each, NOW) for each in slow] == [ReplicaId(2), None]
    assert under_test.offer(ticket(3), NOW) == ReplicaId(1)
    under_test.release(CallId(3), NOW)
    assert under_test.assign(NOW) == []  # the fast one is idle, and not asked


def test_a_replica_may_change_what_it_takes() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), {Lane.THREADS: 1})
    for number in (1, 2, 3):
        under_test.offer(ticket(number), NOW)
    under_test.resize(ReplicaId(1), Lane.THREADS, 2)
    assert ids(under_test.assign(NOW)) == [2]
    under_test.resize(ReplicaId(1), Lane.THREADS, 1)
    under_test.release(CallId(1), NOW)
    assert under_test.assign(NOW) == []


def busy(*, max_queued_wait: float = 0.0) -> Dispatcher:
    """A lane whose one thread takes 0.1 s for a call, as sixteen calls have shown; five more wait."""
    under_test = Dispatcher(max_queued_calls=100, max_queued_bytes=1000, max_queued_wait=max_queued_wait)
    under_test.join(ReplicaId(1), {Lane.THREADS: 1})
    for number in range(21):
        under_test.offer(ticket(number), 0.0)
    for number in range(16):
        under_test.assign(number / 10)
        under_test.release(CallId(number), (number + 1) / 10)
    return under_test


def test_what_would_wait_too_long_is_refused_with_a_hint() -> None:
    with pytest.raises(Overloaded, match=r"would wait for 0\.5 s, and 0\.2 s is the most") as refused:
        busy(max_queued_wait=0.2).offer(ticket(50), 1.6)
    assert refused.value.retry_after == pytest.approx(0.3, abs=0.05)
    assert busy(max_queued_wait=0.9).offer(ticket(50), 1.6) is None


def test_a_list_is_refused_if_its_first_call_that_waits_would_be_too_late() -> None:
    late = [ticket(number)._replace(deadline=1.9) for number in (50, 51)]
    for tickets, slo, said in ((late, None, "its deadline is sooner"), (late[:1], 0.3, "its method promises 0.3 s")):
        under_test = busy()
        with pytest.raises(Overloaded, match=said):
            under_test.offer_list(tickets, 1.6, slo=slo)
        assert under_test.statistics().waiting_calls == 5
    assert busy().offer_list([ticket(number) for number in range(50, 90)], 1.6, slo=0.8) == [None] * 40


def test_a_full_queue_says_when_to_come_back_also_where_too_few_wait_for_a_rate() -> None:
    under_test = dispatcher(calls=1)
    under_test.join(ReplicaId(1), {Lane.THREADS: 1})
    for number in range(8):
        under_test.offer(ticket(number), number / 2)
        under_test.release(CallId(number), number / 2 + 0.25)
    under_test.offer(ticket(8), 5.0)
    under_test.offer(ticket(9), 5.0)
    with pytest.raises(Overloaded, match="1 calls are waiting") as refused:
        under_test.offer(ticket(10), 5.0)
    assert refused.value.retry_after == pytest.approx(0.25)


def test_what_cannot_keep_its_objective_or_deadline_is_refused() -> None:
    with pytest.raises(Overloaded, match=r"answered after 0\.60 s, and its method promises 0\.3 s"):
        busy().offer(ticket(50), 1.6, slo=0.3)
    assert busy().offer(ticket(50), 1.6, slo=0.8) is None
    with pytest.raises(Overloaded, match="its deadline is sooner"):
        busy().offer(ticket(50)._replace(deadline=1.9), 1.6)
    assert busy().offer(ticket(50)._replace(deadline=2.5), 1.6) is None


def test_a_new_caller_is_not_refused_for_what_another_one_queued() -> None:
    under_test = busy(max_queued_wait=0.3)
    assert under_test.offer(ticket(50)._replace(caller="new"), 1.6) is None


def test_calls_that_come_together_are_shared_out_in_one_piece_each() -> None:
    under_test = dispatcher()
    for name in (1, 2):
        under_test.join(ReplicaId(name), {Lane.THREADS: 4})
    some = [CallId(number) for number in range(10)]
    assert under_test.run_at_once(some[:5], Lane.THREADS, "", "a", NOW) == [(1, 3), (2, 2)]
    assert under_test.run_at_once(some[5:], Lane.THREADS, "", "a", NOW) == [(2, 2), (1, 1)]
    assert under_test.run_at_once(some[9:], Lane.THREADS, "", "a", NOW) == []  # there is no room
    assert under_test.offer(ticket(20), NOW) is None
    under_test.release_all([*some[:3], CallId(99)], NOW)
    assert under_test.run_at_once(some[9:], Lane.THREADS, "", "a", NOW) == []  # one waits, and goes first
    assert ids(under_test.assign(NOW)) == [20]


def test_calls_that_ran_at_once_count_for_their_caller() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), {Lane.THREADS: 2})
    under_test.run_at_once([CallId(1), CallId(2)], Lane.THREADS, "", "greedy", NOW)
    for number, caller in ((3, "greedy"), (4, "modest")):
        under_test.offer(ticket(number)._replace(caller=caller), NOW)
    under_test.release(CallId(1), NOW)
    assert ids(under_test.assign(NOW)) == [4]


class AnyOrder(RuleBasedStateMachine):
    """No call is lost or sent twice, no lane holds more than its room, and nothing waits while there is room."""

    calls = Bundle("calls")
    replicas = Bundle("replicas")

    def __init__(self) -> None:
        super().__init__()
        self.under_test = dispatcher(calls=6, size=30)
        self.last = 0
        self.waiting: dict[int, Ticket] = {}
        self.running: dict[int, tuple[int, Lane]] = {}
        self.tickets: dict[int, Ticket] = {}
        self.again: set[int] = set()
        self.alone: set[int] = set()
        self.rooms: dict[int, dict[Lane, int]] = {}
        self.groups: dict[int, str] = {}
        self.now = NOW

    @rule(
        target=calls,
        lane=st.sampled_from(LANES),
        size=st.integers(0, 20),
        caller=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        group=st.sampled_from(["", "g"]),
        calls=st.sampled_from([1, 1, 1, 2, 4]),
    )
    def offer(self, lane: Lane, size: int, caller: str, priority: int, group: str, calls: int) -> object:
        self.last += 1
        new = Ticket(CallId(self.last), lane, size, caller, priority, None, group, calls=calls)
        try:
            replica = self.under_test.offer(new, self.now)
        except Overloaded:
            over = (
                sum(t.calls for t in self.waiting.values()) + calls > 6
                or sum(t.size for t in self.waiting.values()) + size > 30
            )
            assert over
            return multiple()
        self.tickets[self.last] = new
        if replica is None:
            self.waiting[self.last] = new
        else:
            queued = [t for t in self.waiting.values() if t.id not in self.alone]
            assert not any((t.lane, t.group) == (lane, group) for t in queued)
            assert not group or self.groups[replica] == group
            self.running[self.last] = (replica, lane)
        return new

    @rule(
        target=calls,
        count=st.integers(1, 6),
        lane=st.sampled_from(LANES),
        caller=st.sampled_from("abc"),
        group=st.sampled_from(["", "g"]),
    )
    def run_at_once(self, count: int, lane: Lane, caller: str, group: str) -> object:
        numbers = [CallId(self.last + place) for place in range(1, count + 1)]
        self.last += count
        queued = [t for t in self.waiting.values() if t.id not in self.alone and (t.lane, t.group) == (lane, group)]
        free = {
            name: room[lane] - self.load(name, lane)
            for name, room in self.rooms.items()
            if (not group or self.groups[name] == group) and not self.occupied(name)
        }
        placed = self.under_test.run_at_once(numbers, lane, group, caller, self.now)
        taken = [where for where, size in placed for _ in range(size)]
        # As many as there is room for; nobody who waits is overtaken.
        assert len(taken) == (0 if queued else min(count, sum(max(room, 0) for room in free.values())))
        assert all(taken.count(where) <= free[where] for where in taken)
        new: list[Ticket] = []
        for number, where in zip(numbers, taken, strict=False):
            self.tickets[number] = Ticket(number, lane, 0, caller, 0, None, group)
            self.running[number] = (where, lane)
            new.append(self.tickets[number])
        return multiple(*new)

    @rule(some=st.lists(calls, max_size=5, unique_by=lambda ticket: ticket.id))
    def release_all(self, some: list[Ticket]) -> None:
        self.under_test.release_all([call.id for call in some], self.now)
        for call in some:
            self.running.pop(call.id, None)

    @rule(call=calls)
    def withdraw(self, call: Ticket) -> None:
        where = self.under_test.withdraw(call.id)
        if call.id in self.waiting:
            assert where is None
            del self.waiting[call.id]
        else:
            assert where == self.running.get(call.id, (None, None))[0]

    @rule(call=calls)
    def release(self, call: Ticket) -> None:
        self.under_test.release(call.id, self.now)
        self.running.pop(call.id, None)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=replicas, room=st.integers(0, 2), group=st.sampled_from(["", "g"]))
    def join(self, room: int, group: str) -> int:
        self.last += 1
        self.rooms[self.last] = dict.fromkeys(LANES, room)
        self.groups[self.last] = group
        self.under_test.join(ReplicaId(self.last), self.rooms[self.last], group)
        return self.last

    @rule(replica=replicas, lane=st.sampled_from(LANES), room=st.integers(1, 4))
    def grow(self, replica: int, lane: Lane, room: int) -> None:
        if replica not in self.rooms:
            self.under_test.resize(ReplicaId(replica), lane, room)
            return
        self.rooms[replica][lane] = max(room, self.rooms[replica][lane])
        self.under_test.resize(ReplicaId(replica), lane, self.rooms[replica][lane])

    @rule(replica=replicas)
    def retire(self, replica: int) -> None:
        self.under_test.retire(ReplicaId(replica))
        self.rooms.pop(replica, None)  # it takes nothing any more

    @rule(replica=consumes(replicas), alone=st.booleans())
    def leave(self, replica: int, alone: bool) -> None:
        lost = self.under_test.leave(ReplicaId(replica))
        assert sorted(lost) == sorted(call for call, (where, _) in self.running.items() if where == replica)
        # What ran there waits again.
        for call in lost:
            del self.running[call]
            self.waiting[call] = self.tickets[call]
            self.again.add(call)
            self.under_test.restore(self.tickets[call], self.now, alone=alone)
            if alone:
                self.alone.add(call)
            else:
                self.alone.discard(call)
        self.rooms.pop(replica, None)

    @rule()
    def assign(self) -> None:
        for assignment in self.under_test.assign(self.now):
            gone = self.waiting.pop(assignment.call)
            assert not gone.group or self.groups[assignment.replica] == gone.group
            alike = (gone.lane, gone.caller, gone.priority, gone.group)
            same = [
                t
                for t in self.waiting.values()
                if t.id not in self.alone and (t.lane, t.caller, t.priority, t.group) == alike
            ]
            # One caller's calls of a kind keep their order; those that have been out before go first.
            first = all(t.id > gone.id and t.id not in self.again for t in same)
            assert first or gone.id in self.again
            self.running[assignment.call] = (assignment.replica, gone.lane)
        for waiting in self.waiting.values():
            for name, room in self.rooms.items():
                if (not waiting.group or self.groups[name] == waiting.group) and not self.occupied(name):
                    full = self.load(name, waiting.lane) >= room[waiting.lane]
                    busy = any(where == name for where, _ in self.running.values())
                    assert full or (busy and waiting.id in self.alone)

    def occupied(self, replica: int) -> bool:
        """A call is there that is to be alone."""
        return any(where == replica and call in self.alone for call, (where, _) in self.running.items())

    @invariant()
    def what_is_to_be_alone_is(self) -> None:
        for call, (where, _) in self.running.items():
            if call in self.alone:
                assert [other for other, (place, _) in self.running.items() if place == where] == [call]

    def load(self, replica: int, lane: Lane) -> int:
        return sum(self.tickets[call].calls for call, place in self.running.items() if place == (replica, lane))

    @invariant()
    def nothing_is_over_its_bound(self) -> None:
        for name, room in self.rooms.items():
            for lane in LANES:
                counts = [self.tickets[call].calls for call, place in self.running.items() if place == (name, lane)]
                # What goes together goes where there is room for one: the last to go may be over the bound.
                assert not counts or sum(counts) < room[lane] + max(counts)

    @invariant()
    def the_counters_are_true(self) -> None:
        statistics = self.under_test.statistics()
        assert statistics.waiting_calls == sum(t.calls for t in self.waiting.values())
        assert statistics.waiting_bytes == sum(t.size for t in self.waiting.values())
        assert sum(statistics.running.values()) == sum(self.tickets[call].calls for call in self.running)
        assert sum(lane.waiting for lane in statistics.lanes) == sum(
            t.calls for t in self.waiting.values() if t.id not in self.alone
        )


TestAnyOrder = AnyOrder.TestCase
