"""Arrays of numbers. What a method receives is writable, aligned, and its own: nobody else has its memory.

Imports numpy, so it is loaded only where a signature has an array.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from runner.errors import InvalidInput
from runner.wire.message import APART_FROM
from runner.wire.mismatch import EncodeError, misplaced, needs
from runner.wire.payload import VIEW_FROM
from runner.wire.value import ApartCodec, ContentCodec, RowFilling, RowsCodec, ValueCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from runner.wire.payload import Payload
    from runner.wire.pb import inference_pb2 as pb

_KINDS: Final = "iufc"  # integers, unsigned, floats, complex: never bool, str, object or structs
_MAX_NAME: Final = 16

_MAX_DIMENSIONS: Final = 64
"""numpy has no array with more. Looked at before the product of a shape, which grows with each of them."""


def codec(declared: str | None) -> ValueCodec:
    """Return the codec of arrays; see `reader` for the dtype."""
    read = reader(declared)

    def decode(data: pb.Data) -> NDArray[Any]:
        if not data.HasField("ndarray"):
            raise misplaced(data, "an array")
        message = data.ndarray
        return read(message, message.buffer)

    def decode_apart(data: pb.Data, numbers: memoryview) -> NDArray[Any]:
        return read(data.ndarray, numbers)

    return ValueCodec(
        decode,
        encode,
        has_zero=False,
        apart=ApartCodec(decode_apart, encode_apart),
        inner=ContentCodec(
            _sent, functools.partial(_Filling, declared), _kind, _content, RowsCodec(_kind_of_rows, _framed)
        ),
    )


def _sent(data: pb.Data) -> bytes:
    return data.ndarray.buffer


class _Filling(RowFilling):
    """Makes arrays of the shape and dtype of one that was read well."""

    def __init__(self, declared: str | None, data: pb.Data) -> None:
        self._sent, self._shape = dtype_of(data.ndarray.dtype), tuple(data.ndarray.shape)
        self._target = self._sent.newbyteorder("=") if declared is None else np.dtype(declared)
        self._count, self._same = math.prod(self._shape), self._sent == self._target
        self._size = self._count * self._sent.itemsize

    def __call__(self, payload: Payload, start: int, end: int) -> NDArray[Any]:
        if end - start != self._size:
            raise ValueError("not the size that it was learned with")
        array = np.frombuffer(payload, self._sent, self._count, start).reshape(self._shape)
        if self._same:
            return array if array.flags.behaved else array.copy()
        with np.errstate(over="ignore"):  # as in `reader`
            return array.astype(self._target)

    def rows(self, payload: Payload, start: int, stride: int, count: int) -> NDArray[Any]:
        if start + stride * (count - 1) + self._size > len(payload):
            raise ValueError("the rows end behind their payload")
        lengths = [self._sent.itemsize]
        for length in reversed(self._shape[1:]):
            lengths.append(lengths[-1] * length)
        strides = (stride, *reversed(lengths[: len(self._shape)]))
        rows = np.ndarray((count, *self._shape), self._sent, payload, start, strides)
        if self._same:
            return rows
        with np.errstate(over="ignore"):
            return rows.astype(self._target)


def _kind_of_rows(values: object) -> Hashable:
    if type(values) is not np.ndarray or values.ndim < 2:
        return None
    dtype = values.dtype
    return (dtype, values.shape[1:]) if dtype.isnative and dtype.kind in _KINDS else None


def _framed(values: object, before: bytes, after: bytes) -> Payload:
    rows = np.ascontiguousarray(cast("NDArray[Any]", values))
    count = len(rows)
    numbers = rows.view(np.uint8).reshape(count, -1) if rows.size else np.empty((count, 0), np.uint8)
    framed = np.empty((count, len(before) + numbers.shape[1] + len(after)), np.uint8)
    framed[:, : len(before)] = np.frombuffer(before, np.uint8)
    framed[:, len(before) : len(before) + numbers.shape[1]] = numbers
    if after:
        framed[:, -len(after) :] = np.frombuffer(after, np.uint8)
    return framed.reshape(-1).data


def _kind(value: object) -> Hashable:
    if type(value) is not np.ndarray:
        return None
    dtype = value.dtype
    return (dtype, value.shape) if dtype.isnative and dtype.kind in _KINDS else None


def _content(value: object) -> Payload:
    array = cast("NDArray[Any]", value)
    return array.tobytes() if array.nbytes < VIEW_FROM else _bytes_of(array)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the numbers of an array in C's order, where they lie if they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def reader(declared: str | None) -> Callable[[pb.NDArray, Payload], NDArray[Any]]:
    """Return the function that makes an array of its message and of its numbers.

    The array lies where the numbers do if they can be written to, are of the right type and are aligned.

    Args:
        declared: the dtype the method works with, None for any; what arrives is converted if nothing but precision
            can be lost.
    """
    wanted = None if declared is None else np.dtype(declared)

    @functools.lru_cache(maxsize=64)
    def conversion(name: str) -> tuple[np.dtype[Any], np.dtype[Any], int, bool]:
        sent = dtype_of(name)
        target = sent.newbyteorder("=") if wanted is None else wanted
        if not np.can_cast(sent, target, "same_kind"):
            raise InvalidInput(f"needs an array of {target}, got one of {sent}")
        return sent, target, sent.itemsize, sent == target

    def read(message: pb.NDArray, buffer: Payload) -> NDArray[Any]:
        sent, target, itemsize, same = conversion(message.dtype)
        if len(message.shape) > _MAX_DIMENSIONS:
            raise InvalidInput(f"there is no array of {len(message.shape)} dimensions")
        shape = tuple(message.shape)
        size = math.prod(shape) * itemsize
        if size != len(buffer):
            raise InvalidInput(
                f"an array of {_words(shape)} and dtype {sent} has {size} bytes, but {len(buffer)} were sent"
            )
        try:
            array = np.frombuffer(buffer, sent).reshape(shape)
            # Behaved: writable and aligned. Not aligned, numpy takes three times as long for whatever comes next.
            if same and array.flags.behaved:
                return array
            with np.errstate(over="ignore"):  # beyond the target's range is infinite there
                return array.astype(target)
        except ValueError as exc:  # larger dimensions than numpy has
            raise InvalidInput(f"there is no array of {_words(shape)}: {exc}") from None

    return read


def _words(shape: tuple[int, ...]) -> str:
    return f"shape {shape}" if len(shape) <= 8 else f"{len(shape)} dimensions"


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype that a message names.

    Raises:
        InvalidInput: it is none, or not one of numbers.
    """
    try:
        dtype = np.dtype(name) if name and len(name) <= _MAX_NAME else None
    except Exception:  # numpy parses a small language here, with several kinds of error
        dtype = None
    if dtype is None or dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise InvalidInput(f"needs an array of numbers, got one of dtype {name[:_MAX_NAME]!r}")
    return dtype


def encode(value: object, data: pb.Data) -> None:
    """Write an array, a torch tensor, a number, or nested lists of numbers.

    Raises:
        EncodeError: it does not hold numbers.
    """
    message = data.ndarray
    message.buffer = _described(value, message).tobytes()


def encode_apart(value: object, data: pb.Data) -> memoryview | None:
    """Do as `encode` does, but return the numbers of a large array instead of copying them into the message."""
    message = data.ndarray
    array = _described(value, message)
    if array.nbytes < APART_FROM:
        message.buffer = array.tobytes()
        return None
    return _bytes_of(array)


def _described(value: object, message: pb.NDArray) -> NDArray[Any]:
    """Return a value as an array in the machine's order of bytes, after writing its shape and dtype."""
    array = _as_array(value)
    dtype = array.dtype
    if dtype.kind not in _KINDS:
        raise EncodeError(f"needs an array of numbers, got one of dtype {dtype}")
    message.dtype = _name(dtype)
    message.shape.extend(array.shape)
    if not dtype.isnative:  # the name says nothing of the order of bytes
        array = array.astype(dtype.newbyteorder("="))
    return array


@functools.lru_cache(maxsize=64)
def _name(dtype: np.dtype[Any]) -> str:
    """Return a dtype's name, which numpy composes anew at each look."""
    return dtype.name


def _as_array(value: object) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise EncodeError("needs an array of numbers, got a masked one; say what stands behind its mask with .filled()")
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(cast(Any, value))
    torch: Any = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = cast(Any, value).detach().cpu()
        if tensor.dtype == torch.bfloat16:  # numpy has no such type; float32 holds every value of it
            tensor = tensor.float()
        return tensor.resolve_conj().resolve_neg().numpy()
    if isinstance(value, list | tuple | int | float | complex) and not isinstance(value, bool):
        if isinstance(value, list | tuple) and _holds_text(cast("Sequence[object]", value), _MAX_DIMENSIONS):
            raise EncodeError("needs an array of numbers, got lists that hold text")
        try:
            return np.asarray(value)
        except (ValueError, OverflowError):
            raise EncodeError("the lists are no array: their lengths differ, or they hold other things") from None
    raise needs("an array", value)


def _holds_text(items: Sequence[object], depth: int) -> bool:
    """Tell whether there is text in nested lists: numpy would give every element the room of the longest.

    Raises:
        EncodeError: they are nested deeper than an array has dimensions.
    """
    if depth == 0:
        raise EncodeError(f"the lists are no array: they are nested deeper than {_MAX_DIMENSIONS}")
    kinds = set(map(type, items))
    if str in kinds or bytes in kinds:
        return True
    if list not in kinds and tuple not in kinds:
        return False
    return any(_holds_text(cast("Sequence[object]", item), depth - 1) for item in items if type(item) in (list, tuple))
