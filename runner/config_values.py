"""Readers of single configuration values. Each takes the key's path and what YAML made of the text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

from runner.errors import ConfigError

Reader: TypeAlias = Callable[[str, object], object]

_DEVICE = re.compile(r"[a-z]+(:[0-9]+)?")


def as_text(path: str, value: object) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value or not _is_text(value):
        raise ConfigError(f"{path}: got {value!r}, needs a text")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which "\ud800" makes in YAML
        return False
    return True


def as_path(path: str, value: object) -> Path:
    """Read the path of a file. A relative one counts from where the server is started."""
    return value if isinstance(value, Path) else Path(as_text(path, value))


def as_id(path: str, value: object) -> str:
    """Read an id. YAML reads `version_id: 7` as a number, which is clear enough."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else as_text(path, value)


def as_choice(*choices: str) -> Reader:
    """Return a reader of one of these words."""

    def read(path: str, value: object) -> str:
        if value not in choices:
            raise ConfigError(f"{path}: got {value!r}, needs {' or '.join(choices)}")
        return cast(str, value)

    return read


def as_bool(path: str, value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: got {value!r}, needs true or false")
    return value


def as_int(low: int, high: int | None = None) -> Reader:
    """Return a reader of whole numbers within bounds, both inclusive."""
    needs = f"{low} or more" if high is None else f"a whole number from {low} to {high}"

    def read(path: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
            raise ConfigError(f"{path}: got {value!r}, needs {needs}")
        return value

    return read


def as_number(path: str, value: object) -> float:
    """Read a number, 0 or more."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ConfigError(f"{path}: got {value!r}, needs 0 or more")
    return float(value)


def as_seconds(low: float) -> Reader:
    """Return a reader of milliseconds, `low` or more, that hands out seconds."""

    def read(path: str, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value < math.inf:
            raise ConfigError(f"{path}: got {value!r}, needs {low} or more milliseconds")
        return value / 1000

    return read


def as_ids(path: str, value: object) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: got {value!r}, needs a list")
    items = cast("list[object]", value)
    return tuple(as_id(f"{path}[{position}]", item) for position, item in enumerate(items))


def as_devices(path: str, value: object) -> tuple[str, ...]:
    """Read device names: a list of them, or a text with commas as on the command line."""
    names = tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else as_ids(path, value)
    if not names or not all(_DEVICE.fullmatch(name) for name in names) or ("auto" in names and len(names) > 1):
        raise ConfigError(f"{path}: got {value!r}, needs auto, or names such as cpu or cuda:0")
    return names
