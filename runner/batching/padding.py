"""Arrays of different lengths in one batch: filled up to one shape, with a mask of what is real."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from runner.batch import Stacking
from runner.errors import InvalidInput
from runner.options import Pad

MAX_PADDED_BYTES: Final = 64 * 1024 * 1024
MAX_PADDING_FACTOR: Final = 8
"""What a padded batch may take: so many bytes, or so many times what was sent. Callers choose the shapes: a row of
40,000 numbers and a column of as many, 320 KB each, would be filled up to 13 GB each."""


class MostlyPadding(Exception):
    """Arrays of a batch are too different in shape to be one."""


def padded(values: Sequence[Any], stacking: Stacking, pad: Pad) -> tuple[list[Any], Any]:
    """Return the arrays filled up to one shape, and what of it is real if that is asked for.

    Args:
        values: arrays or tensors of one dtype and one number of axes.
        stacking: which library's they are.
        pad: what to fill with, and whether a mask is wanted.

    Returns:
        Arrays of one shape, and a bool array (batch, *shape) or None.

    Raises:
        MostlyPadding: they would take too much memory.
    """
    library: Any = sys.modules["numpy" if stacking is Stacking.NUMPY else "torch"]
    shape = tuple(max(sizes) for sizes in zip(*(value.shape for value in values), strict=True))
    size = math.prod(shape) * len(values) * values[0].dtype.itemsize
    if size > max(MAX_PADDED_BYTES, MAX_PADDING_FACTOR * sum(value.nbytes for value in values)):
        raise MostlyPadding
    host = _on_host(stacking)
    mask = library.zeros((len(values), *shape), dtype=library.bool if stacking is Stacking.TORCH else bool, **host)
    filled: list[Any] = []
    for index, value in enumerate(values):
        corner = tuple(slice(size) for size in value.shape)
        mask[(index, *corner)] = True
        if tuple(value.shape) == shape:
            filled.append(value)
            continue
        larger = library.full(shape, pad.value, dtype=value.dtype, **host)
        larger[corner] = value
        filled.append(larger)
    return filled, mask if pad.mask is not None else None


def _on_host(stacking: Stacking) -> dict[str, str]:
    """Return where to make an array: the model may have told torch to make them elsewhere."""
    return {"device": "cpu"} if stacking is Stacking.TORCH else {}


def check_padding(name: str, value: Any, stacking: Stacking, pad: Pad) -> None:
    """Refuse an array that cannot hold what it would be filled up with, whoever else is in its batch.

    Raises:
        InvalidInput: so it is.
    """
    if stacking is not Stacking.LIST and not _holds(stacking, value.dtype, pad.value):
        raise InvalidInput(
            f"an array of {str(value.dtype).removeprefix('torch.')} cannot be filled up with {pad.value:g}, as this "
            "method does with arrays of different lengths; send another dtype",
            path=name,
        )


@functools.lru_cache(maxsize=64)  # dtypes that arrays are sent with, times the paddings of a model's methods
def _holds(stacking: Stacking, dtype: Any, value: float) -> bool:
    library: Any = sys.modules["numpy" if stacking is Stacking.NUMPY else "torch"]
    fraction = dtype.is_floating_point or dtype.is_complex if stacking is Stacking.TORCH else dtype.kind in "fc"
    if fraction:
        return not math.isfinite(value) or abs(value) <= float(library.finfo(dtype).max)
    if not math.isfinite(value) or value != int(value):
        return False
    try:
        return bool(library.full((1,), int(value), dtype=dtype, **_on_host(stacking))[0].item() == value)
    except (OverflowError, RuntimeError):  # below or above what it holds
        return False
