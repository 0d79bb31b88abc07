"""API keys: how the configuration and a file of keys spell them, and what a key allows.

A key stands in the configuration itself, in an environment variable that it names, or in a file of its own. Values
never appear in an error, a log line or a `repr`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from runner.config_values import Reader, as_id, as_ids, as_int, as_number, as_text
from runner.config_yaml import load_yaml
from runner.errors import ConfigError
from runner.limits import CallerLimits

MAX_KEYS = 256
"""A call's key is compared with every one of them, at a fraction of a microsecond each."""

_MAX_LENGTH = 512
_MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that callers may use.

    Args:
        name: what the server calls it; its calls share under that name.
        value: what callers send.
        env: the environment variable that it came from; empty: none.
        models: ids of the models that it is for; empty: any.
        max_calls: see `CallerLimits`, as the other two; None: what goes for every caller.
        max_queued_calls: the same.
        max_calls_per_second: the same.
    """

    name: str
    value: str = field(repr=False)
    env: str = ""
    models: tuple[str, ...] = ()
    max_calls: int | None = None
    max_queued_calls: int | None = None
    max_calls_per_second: float | None = None

    def limits(self, usual: CallerLimits) -> CallerLimits:
        """Return this key's limits, where those of every caller are `usual`."""
        return CallerLimits(
            max_calls=usual.max_calls if self.max_calls is None else self.max_calls,
            max_queued_calls=usual.max_queued_calls if self.max_queued_calls is None else self.max_queued_calls,
            max_calls_per_second=(
                usual.max_calls_per_second if self.max_calls_per_second is None else self.max_calls_per_second
            ),
        )


_OPTIONS: dict[str, Reader] = {
    "name": as_id,
    "key": as_text,
    "env": as_text,
    "models": as_ids,
    "max_calls": as_int(0),
    "max_queued_calls": as_int(0),
    "max_calls_per_second": as_number,
}


def as_keys(path: str, value: object) -> tuple[ApiKey, ...]:
    """Read a list whose items are keys, or mappings with `key` or `env` and what the key allows."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: needs a list of keys")  # without the value, which may be a key
    items = cast("list[object]", value)
    return check_keys(path, [_read(f"{path}[{number}]", item, number) for number, item in enumerate(items)])


def read_keys_file(file: Path) -> tuple[ApiKey, ...]:
    """Read a file of keys: a YAML list as under `keys:`, or one key a line, `#` before a comment.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong. The text names the file and no key.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
        text = data.decode()
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{file}: is longer than {_MAX_FILE_BYTES} bytes")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or not lines[0].startswith(("- ", "[")):
        # As they stand: YAML would make numbers of some keys.
        return check_keys(str(file), [_key(f"{file}[{number}]", line, number) for number, line in enumerate(lines)])
    try:
        document = load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{file}: is not valid YAML") from None
    return as_keys(str(file), document)


def check_keys(path: str, keys: Iterable[ApiKey]) -> tuple[ApiKey, ...]:
    """Return keys that have names and values of their own.

    Raises:
        ConfigError: two share one, or there are too many.
    """
    found = tuple(keys)
    if len(found) > MAX_KEYS:
        raise ConfigError(f"{path}: {len(found)} keys, and {MAX_KEYS} are the most")
    names = [key.name for key in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: two keys are called {repeated!r}; give each a name of its own")
    if len({key.value for key in found}) < len(found):
        raise ConfigError(f"{path}: a key is there twice, under two names")
    return found


def _read(path: str, item: object, number: int) -> ApiKey:
    if not isinstance(item, Mapping):
        return _key(path, item, number)
    given: dict[str, Any] = {}
    for option, value in cast(Mapping[object, object], item).items():
        if not isinstance(option, str) or option not in _OPTIONS:
            raise ConfigError(f"{path}: there is an unknown option; a key has {', '.join(_OPTIONS)}")
        if value is not None and option != "key":  # an option without a value counts as not given
            given[option] = _OPTIONS[option](f"{path}.{option}", value)
        elif value is not None:
            given[option] = value
    if ("key" in given) == ("env" in given):
        raise ConfigError(f"{path}: needs one of key and env, the variable that holds it")
    value = given.pop("key", None)
    if "env" in given:
        value = os.environ.get(given["env"])
        if not value:
            raise ConfigError(f"{path}.env: the environment has no {given['env']}")
    return _key(path, value, number, **given)


def _key(path: str, value: object, number: int, **options: Any) -> ApiKey:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: a key is a text; put quotes around one of digits")
    if not (0 < len(value) <= _MAX_LENGTH and value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"{path}: a key has 1 to {_MAX_LENGTH} printable ASCII characters, and no space")
    options.setdefault("name", f"key {number + 1}")
    return ApiKey(value=value, **options)
