"""A range in two 32-bit floats."""

from __future__ import annotations

import math

import pytest

from runner.signature.method import Limits
from runner.signature.ranges import read_range, write_range
from runner.wire.pb import inference_pb2 as pb

BOUNDS = [(None, None), (1, None), (None, 9), (0, None), (None, 0), (-5, 5), (0, 1), (-3, None), (None, -3)]


def there_and_back(low, high, *, native, whole=True):
    field = pb.ModelTypeField()
    write_range(field, Limits(min_value=low, max_value=high), absent_as_infinity=native)
    return read_range(field, whole=whole)


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_nothing_is_lost_on_our_service(low, high):
    assert there_and_back(low, high, native=True) == (low, high)


@pytest.mark.parametrize(("low", "high"), [(None, None), (1, None), (None, -3), (-5, 5), (0, 1)])
def test_what_can_be_told_from_a_zero_is_told(low, high):
    assert there_and_back(low, high, native=False) == (low, high)


def test_without_bounds_the_field_stays_unset():
    field = pb.ModelTypeField()
    write_range(field, Limits(), absent_as_infinity=True)
    assert not field.HasField("model_type_range_info")


@pytest.mark.parametrize("value", [0.7, 0.1, 1e-8, 123456.78, 16777217.0 - 1])
def test_decimals_come_back_as_they_were_written(value):
    assert there_and_back(value, None, native=True, whole=False) == (pytest.approx(value, rel=1e-12), None)


def test_what_a_float_cannot_hold_is_no_bound():
    assert there_and_back(None, 1e300, native=True) == (None, None)
    field = pb.ModelTypeField()
    field.model_type_range_info.min = math.nan
    assert read_range(field, whole=True)[0] is None


def test_whole_bounds_are_ints():
    low, high = there_and_back(1, 9, native=True)
    assert (type(low), type(high)) == (int, int)
