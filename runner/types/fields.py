"""Values made of other values: named fields, and a JSON document under a name of its own."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Union, cast


class NamedFields:
    """A few values under names, read as attributes or as items.

    As a type hint the values are types: `NamedFields(label=str, score=float)`, and `| None` or `Optional[...]` around
    it. A field may have any name; one that is also the name of a method (`items`) is reached as an item only. Like a
    tuple, it has a hash if its values have one.
    """

    __slots__ = ("_fields",)

    _fields: dict[str, Any]

    def __init__(self, /, **fields: Any) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling look for special methods before there are any fields.
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"there is no field {name!r}; there are: {', '.join(self._fields)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    def __delattr__(self, name: str) -> None:
        del self._fields[name]

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def keys(self) -> KeysView[str]:
        """Return the names, in order."""
        return self._fields.keys()

    def values(self) -> ValuesView[Any]:
        """Return the values, in order."""
        return self._fields.values()

    def items(self) -> ItemsView[str, Any]:
        """Return the pairs of name and value, in order."""
        return self._fields.items()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedFields):
            return NotImplemented
        return self._fields == other._fields

    def __hash__(self) -> int:
        # `typing` puts the members of a union into a set.
        return hash(frozenset(self._fields.items()))

    def __or__(self, other: Any) -> Any:
        return cast(Any, Union)[self, other]

    def __ror__(self, other: Any) -> Any:
        return cast(Any, Union)[other, self]

    def __reduce__(self) -> tuple[Any, ...]:
        return _named_fields, (self._fields,)

    def __repr__(self) -> str:
        return f"NamedFields({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def _named_fields(fields: dict[str, Any]) -> NamedFields:
    return NamedFields(**fields)


class JSON:
    """A JSON document: `value` is a dict, list, str, int, float, bool or None."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JSON):
            return NotImplemented
        return bool(self.value == other.value)

    def __repr__(self) -> str:
        return f"JSON({self.value!r})"
