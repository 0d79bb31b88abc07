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


def test_bounds_have_names():
    with pytest.raises(
        TypeError, match=r"second argument is a description, not 0; bounds are min_value= and max_value="
    ):
        Param(0.5, 0, 1)


@pytest.mark.parametrize("choices", ["abc", b"abc"])
def test_choices_are_not_the_letters_of_a_text(choices):
    with pytest.raises(TypeError, match=r"choices has to be a list, not b?'abc'"):
        Param("a", choices=choices)


@pytest.mark.parametrize("bound", ["1", True, math.nan])
def test_a_bound_is_a_number(bound):
    with pytest.raises(TypeError, match="min_value has to be a number"):
        Param(1, min_value=bound)
