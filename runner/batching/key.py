"""Which calls may share a batch: those that agree on every shared argument, and on the kind of their arrays.

Values are compared after decoding and after defaults: an omitted argument equals its explicit default.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

from runner.batch import Stacking
from runner.types import NamedFields


def shared_key(value: Any) -> Hashable:
    """Return what stands for a value in a key: equal for equal values of the same type, and hashable.

    1, 1.0 and True are three different values here, and a NaN equals itself.
    """
    kind = cast("type[Any]", type(value))
    if value is None or isinstance(value, bool | int | str | bytes):
        return (kind, value)
    if isinstance(value, float):
        return (kind, struct.pack("<d", value))
    if isinstance(value, list | tuple):
        return (kind, tuple(map(shared_key, cast(Sequence[Any], value))))
    if isinstance(value, dict | NamedFields):
        items = cast(Mapping[Any, Any], value).items()
        return (kind, frozenset([(shared_key(name), shared_key(item)) for name, item in items]))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        numbers = _numbers_of(value) if hasattr(value, "detach") else value.tobytes()
        return (kind, str(value.dtype), tuple(value.shape), numbers)
    if kind.__module__.startswith("runner.types."):
        return (kind, tuple((name, shared_key(getattr(value, name))) for name in _public(kind)))
    if hasattr(value, "mode") and hasattr(value, "tobytes"):  # an image of Pillow's
        pixels = value.tobytes()  # which also loads what else there is to know
        palette = getattr(value, "palette", None)
        colours = None if palette is None else (palette.mode, bytes(palette.tobytes()))
        return (kind, value.mode, value.size, pixels, colours, shared_key(value.info))
    return (kind, id(value))  # nothing is known of it: it shares a batch with nobody


def array_key(value: Any, stacking: Stacking, *, padded: bool) -> Hashable:
    """Return what arrays have to agree on to be stacked.

    Args:
        value: one call's.
        stacking: how the values of the calls come together.
        padded: whether lengths may differ.
    """
    if stacking is Stacking.LIST:
        return None
    return (value.dtype, value.ndim if padded else tuple(value.shape))


def _numbers_of(tensor: Any) -> bytes:
    """Return the bytes of a tensor, of any dtype: numpy has no word for some."""
    torch: Any = sys.modules["torch"]  # there is a tensor
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _public(kind: type[Any]) -> list[str]:
    """Return the public slots of one of our types; a path, say, is no part of the value."""
    slots: list[str] = [name for owner in kind.__mro__ for name in getattr(owner, "__slots__", ())]
    return sorted({name for name in slots if not name.startswith("_")})
