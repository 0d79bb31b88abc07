"""A caller who floods gets no more than a fair share: shown on virtual time, with batches as a worker runs them."""

from __future__ import annotations

import heapq
import random

from runner.dispatch.dispatcher import CallId, Dispatcher, ReplicaId, Ticket
from runner.signature.published import Lane

BATCH = 8
SECONDS = 0.02
LANE = Lane.of_batches("predict")


def latencies(*, flood: int) -> list[float]:
    """Return the latencies of a caller with one call at a time, beside another with `flood` calls in flight.

    The worker has credit for two batches, and runs whatever it has as one batch of `BATCH` at most, in order.
    """
    dice = random.Random(7)
    under_test = Dispatcher(max_queued_calls=10_000, max_queued_bytes=10**9)
    under_test.join(ReplicaId(1), {LANE: 2 * BATCH})
    events: list[tuple[float, int, str]] = []  # (instant, number, what)
    numbers = iter(range(10**9))
    owner: dict[CallId, tuple[str, float]] = {}
    at_worker: list[CallId] = []
    running: list[CallId] = []
    seen: list[float] = []

    def offer(caller: str, now: float) -> None:
        call = CallId(next(numbers))
        owner[call] = (caller, now)
        if under_test.offer(Ticket(call, LANE, 1, caller), now) is not None:
            at_worker.append(call)

    def run(now: float) -> None:
        if at_worker and not running:
            running.extend(at_worker[:BATCH])
            del at_worker[:BATCH]
            heapq.heappush(events, (now + SECONDS, next(numbers), "ran"))

    for _ in range(flood):
        offer("flood", 0.0)
    heapq.heappush(events, (dice.random() * SECONDS, next(numbers), "other"))
    while len(seen) < 300:
        run(events[0][0] if not running else 0.0)
        now, _, what = heapq.heappop(events)
        if what == "other":
            offer("other", now)
        else:
            done = running.copy()
            running.clear()
            for call in done:
                caller, since = owner.pop(call)
                under_test.release(call, now)
                if caller == "flood":
                    offer("flood", now)
                else:
                    seen.append(now - since)
                    heapq.heappush(events, (now + dice.random() * SECONDS, next(numbers), "other"))
            at_worker.extend(assignment.call for assignment in under_test.assign(now))
        run(now)
    return seen


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def test_a_second_caller_waits_for_a_few_batches_however_long_the_queue() -> None:
    alone = p99(latencies(flood=0))
    assert alone < 1.01 * SECONDS
    for flood in (50, 500, 5000):
        assert p99(latencies(flood=flood)) < 4.5 * alone
