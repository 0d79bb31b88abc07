"""Room and work of replicas: who gets the next call, how several are shared out, and what comes back."""

from __future__ import annotations

import pytest

from runner.dispatch.fair_queue import CallId, Ticket
from runner.dispatch.rooms import ReplicaId, Rooms
from runner.signature.published import Lane

NOW = 100.0
ROOM = {Lane.THREADS: 2, Lane.STREAMS: 1}
ONE, TWO = ReplicaId(1), ReplicaId(2)


def rooms(*groups: str) -> Rooms:
    """Make rooms of a replica in each group, numbered from 1."""
    under_test = Rooms()
    for number, group in enumerate(groups, 1):
        under_test.join(ReplicaId(number), ROOM, group)
    return under_test


def ticket(number: int, lane: Lane = Lane.THREADS, calls: int = 1, group: str = "") -> Ticket:
    return Ticket(CallId(number), lane, 1, group=group, calls=calls)


def ids(*numbers: int) -> list[CallId]:
    return [CallId(number) for number in numbers]


def test_the_least_busy_one_in_the_lane_is_next() -> None:
    under_test = rooms("", "")
    assert under_test.least_busy(Lane.THREADS, "") == ONE
    under_test.start(ticket(1, Lane.STREAMS), ONE, NOW)  # another lane
    assert under_test.least_busy(Lane.THREADS, "") == ONE
    under_test.start(ticket(2), ONE, NOW)
    assert under_test.least_busy(Lane.THREADS, "") == TWO
    for number in (3, 4):
        under_test.start(ticket(number), TWO, NOW)
    assert under_test.least_busy(Lane.THREADS, "") == ONE
    under_test.start(ticket(5), ONE, NOW)
    assert under_test.least_busy(Lane.THREADS, "") is None
    assert under_test.least_busy(Lane.COROUTINES, "") is None  # nobody has such a lane


def test_a_group_has_its_own_replicas() -> None:
    under_test = rooms("fast", "slow")
    assert under_test.least_busy(Lane.THREADS, "slow") == TWO
    assert under_test.without_work(Lane.THREADS, "slow") == TWO
    assert under_test.enough_for([ticket(number, group="slow") for number in range(3)]) == 2
    assert under_test.start_together(ids(1, 2, 3), Lane.THREADS, "slow", NOW) == [(TWO, 2)]
    assert under_test.start_together(ids(3), Lane.THREADS, "none", NOW) == []
    assert under_test.enough_for([ticket(number) for number in range(3)]) == 2


def test_the_idlest_one_has_the_fewest_calls_of_all_lanes() -> None:
    under_test = rooms()
    assert under_test.idlest() is None
    for name in (TWO, ONE):
        under_test.join(name, ROOM)
    assert under_test.idlest() == TWO  # of equal ones the first
    under_test.start(ticket(1, Lane.STREAMS), TWO, NOW)
    assert under_test.idlest() == ONE
    under_test.retire(ONE)
    assert under_test.idlest() == TWO
    under_test.leave(TWO)
    assert under_test.idlest() is None


@pytest.mark.parametrize(
    ("work", "count", "after"),
    [
        ((3, 0), 8, (6, 5)),
        ((9, 0, 0), 4, (9, 2, 2)),  # far above what the others come to
        ((0, 7), 8, (8, 7)),
        ((10, 0), 9, (10, 9)),  # one is full
    ],
)
def test_what_starts_together_makes_replicas_even(work: tuple[int, ...], count: int, after: tuple[int, ...]) -> None:
    under_test = Rooms()
    for name, calls in enumerate(work):
        under_test.join(ReplicaId(name), {Lane.THREADS: 10})
        for call in range(calls):
            under_test.start(ticket(100 * name + call), ReplicaId(name), NOW)
    under_test.start_together(ids(*range(1000, 1000 + count)), Lane.THREADS, "", NOW)
    assert sorted(under_test.work().values(), reverse=True) == list(after)


def test_what_has_ended_is_told_together_as_it_began() -> None:
    under_test = rooms("", "")
    under_test.start(ticket(1, Lane.STREAMS), ONE, NOW)
    under_test.start_together(ids(2, 3, 4), Lane.THREADS, "", NOW + 1)
    (first, ended), (second, others), (third, stream) = under_test.end_all(ids(2, 3, 4, 1, 99))
    assert (ended, others, stream) == (ids(2, 3), ids(4), ids(1))
    assert (first.replica, second.replica, third.replica) == (ONE, TWO, ONE)
    assert (first.since, third.since) == (NOW + 1, NOW)
    assert under_test.work() == {1: 0, 2: 0}
    assert under_test.end(CallId(2)) is None  # it was said before


def test_inputs_that_go_together_need_room_for_one_and_give_all_of_it_back() -> None:
    under_test = rooms("")
    assert under_test.enough_for([ticket(1, calls=6), ticket(2)]) == 1
    under_test.start(ticket(1, calls=6), ONE, NOW)
    assert under_test.work() == {1: 6}
    running = under_test.end(CallId(1))
    assert running is not None
    assert (running.replica, running.calls) == (ONE, 6)
    assert under_test.work() == {1: 0}
    under_test.start(ticket(2, calls=6), ONE, NOW)
    assert under_test.end_all(ids(2)) == [(running, ids(2))]
    assert under_test.work() == {1: 0}


def test_beside_a_call_that_is_to_be_alone_nothing_starts() -> None:
    under_test = rooms("")
    assert under_test.without_work(Lane.COROUTINES, "") is None
    under_test.start(ticket(1), ONE, NOW)
    assert under_test.without_work(Lane.THREADS, "") is None
    under_test.end(CallId(1))
    assert under_test.without_work(Lane.THREADS, "") == ONE
    under_test.start(ticket(2), ONE, NOW, alone=True)
    assert under_test.least_busy(Lane.THREADS, "") is None
    assert under_test.without_work(Lane.STREAMS, "") is None
    assert under_test.start_together(ids(3), Lane.THREADS, "", NOW) == []
    under_test.end(CallId(2))
    assert under_test.least_busy(Lane.THREADS, "") == ONE
    under_test.start(ticket(4), ONE, NOW, alone=True)
    under_test.end_all(ids(4))
    assert under_test.least_busy(Lane.THREADS, "") == ONE


def test_a_replica_that_leaves_names_its_calls() -> None:
    under_test = rooms("", "")
    under_test.start_together(ids(1, 2, 3), Lane.THREADS, "", NOW)
    assert [under_test.replica_of(call) for call in ids(1, 3, 4)] == [ONE, TWO, None]
    assert under_test.leave(ONE) == ids(1, 2)
    assert under_test.leave(ONE) == []
    assert under_test.work() == {2: 1}
    assert under_test.end(CallId(1)) is None


def test_a_replica_may_take_more_or_less() -> None:
    under_test = rooms("")
    under_test.resize(ONE, Lane.THREADS, 3)
    assert under_test.start_together(ids(1, 2, 3, 4), Lane.THREADS, "", NOW) == [(ONE, 3)]
    under_test.resize(ONE, Lane.THREADS, 0)  # one call at least, or what waits would do so for ever
    under_test.end_all(ids(1, 2))
    assert under_test.least_busy(Lane.THREADS, "") is None
    under_test.end(CallId(3))
    assert under_test.least_busy(Lane.THREADS, "") == ONE
    under_test.resize(TWO, Lane.THREADS, 3)  # nobody
    under_test.resize(ONE, Lane.COROUTINES, 3)  # a lane that it has not
    assert under_test.least_busy(Lane.COROUTINES, "") is None
