"""Which calls may share a batch."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest

from runner import Concept, Image, NamedFields, Region
from runner.batch import Stacking
from runner.batching.key import array_key, shared_key

EQUAL = [
    (1, 1),
    ("a", "a"),
    (math.nan, math.nan),
    ([1, "a"], [1, "a"]),
    ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    ({1: "x", "a": 2}, {"a": 2, 1: "x"}),
    (np.arange(3), np.arange(3)),
    (Image(bytes=b"x"), Image(bytes=b"x")),
    (Region(id="r", concepts=[Concept("a")]), Region(id="r", concepts=[Concept("a")])),
    (NamedFields(a=1), NamedFields(a=1)),
]
DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    b"1",
    None,
    [1],
    (1,),
    {"1": 1},
    {1: 1},
    {True: 1},
    0.0,
    -0.0,
    np.ones(1),
    np.ones(1, np.float32),
]
DIFFERENT += [np.ones((1, 1)), Image(bytes=b"x"), Image(url="x"), NamedFields(a=1), object(), object()]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_share(one: object, other: object) -> None:
    assert shared_key(one) == shared_key(other)
    assert hash(shared_key(one)) == hash(shared_key(other))


def test_different_values_do_not() -> None:
    assert len({shared_key(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_pixels_that_stand_for_other_colours_are_others() -> None:
    pillow = pytest.importorskip("PIL.Image")

    def plain(colour: str, transparency: int | None = None) -> Any:
        image = pillow.new("RGB", (4, 4), colour).convert("P", palette=pillow.Palette.ADAPTIVE)
        file = io.BytesIO()
        image.save(file, "PNG", **({} if transparency is None else {"transparency": transparency}))
        return pillow.open(file)

    keys = [shared_key(image) for image in (plain("red"), plain("blue"), plain("red", 0), plain("red"))]
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3
    turned = plain("red")
    turned.info["exif"] = b"another orientation"
    assert shared_key(turned) not in keys


def test_tensors_of_any_dtype_are_compared_by_their_values() -> None:
    torch = pytest.importorskip("torch")
    values = [torch.ones(2, dtype=dtype) for dtype in (torch.float32, torch.bfloat16, torch.int32, torch.bool)]
    values += [torch.tensor(1.0), torch.tensor(2.0), torch.ones(2, dtype=torch.complex64).conj() * 1j]
    assert len({shared_key(value) for value in values}) == len(values)
    assert len({shared_key(value) for value in [*values, *(value.clone() for value in values)]}) == len(values)
    assert shared_key(torch.arange(4).reshape(2, 2).T) == shared_key(torch.tensor([[0, 2], [1, 3]]))


def test_arrays_of_one_dtype_and_shape_are_stacked_and_padded_ones_of_one_number_of_axes() -> None:
    short, long, wide = np.zeros(2), np.zeros(3), np.zeros((2, 2))
    plain = {array_key(value, Stacking.NUMPY, padded=False) for value in (short, long, wide, short.astype(int))}
    assert len(plain) == 4
    assert array_key(short, Stacking.NUMPY, padded=True) == array_key(long, Stacking.NUMPY, padded=True)
    assert array_key(short, Stacking.NUMPY, padded=True) != array_key(wide, Stacking.NUMPY, padded=True)
    assert array_key(short, Stacking.LIST, padded=False) is None
