"""Tensors with a row for each slot: the states of streams, gathered for a batch and scattered back, on the device.

    self.slots = Slots(64)
    self.memory = Rows(torch.zeros(64, 128, device=self.device))

    @ModelClass.batched
    def step(self, chunks: list[Tensor]) -> list[float]:
        rows = [entry.state["row"] for entry in self.context.entries]
        scores, after = self.net(torch.stack(chunks), self.memory.gather(rows))
        self.memory.scatter(rows, after)

A row begins with zeros each time that it is lent. That is done where it is first gathered and not where it is lent: the
last step of the stream that had it before may still be running then, and would write into it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["Rows"]


class Rows:
    """One preallocated tensor, and which lease of each row has been seen. For one thread at a time: the device's.

    Attributes:
        tensor: all rows, for code that indexes by itself.
    """

    def __init__(self, tensor: Any, *, axis: int = 0) -> None:
        """Take a tensor over.

        Args:
            tensor: a torch tensor on the device where it is used.
            axis: the one that counts the rows, as many as there are slots.
        """
        self.tensor = tensor
        self._axis = axis
        self._leases = [0] * int(tensor.shape[axis])
        self._last: tuple[tuple[int, ...], Any] = ((), None)  # streams in step ask for the same rows again and again

    def gather(self, rows: Sequence[int]) -> Any:
        """Return a tensor of these rows, in this order along the same axis: a copy."""
        new: list[int] = []
        for row in rows:
            lease = getattr(row, "lease", 0)  # a plain number is nobody's
            if lease and self._leases[row] != lease:
                self._leases[row] = lease
                new.append(row)
        if new:
            self.tensor.index_fill_(self._axis, self._index(new), 0)
        return self.tensor.index_select(self._axis, self._index(rows))

    def scatter(self, rows: Sequence[int], values: Any) -> None:
        """Write a tensor of the shape that `gather` returns back to these rows, each of which is there once."""
        self.tensor.index_copy_(self._axis, self._index(rows), values)

    def _index(self, rows: Sequence[int]) -> Any:
        key = tuple(rows)
        if self._last[0] == key:
            return self._last[1]
        torch: Any = sys.modules["torch"]  # a tensor was given, so it is there
        on_gpu = self.tensor.is_cuda
        index = torch.tensor([int(row) for row in rows], dtype=torch.int64, device="cpu", pin_memory=on_gpu)
        self._last = (key, index.to(self.tensor.device, non_blocking=True) if on_gpu else index)
        return self._last[1]

    def __repr__(self) -> str:
        return f"<Rows {tuple(self.tensor.shape)} along axis {self._axis}>"
