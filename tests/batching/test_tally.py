"""What is counted of batches, and what is told of the last one."""

from __future__ import annotations

from runner.batching.key import shared_key
from runner.batching.tally import BatchRan, Count


def ran(size: int, *, reason: str = "idle", key: object = None) -> BatchRan:
    return BatchRan("embed", reason, size, size * 2.0, size / 1024, 0.25, 0.125, 1, key)


def test_batches_are_added_up() -> None:
    count = Count()
    for size, reason in ((1, "idle"), (5, "full"), (8, "full"), (9, "turn")):
        count.add(ran(size, reason=reason))
    assert (count.batches, count.entries, count.cost, count.seconds, count.device_seconds) == (4, 23, 46.0, 1.0, 0.5)
    assert (count.longest_wait, count.oom_splits) == (9 / 1024, 4)
    assert count.reasons == {"idle": 1, "full": 2, "turn": 1}
    assert count.sizes == {1: 1, 8: 2, 16: 1}
    assert count.latest is not None
    assert count.latest.size == 9


def test_a_record_says_why_and_with_what_and_tells_no_values() -> None:
    secret = (("system", shared_key("a caller's own words")),)
    record = ran(3, reason="delay", key=secret).record()
    assert (record.reason, record.size, record.cost, record.waited) == ("delay", 3, 6.0, 3 / 1024)
    assert (record.seconds, record.device_seconds) == (0.25, 0.125)
    assert len(record.key) == 8
    assert int(record.key, 16) >= 0
    assert "words" not in repr(record)
    assert ran(5, key=secret).record().key == record.key
    assert ran(3, key=(("system", shared_key("other words")),)).record().key != record.key
