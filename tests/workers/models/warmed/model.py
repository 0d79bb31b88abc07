"""Batched methods that say on which threads they have run, at warm-up and since."""

from __future__ import annotations

import threading

from runner import Batch, ModelClass


class Warmed(ModelClass):
    """Every answer names all runs of its method so far, this one the last: the thread, and the size of the batch."""

    def load_model(self) -> None:
        """Note where this is."""
        self.loaded_by = threading.get_native_id()
        self.runs: dict[str, list[tuple[int, int]]] = {"named": [], "measured": []}

    @ModelClass.method(max_batch_size=4, batch_sizes=(1, 4))
    def named(self, text: Batch[str]) -> Batch[list[tuple[int, int]]]:
        """Run in sizes that are named."""
        return self._ran("named", len(text))

    @ModelClass.method(max_batch_size="auto")
    def measured(self, text: Batch[str]) -> Batch[list[tuple[int, int]]]:
        """Run in sizes up to the one that was found to pay."""
        return self._ran("measured", len(text))

    @ModelClass.method
    def loaded(self) -> int:
        """Name the thread of `load_model`."""
        return self.loaded_by

    def _ran(self, method: str, size: int) -> list[list[tuple[int, int]]]:
        self.runs[method].append((threading.get_native_id(), size))
        return [self.runs[method]] * size
