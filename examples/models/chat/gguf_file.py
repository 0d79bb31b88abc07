"""A GGUF file: named fields, and tensors in a few bits a number.

The package `gguf` reads such files too, but takes 5 seconds for the 150,000 words of a vocabulary.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class GgufFile:
    """The fields by name, and the tensors when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read the head of a file.

        Raises:
            ValueError: it is none of this kind.
        """
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._place = 0
        magic, version, tensors, fields = self._unpack("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{path} is no GGUF file of version 2 or 3")
        self.fields: dict[str, Any] = {}
        for _ in range(fields):
            name = self._text()
            self.fields[name] = self._value(*self._unpack("I"))
        self._tensors: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(tensors):
            name = self._text()
            (axes,) = self._unpack("I")
            shape = self._unpack(f"{axes}Q")[::-1]  # the file has the fastest axis first
            kind, offset = self._unpack("IQ")
            self._tensors[name] = shape, kind, offset
        alignment: int = self.fields.get("general.alignment", 32)
        self._begin = -(-self._place // alignment) * alignment

    @property
    def names(self) -> list[str]:
        """Names of the tensors."""
        return list(self._tensors)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor in float32, writable."""
        shape, kind, offset = self._tensors[name]
        quantization = gguf.GGMLQuantizationType(kind)
        rows = gguf.quant_shape_to_byte_shape(shape, quantization)
        stored = np.frombuffer(self._data, np.uint8, int(np.prod(rows)), self._begin + offset).reshape(rows)
        if quantization is gguf.GGMLQuantizationType.F32:
            return stored.view(np.float32).copy()
        return gguf.dequantize(stored, quantization)

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        layout = f"<{layout}"
        found = struct.unpack_from(layout, self._data, self._place)
        self._place += struct.calcsize(layout)
        return found

    def _text(self) -> str:
        (size,) = self._unpack("Q")
        begin, self._place = self._place, self._place + size
        return self._data[begin : self._place].decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind != _ARRAY:
            return self._unpack(_SCALARS[kind])[0]
        kind, count = self._unpack("IQ")
        if kind in (_TEXT, _ARRAY):
            return [self._value(kind) for _ in range(count)]
        return list(self._unpack(f"{count}{_SCALARS[kind]}"))
