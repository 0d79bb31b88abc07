"""How long a batch will take."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.batching.latency import LatencyModel


def test_nothing_is_known_at_first() -> None:
    under_test = LatencyModel()
    assert under_test.predict(0, 1.0) is None
    assert under_test.largest_within(0, 1.0) is None


def test_between_and_beyond_what_was_seen() -> None:
    under_test = LatencyModel()
    under_test.update(0, 8.0, 0.01)
    under_test.update(0, 32.0, 0.03)
    assert under_test.predict(0, 1.0) == 0.01
    assert under_test.predict(0, 20.0) == pytest.approx(0.02)
    assert under_test.predict(0, 64.0) == pytest.approx(0.06)
    assert under_test.largest_within(0, 0.02) == pytest.approx(20.0)
    assert under_test.largest_within(0, 0.06) == pytest.approx(64.0)
    assert under_test.largest_within(0, 0.005) == pytest.approx(4.0)
    assert under_test.predict(1, 8.0) is None


def test_one_hiccup_is_no_trend_and_a_trend_is_followed() -> None:
    under_test = LatencyModel()
    for _ in range(10):
        under_test.update(0, 8.0, 0.01)
    under_test.update(0, 8.0, 10.0)
    assert under_test.predict(0, 8.0) == pytest.approx(0.016)
    for _ in range(40):
        under_test.update(0, 8.0, 0.1)
    assert under_test.predict(0, 8.0) == pytest.approx(0.1, rel=0.02)


@given(st.lists(st.tuples(st.floats(0.1, 1000), st.floats(0.0001, 10)), min_size=1, max_size=40))
def test_more_never_takes_less(seen: list[tuple[float, float]]) -> None:
    under_test = LatencyModel()
    for cost, seconds in seen:
        under_test.update(0, cost, seconds)
    predicted = [under_test.predict(0, cost) or 0.0 for cost in (0.1, 1, 5, 20, 100, 500, 1000, 5000)]
    assert all(one <= other * (1 + 1e-9) for one, other in itertools.pairwise(predicted))
