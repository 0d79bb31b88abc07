"""Admission and order, as tables of events and as a state machine that does anything in any order."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from runner.dispatch.dispatcher import Assignment, CallId, Dispatcher, ReplicaId, Ticket
from runner.errors import Overloaded
from runner.signature.published import Lane

LANES = (Lane.THREADS, Lane.STREAMS, Lane.COROUTINES)
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
        under_test.offer(ticket(number))
    assert under_test.assign() == []
    under_test.join(ReplicaId(1), ROOM)
    assert ids(under_test.assign()) == [3, 1]
    assert under_test.assign() == []


def test_room_comes_back_with_release_only() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    assert [under_test.offer(ticket(number)) for number in (1, 2, 3)] == [ReplicaId(1), ReplicaId(1), None]
    assert under_test.withdraw(CallId(1), Lane.THREADS) == ReplicaId(1)
    assert under_test.assign() == []
    under_test.release(CallId(1))
    assert ids(under_test.assign()) == [3]


def test_a_full_lane_does_not_hold_up_another() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    assert [under_test.offer(ticket(number, Lane.STREAMS)) for number in (1, 2)] == [ReplicaId(1), None]
    assert under_test.offer(ticket(3, Lane.COROUTINES)) == ReplicaId(1)


def test_calls_go_to_the_replica_with_the_least_work() -> None:
    under_test = dispatcher()
    for name in (1, 2):
        under_test.join(ReplicaId(name), ROOM)
    assert [under_test.offer(ticket(number)) for number in (1, 2, 3)] == [ReplicaId(1), ReplicaId(2), ReplicaId(1)]


def test_a_withdrawn_call_is_never_sent() -> None:
    under_test = dispatcher()
    under_test.offer(ticket(1))
    assert under_test.withdraw(CallId(1), Lane.THREADS) is None
    under_test.join(ReplicaId(1), ROOM)
    assert under_test.assign() == []
    assert under_test.statistics().waiting_calls == 0


def test_a_lost_replica_names_its_calls_and_leaves_the_waiting_ones() -> None:
    under_test = dispatcher()
    under_test.join(ReplicaId(1), ROOM)
    for number in (1, 2, 3):
        under_test.offer(ticket(number))
    assert under_test.leave(ReplicaId(1)) == [1, 2]
    under_test.release(CallId(1))  # the worker's last word may still be on its way
    under_test.join(ReplicaId(2), ROOM)
    assert ids(under_test.assign()) == [3]


def test_more_calls_than_the_bound_are_refused_and_change_nothing() -> None:
    under_test = dispatcher(calls=2)
    under_test.offer(ticket(1))
    under_test.offer(ticket(2))
    with pytest.raises(Overloaded, match="2 calls are waiting"):
        under_test.offer(ticket(3))
    assert under_test.statistics().waiting_calls == 2


def test_more_bytes_than_the_bound_are_refused_but_one_large_call_is_taken() -> None:
    under_test = dispatcher(size=10)
    under_test.offer(ticket(1, size=50))
    with pytest.raises(Overloaded, match="50 bytes of calls are waiting"):
        under_test.offer(ticket(2, size=1))


def test_a_list_that_cannot_fit_is_refused_as_a_whole() -> None:
    under_test = dispatcher(calls=4)
    under_test.offer(ticket(1))
    with pytest.raises(Overloaded, match="1 calls are waiting, and 4 more do not fit under 4"):
        under_test.offer_list([ticket(number) for number in range(2, 6)])
    assert under_test.statistics().waiting_calls == 1
    assert under_test.offer_list([ticket(number) for number in range(2, 5)]) == [None] * 3


def test_a_list_goes_where_there_is_room_and_only_the_rest_has_to_fit() -> None:
    under_test = dispatcher(calls=1)
    under_test.join(ReplicaId(1), ROOM)
    with pytest.raises(Overloaded, match="2 more do not fit under 1"):
        under_test.offer_list([ticket(number) for number in range(4)])
    assert under_test.offer_list([ticket(number) for number in range(3)]) == [1, 1, None]


def test_a_list_of_too_many_bytes_is_refused_as_a_whole_unless_it_is_alone() -> None:
    under_test = dispatcher(size=10)
    under_test.offer(ticket(1, size=4))
    with pytest.raises(Overloaded, match="4 bytes of calls are waiting"):
        under_test.offer_list([ticket(2, size=4), ticket(3, size=4)])
    assert under_test.statistics().waiting_bytes == 4
    under_test.withdraw(CallId(1), Lane.THREADS)
    assert under_test.offer_list([ticket(2, size=40), ticket(3, size=40)]) == [None, None]


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
        self.rooms: dict[int, dict[Lane, int]] = {}

    @rule(target=calls, lane=st.sampled_from(LANES), size=st.integers(0, 20))
    def offer(self, lane: Lane, size: int) -> object:
        self.last += 1
        new = ticket(self.last, lane, size)
        try:
            replica = self.under_test.offer(new)
        except Overloaded:
            over = len(self.waiting) >= 6 or sum(t.size for t in self.waiting.values()) + size > 30
            assert over
            return multiple()
        if replica is None:
            self.waiting[self.last] = new
        else:
            assert not any(t.lane is lane for t in self.waiting.values())
            self.running[self.last] = (replica, lane)
        return new

    @rule(call=calls)
    def withdraw(self, call: Ticket) -> None:
        where = self.under_test.withdraw(call.id, call.lane)
        if call.id in self.waiting:
            assert where is None
            del self.waiting[call.id]
        else:
            assert where == self.running.get(call.id, (None, None))[0]

    @rule(call=calls)
    def release(self, call: Ticket) -> None:
        self.under_test.release(call.id)
        self.running.pop(call.id, None)

    @rule(target=replicas, room=st.integers(0, 2))
    def join(self, room: int) -> int:
        self.last += 1
        self.rooms[self.last] = dict.fromkeys(LANES, room)
        self.under_test.join(ReplicaId(self.last), self.rooms[self.last])
        return self.last

    @rule(replica=consumes(replicas))
    def leave(self, replica: int) -> None:
        lost = self.under_test.leave(ReplicaId(replica))
        assert sorted(lost) == sorted(call for call, (where, _) in self.running.items() if where == replica)
        for call in lost:
            del self.running[call]
        del self.rooms[replica]

    @rule()
    def assign(self) -> None:
        for assignment in self.under_test.assign():
            gone = self.waiting.pop(assignment.call)
            older = [t.id for t in self.waiting.values() if t.lane is gone.lane and t.id < gone.id]
            assert not older
            self.running[assignment.call] = (assignment.replica, gone.lane)
        for lane in {t.lane for t in self.waiting.values()}:
            assert all(self.load(name, lane) >= room[lane] for name, room in self.rooms.items())

    def load(self, replica: int, lane: Lane) -> int:
        return sum(place == (replica, lane) for place in self.running.values())

    @invariant()
    def nothing_is_over_its_bound(self) -> None:
        for name, room in self.rooms.items():
            assert all(self.load(name, lane) <= room[lane] for lane in LANES)

    @invariant()
    def the_counters_are_true(self) -> None:
        statistics = self.under_test.statistics()
        assert statistics.waiting_calls == len(self.waiting)
        assert statistics.waiting_bytes == sum(t.size for t in self.waiting.values())
        assert sum(statistics.running.values()) == len(self.running)


TestAnyOrder = AnyOrder.TestCase
