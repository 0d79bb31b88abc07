"""How long a batch will take, learned from those that ran: for each point a curve from cost to seconds.

Costs fall into buckets, one for each power of two. A bucket keeps a moving average; between and beyond buckets the
curve goes straight, and never down.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

_WEIGHT: Final = 0.2
"""Of the latest batch in its bucket's average."""

_MOST: Final = 4.0
"""A batch that took so many times the average counts as this many times: one hiccup must not change the picture."""


class LatencyModel:
    """See the module's text. Pure; the caller measures."""

    def __init__(self) -> None:
        self._points: dict[int, dict[int, tuple[float, float]]] = {}  # point -> bucket -> mean cost, mean seconds

    def update(self, point: int, cost: float, seconds: float) -> None:
        """Learn from one batch."""
        buckets = self._points.setdefault(point, {})
        bucket = _bucket(cost)
        known = buckets.get(bucket)
        if known is None:
            buckets[bucket] = (cost, seconds)
            return
        mean_cost, mean = known
        seconds = min(seconds, mean * _MOST)
        buckets[bucket] = (mean_cost + _WEIGHT * (cost - mean_cost), mean + _WEIGHT * (seconds - mean))

    def predict(self, point: int, cost: float) -> float | None:
        """Return the seconds that a batch of this cost will take, None while nothing is known of its point."""
        curve = self._curve(point)
        if not curve:
            return None
        if cost <= curve[0][0]:
            return curve[0][1]  # a smaller batch costs hardly less: most of a small one is its fixed part
        for (low_cost, low), (high_cost, high) in itertools.pairwise(curve):
            if cost <= high_cost:
                return low + (high - low) * (cost - low_cost) / (high_cost - low_cost)
        last_cost, last = curve[-1]
        return last * cost / last_cost if last_cost > 0 else last

    def largest_within(self, point: int, seconds: float) -> float | None:
        """Return the largest cost that is predicted to take no longer, None while nothing is known of the point."""
        curve = self._curve(point)
        if not curve:
            return None
        first_cost, first = curve[0]
        if seconds < first:
            return first_cost * seconds / first if first > 0 else first_cost
        for (low_cost, low), (high_cost, high) in itertools.pairwise(curve):
            if seconds < high:
                return low_cost + (high_cost - low_cost) * (seconds - low) / (high - low)
        last_cost, last = curve[-1]
        return last_cost * seconds / last if last > 0 else math.inf

    def _curve(self, point: int) -> list[tuple[float, float]]:
        """The known averages by cost, made to rise."""
        curve: list[tuple[float, float]] = []
        highest = 0.0
        for cost, seconds in sorted(self._points.get(point, {}).values()):
            highest = max(highest, seconds)
            if curve and cost <= curve[-1][0]:
                continue
            curve.append((cost, highest))
        return curve

    def __repr__(self) -> str:
        return f"<LatencyModel { ({point: len(buckets) for point, buckets in self._points.items()}) }>"


def _bucket(cost: float) -> int:
    return math.frexp(cost)[1] if cost > 0 else -1100
