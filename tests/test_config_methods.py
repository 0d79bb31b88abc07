"""Options of methods in the configuration: read by the rules of the decorator, merged option by option."""

from __future__ import annotations

import pytest

from runner.config_methods import as_methods, merge
from runner.errors import ConfigError
from runner.options import CONFIGURABLE


def test_every_option_that_may_be_overridden() -> None:
    options = {
        "max_batch_size": "auto",
        "max_queue_delay_ms": 2,
        "cost": "tokens",
        "max_batch_cost": 4096.5,
        "priority": -3,
        "slo_ms": 50.0,
        "timeout_ms": 1000,
        "max_timeout_ms": 60_000.0,
        "max_run_seconds": 5,
        "idempotent": False,
    }
    assert set(options) == set(CONFIGURABLE)
    assert as_methods("methods", {"embed": options}) == {"embed": options}


def test_a_key_without_a_value_counts_as_not_given() -> None:
    assert as_methods("methods", {"embed": {"slo_ms": None, "priority": 0}, "other": None}) == {
        "embed": {"priority": 0},
        "other": {},
    }


def test_layers_are_merged_option_by_option() -> None:
    low = {"a": {"priority": 1, "slo_ms": 5}, "b": {"priority": 2}}
    high = {"a": {"priority": 3}, "c": {"slo_ms": 7}}
    assert merge(low, high) == {"a": {"priority": 3, "slo_ms": 5}, "b": {"priority": 2}, "c": {"slo_ms": 7}}
    assert low == {"a": {"priority": 1, "slo_ms": 5}, "b": {"priority": 2}}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (3, "methods: got 3, needs methods with their options"),
        ({"embed": 3}, "methods.embed: got 3, needs options with values"),
        (
            {"embed": {"max_batch": 3}},
            f"methods.embed.max_batch: no such option; a method has {', '.join(CONFIGURABLE)}",
        ),
        ({"embed": {"pad": None}}, f"methods.embed.pad: no such option; a method has {', '.join(CONFIGURABLE)}"),
        ({"embed": {"max_batch_size": 0}}, "methods.embed.max_batch_size: got 0, needs 1 to 65535"),
        ({"embed": {"max_batch_size": "Auto"}}, "methods.embed.max_batch_size: got 'Auto', needs a whole number"),
        ({"embed": {"max_queue_delay_ms": -1}}, "methods.embed.max_queue_delay_ms: got -1, needs 0 or more"),
        ({"embed": {"max_batch_cost": -1}}, "methods.embed.max_batch_cost: got -1, needs 0 or more"),
        ({"embed": {"max_batch_cost": float("nan")}}, "methods.embed.max_batch_cost: got nan, needs 0 or more"),
        ({"embed": {"cost": 3}}, "methods.embed.cost: got 3, needs the name of a method of the model"),
        ({"embed": {"priority": 101}}, "methods.embed.priority: got 101, needs -100 to 100"),
        ({"embed": {"slo_ms": 0}}, "methods.embed.slo_ms: got 0, needs 0.001 or more"),
        ({"embed": {"idempotent": 1}}, "methods.embed.idempotent: got 1, needs true or false"),
    ],
)
def test_wrong_options(methods: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_methods("methods", methods)
    assert str(caught.value) == message
