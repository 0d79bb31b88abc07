"""What the configuration says of methods: options by name, over those of `@ModelClass.method`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from runner.config_values import as_bool
from runner.errors import ConfigError
from runner.options import CONFIGURABLE, MethodOptions

OptionsByMethod: TypeAlias = Mapping[str, Mapping[str, object]]


def as_methods(path: str, value: object) -> OptionsByMethod:
    """Read options by method, each by the rules of the decorator. A key without a value counts as not given.

    Whether there is such a method, and whether its options agree with one another, is seen when the model is loaded.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: got {value!r}, needs methods with their options")
    found: dict[str, Mapping[str, object]] = {}
    for name, options in cast(Mapping[object, object], value).items():
        if options is not None and not isinstance(options, Mapping):
            raise ConfigError(f"{path}.{name}: got {options!r}, needs options with values")
        given = cast(Mapping[str, object], options or {})
        found[str(name)] = {option: given[option] for option in given if given[option] is not None}
        for option in given:
            _check(f"{path}.{name}", option, given[option])
    return found


def merge(low: OptionsByMethod, high: OptionsByMethod) -> OptionsByMethod:
    """Return the options of two layers; the high one wins, option by option."""
    return {name: {**low.get(name, {}), **high.get(name, {})} for name in (*low, *high)}


def _check(path: str, option: str, value: object) -> None:
    if option not in CONFIGURABLE:
        raise ConfigError(f"{path}.{option}: no such option; a method has {', '.join(CONFIGURABLE)}")
    if value is None:
        return
    match option:
        case "idempotent":  # the decorator takes what is true or false for Python
            as_bool(f"{path}.{option}", value)
        case "cost":  # the decorator takes a function too
            if not isinstance(value, str):
                raise ConfigError(f"{path}.{option}: got {value!r}, needs the name of a method of the model")
        case "max_batch_cost":  # the decorator takes it beside a cost function only
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                raise ConfigError(f"{path}.{option}: got {value!r}, needs 0 or more")
        case _:
            try:
                MethodOptions(**cast(Any, {option: value}))
            except (TypeError, ValueError) as exc:
                raise ConfigError(f"{path}.{exc}") from None
