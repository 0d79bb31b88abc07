"""Histograms of durations."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from runner.statistics import BOUNDS, Histogram

counts = st.lists(st.integers(0, 1000), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1).map(tuple)


def test_nothing_has_no_quantile():
    assert Histogram().count == 0
    assert Histogram().at_most(0.5) is None


def test_a_quantile_is_the_bound_of_its_bucket():
    histogram = Histogram((50, 49, *(0,) * (len(BOUNDS) - 2), 1), total=100.0)
    assert histogram.count == 100
    assert histogram.at_most(0.5) == BOUNDS[0]
    assert histogram.at_most(0.51) == BOUNDS[1]
    assert histogram.at_most(0.99) == BOUNDS[1]
    assert histogram.at_most(1.0) == math.inf


@given(counts, counts)
def test_what_came_since_is_the_difference(earlier: tuple[int, ...], more: tuple[int, ...]):
    later = tuple(map(sum, zip(earlier, more, strict=True)))
    assert Histogram(later, 5.0).since(Histogram(earlier, 2.0)) == Histogram(more, 3.0)
