"""`Param` refuses at once what no call could satisfy."""

from __future__ import annotations

import math

import pytest

from runner.params import Param, Parameter


def test_keeps_what_it_was_told():
    assert Param(5, "how many", min_value=1, max_value=9, choices=[1, 5, 9]) == Parameter(
        default=5, description="how many", min_value=1, max_value=9, choices=(1, 5, 9)
    )


def test_none_is_a_default_outside_every_range():
    assert Param(None, min_value=1, choices=[2]) == Parameter(default=None, min_value=1, choices=(2,))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"default": 0, "min_value": 1}, "default 0 is not a number from 1 to ∞"),
        ({"default": 10, "max_value": 9}, "default 10 is not a number from -∞ to 9"),
        ({"default": math.nan, "min_value": 0}, "default nan"),
        ({"default": True, "min_value": 0}, "default True is not a number"),
        ({"default": "a", "min_value": 0}, "default 'a' is not a number"),
        ({"default": 1, "min_value": 2, "max_value": 1}, "min_value 2 is above max_value 1"),
        ({"default": "c", "choices": ["a", "b"]}, r"'c' is not among the choices \['a', 'b'\]"),
        ({"default": "c", "choices": []}, "choices is empty"),
    ],
)
def test_refuses_a_contradiction(arguments, text):
    with pytest.raises(ValueError, match=text):
        Param(**arguments)


@pytest.mark.parametrize("bound", ["1", True])
def test_a_bound_is_a_number(bound):
    with pytest.raises(TypeError, match="min_value has to be a number"):
        Param(1, min_value=bound)
