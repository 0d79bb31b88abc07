"""A short run: workers are killed, stopped and broken from inside while callers of every kind go on."""

from __future__ import annotations

import pytest

from tests.chaos.driver import Plan, can_fill_shm, run

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def test_every_call_is_answered_once_whatever_dies() -> None:
    faults = ("kill", "hang", "exhaust", "kill", "exit", "stop", "stall")
    plan = Plan(calls=800, callers=8, replicas=3, faults=faults, period=0.3, full_shm=can_fill_shm())
    verdict, caused, _ = run(plan)
    assert verdict.kept, verdict.text()
    assert verdict.calls >= plan.calls
    assert verdict.ends["right"] > plan.calls / 2
    assert caused["kill"]
