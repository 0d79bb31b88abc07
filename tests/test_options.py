"""What decorators are told is checked where it was written."""

from __future__ import annotations

import math

import pytest

from runner.options import MethodOptions, Pad, PointOptions


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"max_batch_size": 0}, ValueError, "max_batch_size: got 0, needs 1 to 65535"),
        ({"max_batch_size": "many"}, TypeError, "max_batch_size: got 'many', needs a whole number"),
        ({"max_batch_size": True}, TypeError, "max_batch_size: got True"),
        ({"max_queue_delay_ms": -1}, ValueError, "max_queue_delay_ms: got -1, needs 0 or more"),
        ({"max_queue_delay_ms": float("nan")}, TypeError, "max_queue_delay_ms: got nan"),
        ({"priority": 1.5}, TypeError, "priority: got 1.5"),
        ({"cost": 3}, TypeError, "cost: got 3, needs a function or the name of a method"),
        ({"max_batch_cost": 8}, ValueError, "max_batch_cost needs cost="),
        ({"slo_ms": 0}, ValueError, "slo_ms: got 0"),
        ({"max_queue_delay_ms": float("inf")}, TypeError, "max_queue_delay_ms: got inf, needs a number"),
        ({"pad": "x"}, TypeError, "pad: got 'x', needs a number"),
        ({"pad": True}, TypeError, "pad: got True, needs a number"),
        ({"idempotent": "no"}, TypeError, "idempotent: got 'no', needs True or False"),
        ({"example": "x"}, TypeError, "example: got 'x', needs arguments by name"),
        ({"batch_sizes": 8}, TypeError, "batch_sizes: got 8, needs sizes, such as (8, 16, 32)"),
        ({"batch_sizes": (0, 32)}, ValueError, "batch_sizes: got 0, needs 1 to 65535"),
        ({"batch_sizes": (32, 8)}, ValueError, "batch_sizes: got (32, 8), needs the smallest first"),
        ({"batch_sizes": (8, 16)}, ValueError, "batch_sizes: ends with 16, needs max_batch_size or more, which is 32"),
        ({"batch_sizes": (8,), "max_batch_size": "auto"}, ValueError, "which is 'auto'"),
    ],
)
def test_wrong_values(given, error, message):
    with pytest.raises(error) as raised:
        MethodOptions(**given)
    assert message in str(raised.value)
    if not given.keys() & {"slo_ms", "pad", "batch_sizes", "idempotent", "example"}:
        with pytest.raises(error):
            PointOptions(**given)


def test_padding():
    assert MethodOptions().padding is None
    assert MethodOptions(pad=-1).padding == Pad(-1)
    assert MethodOptions(pad=Pad(0, mask="m")).padding == Pad(0, mask="m")
    assert math.isnan(MethodOptions(pad=math.nan).padding.value)
    with pytest.raises(TypeError, match="pad: got 'x', needs a number"):
        Pad("x")  # pyright: ignore[reportArgumentType]: that is the point
    with pytest.raises(TypeError, match="pad: got mask=5, needs the name of an argument"):
        Pad(0, mask=5)  # pyright: ignore[reportArgumentType]: as above


def test_overrides():
    assert MethodOptions(priority=1).with_overrides({"max_batch_size": 4}) == MethodOptions(
        priority=1, max_batch_size=4
    )
    with pytest.raises(ValueError, match="max_batch_size"):
        MethodOptions().with_overrides({"max_batch_size": -4})
