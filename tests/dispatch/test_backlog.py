"""Calls that wait: where they do, and how many they are."""

from __future__ import annotations

from runner.dispatch.backlog import Backlog
from runner.dispatch.fair_queue import CallId, Shares, Ticket
from runner.signature.published import Lane
from runner.statistics import LaneStatistics

NOW = 100.0


def ticket(number: int, lane: Lane = Lane.THREADS, *, size: int = 1, group: str = "", calls: int = 1) -> Ticket:
    return Ticket(CallId(number), lane, size, group=group, calls=calls)


def backlog(*tickets: Ticket) -> Backlog:
    """Make one in which calls wait that came at `NOW`, `NOW + 1`, and so on."""
    under_test = Backlog(Shares(), aging=1.0)
    for place, each in enumerate(tickets):
        under_test.push(each, under_test.queue(each), NOW + place)
    return under_test


def test_there_is_a_queue_for_each_lane_and_group() -> None:
    calls = [ticket(1), ticket(2, Lane.STREAMS), ticket(3, group="g"), ticket(4)]
    under_test = backlog(*calls)
    first, *others, last = [under_test.queue(each) for each in calls]
    assert first is last
    assert [len(queue) for queue in (first, *others)] == [2, 1, 1]
    assert [under_test.pop(queue, NOW).id for queue in (first, first, *others)] == [1, 4, 2, 3]
    assert (under_test.calls, under_test.size) == (0, 0)


def test_it_counts_calls_and_bytes() -> None:
    under_test = backlog(ticket(1, size=10), ticket(2, size=5, calls=3))
    under_test.push_alone(ticket(3, size=2))
    assert (under_test.calls, under_test.size) == (5, 17)
    assert under_test.withdraw(CallId(2))
    assert under_test.withdraw(CallId(3))
    assert not under_test.withdraw(CallId(3))
    assert (under_test.calls, under_test.size) == (1, 10)
    assert under_test.pop(under_test.queue(ticket(1)), NOW).id == 1
    assert not under_test.withdraw(CallId(1))
    assert (under_test.calls, under_test.size) == (0, 0)


def test_those_that_were_out_go_first() -> None:
    under_test = backlog(ticket(1))
    again = ticket(2)
    under_test.push(again, under_test.queue(again), NOW, again=True)
    for number in (3, 4):
        under_test.push_alone(ticket(number))
    assert under_test.pop(under_test.queue(again), NOW).id == 2
    assert [each.id for each in under_test.alone()] == [4, 3]


def test_what_waits_to_be_alone_is_in_no_lane() -> None:
    under_test = backlog(ticket(1), ticket(2, group="g", calls=2))
    under_test.push_alone(ticket(3, Lane.STREAMS))
    assert under_test.waits(Lane.THREADS)
    assert not under_test.waits(Lane.STREAMS)
    assert under_test.lanes(NOW + 5) == (LaneStatistics(Lane.THREADS, 3, 5.0),)
