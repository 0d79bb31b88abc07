"""Arrays: numbers only, shapes that do not lie, writable on arrival."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from runner.errors import InvalidInput
from runner.wire import arrays
from runner.wire.mismatch import EncodeError
from runner.wire.pb import inference_pb2 as pb


def there_and_back(value: object, declared: str | None = None) -> Any:
    data = pb.Data()
    arrays.encode(value, data)
    return arrays.codec(declared).decode(pb.Data.FromString(data.SerializeToString()))


def message(buffer: bytes = b"\0" * 8, shape: tuple[int, ...] = (2,), dtype: str = "float32") -> pb.Data:
    return pb.Data(ndarray=pb.NDArray(buffer=buffer, shape=shape, dtype=dtype))


def test_what_arrives_is_writable_and_in_c_order():
    back = there_and_back(np.arange(6, dtype=np.int16).reshape(2, 3).T)
    assert back.flags.writeable
    assert back.flags.c_contiguous
    assert back.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1, 1, 1)])
def test_empty_arrays_and_scalars_keep_their_shape(shape: tuple[int, ...]):
    back = there_and_back(np.zeros(shape, np.uint8))
    assert (back.shape, back.dtype) == (shape, np.uint8)


def test_another_order_of_bytes_is_turned_around():
    assert there_and_back(np.array([1.5], ">f4")).tolist() == [1.5]
    swapped = arrays.codec(None).decode(message(np.array([1.5, 2.5], ">f4").tobytes(), dtype=">f4"))
    assert swapped.tolist() == [1.5, 2.5]
    assert swapped.dtype.isnative


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (message(shape=(3,)), r"shape \(3,\) and dtype float32 has 12 bytes, but 8 were sent"),
        (message(shape=()), "has 4 bytes, but 8 were sent"),
        (message(shape=(2**32 - 1,) * 4), "but 8 were sent"),
        (message(b"", shape=(0, 2**32 - 1, 2**32 - 1, 2**32 - 1)), "there is no array of shape"),
        (message(b"", shape=(0,) * 100), "there is no array of 100 dimensions"),
        (message(b"\0\0", dtype="bool"), "array of numbers, got one of dtype 'bool'"),
        (message(dtype="object"), "got one of dtype 'object'"),
        (message(dtype="O"), "got one of dtype 'O'"),
        (message(dtype="f4,f4"), "got one of dtype 'f4,f4'"),
        (message(dtype="(2)f4"), "got one of dtype"),
        (message(dtype="M8[s]"), "got one of dtype"),
        (message(dtype="<U2"), "got one of dtype"),
        (message(dtype="x" * 5000), "got one of dtype 'xxxxxxxxxxxxxxxx'"),
        (message(dtype=""), "got one of dtype ''"),
        (pb.Data(ndarray=pb.NDArray()), "got one of dtype ''"),
        (pb.Data(), "needs an array, got nothing"),
        (pb.Data(bytes_value=b"x"), "needs an array, got bytes"),
    ],
)
def test_an_array_that_lies_is_refused(data: pb.Data, words: str):
    with pytest.raises(InvalidInput, match=words):
        arrays.codec(None).decode(data)


def test_a_declared_dtype_is_what_the_method_gets():
    assert there_and_back(np.array([1.5]), "float32").dtype == np.float32
    assert there_and_back(np.array([1], np.uint8), "float64").dtype == np.float64
    with pytest.raises(InvalidInput, match="needs an array of int64, got one of float64"):
        there_and_back(np.array([1.5]), "int64")


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], (1.5,), 3, np.float16(0.5)])
def test_lists_and_numbers_become_arrays(value: object):
    assert np.array_equal(there_and_back(value), np.asarray(value))


@pytest.mark.parametrize(
    "value", [[[1], [2, 3]], ["a"], "abc", None, True, np.array([True]), np.array([object()]), {"a": 1}, [2**70]]
)
def test_what_is_no_array_of_numbers(value: object):
    with pytest.raises(EncodeError, match="array"):
        there_and_back(value)


def test_tensors():
    torch = pytest.importorskip("torch")
    assert there_and_back(torch.ones(2, 3, requires_grad=True)).tolist() == [[1.0] * 3] * 2
    assert there_and_back(torch.tensor([1.5], dtype=torch.bfloat16)).dtype == np.float32
    assert there_and_back(torch.tensor(3)).shape == ()


def test_reading_arrays_never_imports_torch():
    import subprocess

    code = (
        "import sys, numpy; from runner.wire import arrays; from runner.wire.pb import inference_pb2 as pb;"
        "arrays.encode(numpy.zeros(2), pb.Data()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("document", [["x" * 1000] + [1] * 1000, [[1, 2], [3, "4"]], (b"1", 2)])
def test_text_among_numbers_is_refused_before_numpy_makes_room_for_it(document: object):
    with pytest.raises(EncodeError, match="hold text"):
        arrays.encode(document, pb.Data())


def test_lists_that_are_nested_too_deep():
    document: object = 1
    for _ in range(65):
        document = [document]
    with pytest.raises(EncodeError, match="nested deeper than 64"):
        arrays.encode(document, pb.Data())


def test_a_shape_that_never_ends_is_not_multiplied():
    with pytest.raises(InvalidInput, match="no array of 5000 dimensions"):
        arrays.codec(None).decode(message(shape=(2**32 - 1,) * 5000))


def test_what_is_beyond_the_declared_dtype_is_infinite():
    assert there_and_back(np.array([1e300, -1e300]), "float32").tolist() == [np.inf, -np.inf]
