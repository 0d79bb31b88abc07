"""Results as text for a terminal, and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from runner.cli.usage import UsageError
from runner.types import JSON, Audio, Concept, Frame, Image, NamedFields, Region, Text, Video

__all__ = ["numbered", "save", "show"]

_MOST_NUMBERS = 10_000
"""An array with more elements is described, not printed."""


def show(value: object) -> str:
    """Return a value as text: strings as they are, everything else as JSON, files and large arrays described."""
    if isinstance(value, str):
        return value
    if isinstance(value, Text):
        return value.text
    plain = _plain(value)
    if isinstance(plain, str) and not isinstance(value, JSON):
        return plain  # a description
    return json.dumps(plain, ensure_ascii=False)


def save(value: object, path: str) -> int:
    """Write a value to a file: the bytes of a medium, an array as .npy, everything else as text.

    Returns:
        How many bytes the file has.

    Raises:
        UsageError: the value is a medium without bytes.
        OSError: the file cannot be written.
    """
    target = Path(path).expanduser()
    if isinstance(value, (Image, Audio, Video)):
        if not value.bytes:
            raise UsageError(f"--save {path}: the result has a URL and no bytes: {value.url}")
        target.write_bytes(value.bytes)
    elif isinstance(value, bytes):
        target.write_bytes(value)
    elif _is_array(value):
        import numpy as np

        with target.open("wb") as file:
            np.save(file, cast(Any, value), allow_pickle=False)
    else:
        target.write_text(show(value) + "\n", encoding="utf-8")
    return target.stat().st_size


def numbered(path: str, number: int) -> str:
    """Return the file for one item of a stream: `frame.png` becomes `frame-1.png`."""
    target = Path(path)
    return str(target.with_name(f"{target.stem}-{number}{target.suffix}"))


def _plain(value: object) -> object:
    """Return the JSON document that shows a value; None fields and empty ones are left out of regions and frames."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Text():
            return value.text
        case JSON():
            return value.value
        case bytes():
            return f"<{len(value)} bytes; --save FILE keeps them>"
        case Image() | Audio() | Video():
            kind = type(value).__name__.lower()
            return (
                f"<{kind}, {len(value.bytes)} bytes; --save FILE keeps it>"
                if value.bytes
                else f"<{kind} at {value.url}>"
            )
        case list() | tuple():
            return [_plain(item) for item in cast(list[object], value)]
        case NamedFields():
            return {name: _plain(item) for name, item in value.items()}
        case Mapping():
            # The order of a JSON object is lost on the way; any other than this would change from call to call.
            fields = {str(key): _plain(item) for key, item in cast(Mapping[object, object], value).items()}
            return dict(sorted(fields.items()))
        case Concept():
            return {"name": value.name, "value": value.value}
        case Region() | Frame():
            names = ("box", "concepts", "mask", "point", "text", "track_id", "image", "regions", "time", "index")
            given = {name: getattr(value, name, None) for name in names}
            return {name: _plain(item) for name, item in given.items() if item not in (None, [], "")}
        case _ if _is_array(value):
            array = cast(Any, value)
            if array.size > _MOST_NUMBERS:
                return f"<{array.dtype} array, {' x '.join(map(str, array.shape))}; --save FILE.npy keeps it>"
            return array.tolist()
        case _:
            return repr(value)


def _is_array(value: object) -> bool:
    return hasattr(value, "tolist") and hasattr(value, "dtype")
