from __future__ import annotations

from runner.http2.allowance import Allowance


def spend(allowance: Allowance, now: float) -> int:
    """How often it may happen at an instant."""
    count = 0
    while allowance.spend(now):
        count += 1
    return count


def test_a_burst_and_a_rate():
    allowance = Allowance(10, 2.0, 100.0)
    assert spend(allowance, 100.0) == 10
    assert spend(allowance, 101.0) == 2
    assert spend(allowance, 101.4) == 0
    assert spend(allowance, 103.0) == 4
    assert spend(allowance, 1000.0) == 10


def test_work_earns():
    allowance = Allowance(10, 0.0, 0.0)
    assert spend(allowance, 0.0) == 10
    allowance.earn(3)
    assert spend(allowance, 0.0) == 3
    allowance.earn(300)
    assert spend(allowance, 0.0) == 10
