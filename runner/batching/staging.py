"""Bringing the values of a batch into one array, padded if they are of different lengths, on the model's device.

On a GPU, tensors are stacked into pinned memory and copied on a stream of their own, so that the copy of the next batch
goes on while the GPU works on this one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runner.batch import Stacking, gather
from runner.batching.padding import padded
from runner.options import Pad


class Blocks(NamedTuple):
    """The values of one argument as arrays of numpy's with a batch axis, which one after the other make the batch."""

    pieces: Sequence[Any]
    size: int
    """Of the batch, which is filled up to it by repeating the last value."""

    def stacked(self, out: Any) -> Any:
        """Write all of it into an array, and return that."""
        position = 0
        for piece in self.pieces:
            out[position : position + len(piece)] = piece
            position += len(piece)
        if position < self.size:
            out[position:] = out[position - 1]
        return out


class Staged:
    """One argument of a batch, on its way to the device."""

    __slots__ = ("_arrived", "_value", "mask")

    def __init__(self, value: Any, mask: Any = None, arrived: Callable[[], None] | None = None) -> None:
        self._value = value
        self._arrived = arrived
        self.mask = mask

    def take(self) -> Any:
        """Return the value. On a GPU: have the current stream wait for it first; called in the device's thread."""
        if self._arrived is not None:
            self._arrived()
        return self._value


class Stager:
    """Stages the arguments of batches for one device."""

    def __init__(self, device: str) -> None:
        """Stage for a device, named as torch does: `cpu`, `cuda:0`."""
        self._device = device
        self._copies: Any = None  # the stream on which copies to a GPU run

    @property
    def copies(self) -> bool:
        """Whether arrays are copied to a device of its own, which takes its time."""
        return self._device.startswith("cuda")

    def stage(self, values: Sequence[Any] | Blocks, stacking: Stacking, pad: Pad | None) -> Staged:
        """Return the values of one argument, as the function will receive them. Blocks are neither lists nor padded.

        Raises:
            InvalidInput: they are arrays of different shapes.
            MostlyPadding: filled up to one shape they would take too much memory.
        """
        if isinstance(values, Blocks):
            return self._stack(values, stacking)
        if stacking is Stacking.LIST:
            return Staged(list(values))
        mask = None
        if pad is not None:
            values, mask = padded(values, stacking, pad)
        if stacking is Stacking.NUMPY or not self.copies:
            return Staged(gather(values, stacking), mask)
        return self._to_gpu(values, mask)

    def _stack(self, blocks: Blocks, stacking: Stacking) -> Staged:
        numpy: Any = sys.modules["numpy"]
        first = blocks.pieces[0]
        shape = (blocks.size, *first.shape[1:])
        if stacking is Stacking.NUMPY:
            return Staged(blocks.stacked(numpy.empty(shape, first.dtype)))
        torch: Any = sys.modules["torch"]
        if not self.copies:
            return Staged(torch.from_numpy(blocks.stacked(numpy.empty(shape, first.dtype))))
        dtype = torch.from_numpy(numpy.empty(0, first.dtype)).dtype
        pinned = torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)
        blocks.stacked(pinned.numpy())
        return self._sent(pinned, None)

    def wait(self) -> None:
        """Wait until a GPU has done all that it was given: until then it has taken note of it, and no more."""
        torch: Any = sys.modules.get("torch")
        if torch is not None and self.copies:
            torch.cuda.synchronize(self._device)

    def _to_gpu(self, values: Sequence[Any], mask: Any) -> Staged:
        torch: Any = sys.modules["torch"]
        pinned = torch.empty((len(values), *values[0].shape), dtype=values[0].dtype, device="cpu", pin_memory=True)
        # To ask costs a fifth of `cpu()`, which lets go of the interpreter for each tensor.
        torch.stack([value if value.is_cpu else value.cpu() for value in values], out=pinned)
        return self._sent(pinned, mask)

    def _sent(self, pinned: Any, mask: Any) -> Staged:
        torch: Any = sys.modules["torch"]
        # Held by this call: the stager's thread and the device's may both be here for the first time.
        copies = self._copies
        if copies is None:
            copies = self._copies = torch.cuda.Stream(self._device)
        with torch.cuda.stream(copies):
            value = pinned.to(self._device, non_blocking=True)
            mask = None if mask is None else mask.pin_memory().to(self._device, non_blocking=True)
            copied = copies.record_event()

        def arrived() -> None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copied)
            for tensor in (value, mask):
                if tensor is not None:
                    tensor.record_stream(stream)  # or its memory would be used again before this stream is done with it

        return Staged(value, mask, arrived)
