"""Which entries form the next batch: tables of events, and what is decided."""

from __future__ import annotations

import random

import pytest

from runner.batching.entries import Batch, Entry, Limits, Reason, Room
from runner.batching.policy import Policy

PLAIN = Limits(max_size=4)
HOLDS = Limits(max_size=64, holds=True)


def policy(*limits: Limits) -> Policy:
    made = Policy()
    for each in limits:
        made.add(each)
    return made


def offer(under_test: Policy, *ids: int, now: float = 0.0, **fields: object) -> None:
    for number in ids:
        under_test.offer(Entry(**{"id": number, "point": 0, "key": None, **fields}), now)  # pyright: ignore


def taken(under_test: Policy, now: float = 0.0, room: Room = Room.IDLE) -> tuple[tuple[int, ...], Reason] | None:
    batches = under_test.decide(now, room).batches
    return (batches[0].entries, batches[0].reason) if batches else None


def batch(under_test: Policy, now: float = 0.0, room: Room = Room.IDLE) -> Batch:
    (found,) = under_test.decide(now, room).batches
    return found


def test_an_idle_device_gets_what_is_there() -> None:
    under_test = policy(PLAIN)
    assert taken(under_test) is None
    offer(under_test, 1, 2)
    assert taken(under_test) == ((1, 2), Reason.IDLE)
    assert taken(under_test) is None


def test_a_busy_device_gets_full_batches_only() -> None:
    under_test = policy(PLAIN)
    offer(under_test, 1, 2, 3)
    assert taken(under_test, room=Room.NEXT) is None
    offer(under_test, 4, 5)
    assert taken(under_test, room=Room.NEXT) == ((1, 2, 3, 4), Reason.FULL)
    assert taken(under_test, room=Room.NEXT) is None
    assert taken(under_test, room=Room.NONE) is None
    assert taken(under_test) == ((5,), Reason.IDLE)


def test_cost_bounds_a_batch_and_one_above_it_runs_alone() -> None:
    under_test = policy(Limits(max_size=8, max_cost=10.0))
    for number, cost in enumerate((4.0, 5.0, 3.0, 20.0, 1.0)):
        offer(under_test, number, cost=cost)
    found = [taken(under_test) for _ in range(4)]
    assert found == [((0, 1), Reason.FULL), ((2,), Reason.FULL), ((3,), Reason.FULL), ((4,), Reason.IDLE)]


def test_what_goes_together_is_not_torn_apart_unless_it_is_divisible() -> None:
    under_test = policy(PLAIN)
    offer(under_test, 1, 2, size=3, cost=3.0)
    assert [taken(under_test), taken(under_test)] == [((1,), Reason.FULL), ((2,), Reason.IDLE)]
    offer(under_test, 3, 4, size=3, cost=3.0, divisible=True)
    found = batch(under_test)
    assert (found.entries, found.size, found.cost, found.last) == ((3, 4), 4, 4.0, 1)
    assert len(under_test) == 1
    found = batch(under_test)
    assert (found.entries, found.size, found.cost, found.last) == ((4,), 2, 2.0, 0)


def test_cost_bounds_what_is_taken_of_a_divisible_entry() -> None:
    under_test = policy(Limits(max_size=8, max_cost=10.0))
    offer(under_test, 1, cost=4.0)
    offer(under_test, 2, size=4, cost=10.0, divisible=True)
    found = batch(under_test)
    assert (found.entries, found.size, found.cost, found.last) == ((1, 2), 3, 9.0, 2)


def test_keys_and_points_never_mix_and_the_oldest_goes_first() -> None:
    under_test = policy(PLAIN, PLAIN)
    offer(under_test, 1, key="a", now=0.0)
    offer(under_test, 2, key="b", now=1.0)
    offer(under_test, 3, point=1, key="a", now=2.0)
    offer(under_test, 4, key="a", now=3.0)
    assert [taken(under_test, 4.0) for _ in range(3)] == [
        ((1, 4), Reason.IDLE),
        ((2,), Reason.IDLE),
        ((3,), Reason.IDLE),
    ]


def test_a_partial_batch_has_its_turn_before_full_ones_of_others() -> None:
    under_test = policy(PLAIN)
    offer(under_test, 1, key="rare", now=0.0)
    offer(under_test, 2, 3, 4, 5, key="often", now=1.0)
    assert taken(under_test, 2.0, Room.NEXT) == ((1,), Reason.TURN)
    assert taken(under_test, 2.0, Room.NEXT) == ((2, 3, 4, 5), Reason.FULL)


def test_a_step_of_streams_is_a_batch_by_itself_however_large_and_is_made_ready_ahead() -> None:
    under_test = policy(PLAIN, Limits(max_size=1, steps=True))
    offer(under_test, 1, now=0.0)
    offer(under_test, 2, point=1, key="stream", size=9, cost=9.0, now=1.0)
    assert taken(under_test, 2.0, Room.NEXT) == ((1,), Reason.TURN)
    found = batch(under_test, 2.0, Room.NEXT)
    assert (found.entries, found.reason, found.size, found.cost) == ((2,), Reason.STEP, 9, 9.0)


def test_priority_goes_first_until_the_others_have_aged() -> None:
    under_test = policy(Limits(max_size=2))
    offer(under_test, 1, 2, now=0.0)
    offer(under_test, 3, 4, now=1.5, priority=2)
    assert taken(under_test, 1.5) == ((3, 4), Reason.FULL)
    offer(under_test, 5, 6, now=2.5, priority=2)
    assert taken(under_test, 2.5) == ((1, 2), Reason.FULL)  # 2.5 s make up for two levels


def test_a_delay_holds_an_idle_device_for_company() -> None:
    under_test = policy(Limits(max_size=4, max_delay=0.01))
    offer(under_test, 1, now=1000.3)
    decision = under_test.decide(1000.3, Room.IDLE)
    assert (decision.batches, decision.wake_at) == ((), 1000.3 + 0.01)
    offer(under_test, 2, now=1000.305)
    assert taken(under_test, 1000.3 + 0.01) == ((1, 2), Reason.DELAY)
    offer(under_test, 3, 4, 5, 6, now=1001.0)
    assert taken(under_test, 1001.0) == ((3, 4, 5, 6), Reason.FULL)


def test_a_deadline_ends_the_delay_in_time() -> None:
    under_test = policy(Limits(max_size=4, max_delay=1.0))
    under_test.latency.update(0, 1.0, 0.2)
    offer(under_test, 1, now=0.0, deadline=0.5)
    assert under_test.decide(0.0, Room.IDLE).wake_at == pytest.approx(0.3)
    assert taken(under_test, 0.3) == ((1,), Reason.DEADLINE)


def test_what_is_late_is_never_run() -> None:
    under_test = policy(PLAIN)
    offer(under_test, 1, deadline=1.0)
    offer(under_test, 2, deadline=3.0)
    assert under_test.decide(0.5, Room.NONE).wake_at == 1.0
    decision = under_test.decide(1.0, Room.IDLE)
    assert (decision.expired, decision.batches[0].entries) == ((1,), (2,))
    assert not under_test.withdraw(1)


def test_who_left_is_never_run() -> None:
    under_test = policy(PLAIN)
    offer(under_test, 1, 2, 3)
    assert under_test.withdraw(2)
    assert not under_test.withdraw(2)
    assert taken(under_test) == ((1, 3), Reason.IDLE)
    assert len(under_test) == 0


def test_deadlines_of_entries_that_have_left_are_not_kept() -> None:
    under_test = policy(Limits(max_size=4))
    offer(under_test, 0, deadline=1.0)  # stays, and stands before those that follow
    for entry in range(1, 1000):
        offer(under_test, entry, deadline=3600.0)
        under_test.withdraw(entry)
    assert len(under_test._deadlines) < 100


def test_an_objective_caps_the_batch() -> None:
    under_test = policy(Limits(max_size=64, slo=0.1))
    for size in (1, 2, 4, 8, 16, 32, 64):
        under_test.latency.update(0, float(size), 0.01 * size)
    offer(under_test, *range(64), now=0.0)
    assert len(batch(under_test, 0.0).entries) == 10  # 0.1 s
    assert len(batch(under_test, 0.03).entries) == 7  # 0.07 s are left
    assert len(batch(under_test, 9.0).entries) == 5  # late already: half of the objective, not ever smaller batches


def test_a_batch_that_its_objective_caps_is_full() -> None:
    """So it is made ready while the device is busy, and tells how many calls a worker needs to have."""
    under_test = policy(Limits(max_size=64, slo=0.1))
    for size in (1, 2, 4, 8, 16, 32, 64):
        under_test.latency.update(0, float(size), 0.01 * size)
    offer(under_test, *range(14), now=0.0)
    assert taken(under_test, 0.0, Room.NEXT) == (tuple(range(10)), Reason.FULL)
    assert taken(under_test, 0.0, Room.NEXT) is None  # four more would fit in
    assert taken(under_test, 0.0) == ((10, 11, 12, 13), Reason.IDLE)


# The hold.


def test_the_next_batch_waits_for_the_members_of_the_last() -> None:
    under_test = policy(HOLDS)
    for member in (1, 2, 3):
        offer(under_test, member, member=member)
    first = batch(under_test)
    offer(under_test, 10, member=9)  # somebody new, while it runs
    assert taken(under_test, 0.004, Room.NEXT) is None
    under_test.finished(first, 0.004, 0.004)
    assert under_test.decide(0.004, Room.IDLE).wake_at == pytest.approx(0.008)
    offer(under_test, 11, member=1, now=0.0041)
    assert taken(under_test, 0.0041) is None
    under_test.ended(2)
    offer(under_test, 13, member=3, now=0.0043)
    assert taken(under_test, 0.0043) == ((10, 11, 13), Reason.IDLE)


def test_the_hold_ends_and_who_was_late_is_not_waited_for_again() -> None:
    under_test = policy(HOLDS)
    for member in (1, 2):
        offer(under_test, member, member=member)
    under_test.finished(batch(under_test), 0.01, 0.01)
    offer(under_test, 3, member=1, now=0.011)
    wake_at = under_test.decide(0.011, Room.IDLE).wake_at
    assert wake_at == pytest.approx(0.02)
    second = batch(under_test, wake_at)  # without the second member
    under_test.finished(second, 0.01, 0.03)
    offer(under_test, 4, member=1, now=0.031)
    third = batch(under_test, 0.031)
    assert third.entries == (4,)  # the other is not waited for
    under_test.finished(third, 0.01, 0.04)
    under_test.ended(1)
    offer(under_test, 5, member=2, now=0.5)
    assert taken(under_test, 0.5) == ((5,), Reason.IDLE)


def test_it_is_told_when_all_members_are_back() -> None:
    under_test = policy(HOLDS)
    offer(under_test, 1, member=1)
    offer(under_test, 2, member=2)
    offer(under_test, 3, member=3)
    assert not under_test.met  # nobody was waited for
    first = batch(under_test)
    offer(under_test, 4, member=4)
    assert not under_test.met
    under_test.finished(first, 1.0, 1.0)
    offer(under_test, 5, member=1, now=1.0)
    offer(under_test, 6, member=2, now=1.0)
    assert not under_test.met
    under_test.ended(3)
    assert under_test.met
    assert taken(under_test, 1.0) == ((4, 5, 6), Reason.IDLE)
    assert not under_test.met


def test_nobody_is_met_while_nothing_waits() -> None:
    under_test = policy(HOLDS)
    offer(under_test, 1, member=1)
    first = batch(under_test)
    under_test.ended(1)  # in the middle of it
    assert not under_test.met
    under_test.finished(first, 1.0, 1.0)
    assert not under_test.met


def test_a_full_batch_does_not_wait() -> None:
    under_test = policy(Limits(max_size=2, holds=True))
    for member in range(4):
        offer(under_test, member, member=member)
    first = batch(under_test)
    assert taken(under_test, 0.0, Room.NEXT) == ((2, 3), Reason.FULL)
    under_test.finished(first, 0.01, 0.01)


def test_a_step_of_another_kind_is_a_sign_of_life() -> None:
    under_test = policy(HOLDS, HOLDS)
    for member in (1, 2):
        offer(under_test, member, member=member)
    under_test.finished(batch(under_test), 1.0, 1.0)
    offer(under_test, 3, member=1, now=1.1)
    offer(under_test, 4, point=1, member=2, now=1.1)
    assert {taken(under_test, 1.1), taken(under_test, 1.1)} == {((3,), Reason.IDLE), ((4,), Reason.IDLE)}


def test_a_batch_that_was_not_run_holds_nobody() -> None:
    under_test = policy(HOLDS)
    offer(under_test, 1, member=1)
    under_test.dropped(batch(under_test), 0.1)
    offer(under_test, 2, member=2, now=0.1)
    assert taken(under_test, 0.1) == ((2,), Reason.IDLE)


@pytest.mark.parametrize("seed", range(5))
def test_streams_settle_in_one_batch(seed: int) -> None:
    """48 streams over a step of 4 ms, each back a little later than the last: no cohorts. Some leave, some join."""
    dice = random.Random(seed)
    under_test = policy(HOLDS)
    now, entry = 0.0, 0
    members = list(range(1, 49))
    arrivals = sorted((dice.uniform(0, 0.02), member) for member in members)  # they begin at different moments
    running: tuple[float, Batch] | None = None
    owner: dict[int, int] = {}
    sizes: list[int] = []
    wake_at: float | None = None
    while len(sizes) < 60:
        moments = [instant for instant, _ in arrivals[:1]]
        moments += [running[0]] if running else []
        moments += [wake_at] if wake_at is not None and not running else []
        now = max(now, min(moments))
        while arrivals and arrivals[0][0] <= now:
            _, member = arrivals.pop(0)
            entry += 1
            owner[entry] = member
            offer(under_test, entry, member=member, now=now)
        if running and running[0] <= now:
            done = running[1]
            running = None
            for number in done.entries:
                member = owner.pop(number)
                if len(sizes) == 30 and member % 12 == 0:
                    under_test.ended(member)  # leaves
                else:
                    arrivals.append((now + dice.uniform(0, 0.001), member))
            if len(sizes) == 40:
                arrivals += [(now + dice.uniform(0, 0.004), 100 + number) for number in range(4)]  # join
            arrivals.sort()
            under_test.finished(done, 0.004, now)
        if running is None:
            decision = under_test.decide(now, Room.IDLE)
            wake_at = decision.wake_at
            if decision.batches:
                running = (now + 0.004, decision.batches[0])
                sizes.append(len(decision.batches[0].entries))
    assert sizes[15:30] == [48] * 15
    assert sizes[-10:] == [48] * 10  # four left, four joined
