"""Batched methods that do nothing: what is left is what an input costs the server and the worker."""

from __future__ import annotations

import numpy as np

from runner import Batch, ModelClass

BATCH = 64


class Nothing(ModelClass):
    """The answer to everything is zero, as large as that of an embedder or of a classifier."""

    def load_model(self) -> None:
        """Make the answers."""
        self.vectors = np.zeros((BATCH, 384), np.float32)
        self.scores = np.zeros((BATCH, 1000), np.float32)

    @ModelClass.method(max_batch_size=BATCH)
    def embed(self, item: Batch[str]) -> Batch[np.ndarray]:
        """Take a text, give float32 (384,)."""
        return self.vectors[: len(item)]

    @ModelClass.method(max_batch_size=BATCH)
    def classify(self, item: Batch[np.ndarray]) -> Batch[np.ndarray]:
        """Take uint8 (224, 224, 3), give float32 (1000,)."""
        return self.scores[: len(item)]
