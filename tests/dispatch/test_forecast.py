"""How long a call will wait."""

from __future__ import annotations

import pytest

from runner.dispatch.forecast import Forecast


def test_nothing_is_predicted_from_nothing() -> None:
    under_test = Forecast()
    assert under_test.wait(5) is None
    assert under_test.service is None
    for number in range(7):
        under_test.ended(number * 0.1, 0.1, backlog=True)
    assert under_test.wait(5) is None


def test_the_rate_is_that_of_a_lane_at_work() -> None:
    under_test = Forecast()
    for number in range(100):
        under_test.ended(number * 0.01, 0.02, backlog=True)
    for number in range(100):  # a quiet time: calls come seldom, and tell nothing of how fast they could be answered
        under_test.ended(10.0 + number, 0.02, backlog=False)
    assert under_test.wait(100) == pytest.approx(1.0, rel=0.05)
    assert under_test.service == pytest.approx(0.02)


def test_it_follows_a_change() -> None:
    under_test = Forecast()
    for number in range(100):
        under_test.ended(number * 0.01, 0.01, backlog=True)
    for number in range(100):
        under_test.ended(1.0 + number * 0.1, 0.1, backlog=True)
    assert under_test.wait(10) == pytest.approx(1.0, rel=0.1)


def test_calls_that_went_together_took_one_time() -> None:
    forecast = Forecast()
    forecast.ended(1.0, 0.5, backlog=False, calls=16)
    assert forecast.service == 0.5
    forecast.ended(2.0, 0.7, backlog=False, calls=16)
    assert forecast.service == pytest.approx(0.6)
