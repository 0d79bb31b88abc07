from __future__ import annotations

import pytest

from runner.errors import ConfigError
from runner.limits import FetchLimits


def test_the_defaults_hold():
    assert FetchLimits() == FetchLimits(timeout=10.0, max_bytes=64 * 1024 * 1024, max_redirects=5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0.0),
        ("timeout", -1.0),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("max_bytes", 0),
        ("max_redirects", -1),
    ],
)
def test_an_impossible_value_is_named(field, value):
    with pytest.raises(ConfigError, match=rf"fetch\.{field}: got {value!r}"):
        FetchLimits(**{field: value})
