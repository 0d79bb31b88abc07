"""Arrays of different lengths are filled up, as long as that makes sense."""

from __future__ import annotations

import numpy as np
import pytest

from runner import Pad
from runner.batch import Stacking
from runner.batching.padding import MostlyPadding, check_padding, padded
from runner.errors import InvalidInput


def test_arrays_that_would_be_mostly_padding_are_not_put_together() -> None:
    row, column = np.ones((1, 40_000)), np.ones((40_000, 1))
    with pytest.raises(MostlyPadding):  # before there is memory for it
        padded([row, column], Stacking.NUMPY, Pad())
    torch = pytest.importorskip("torch")
    with pytest.raises(MostlyPadding):
        padded([torch.from_numpy(row), torch.from_numpy(column)], Stacking.TORCH, Pad())
    lengths = [np.ones(length, np.float32) for length in (1, 7, 500_000)]
    assert padded(lengths, Stacking.NUMPY, Pad())[0][0].shape == (500_000,)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_an_array_has_to_hold_its_padding(name: str) -> None:
    library = pytest.importorskip(name)
    stacking = Stacking(name)
    holds = [
        ("complex64", -1e9),
        ("float64", 1e39),
        ("int64", 0),
        ("int64", -1),
        ("uint8", 255),
        ("float32", 0.1),
        ("float16", float("-inf")),
        ("bool", 0),
    ]
    lies = [("int64", 0.5), ("int32", float("nan")), ("uint8", -1), ("uint8", 256), ("int16", 1e9), ("bool", 2)]
    lies += [("float16", -1e9), ("float32", 1e39)]
    for dtype, value in holds:
        check_padding("x", library.ones(2, dtype=getattr(library, dtype)), stacking, Pad(value))
    for dtype, value in lies:
        with pytest.raises(InvalidInput, match=f"^x: an array of {dtype} cannot be filled up with"):
            check_padding("x", library.ones(2, dtype=getattr(library, dtype)), stacking, Pad(value))
