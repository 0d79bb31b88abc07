"""A batched method that says where its tensors are."""

from __future__ import annotations

from torch import Tensor

from runner import Batch, ModelClass


class OnGpu(ModelClass):
    """Tensors in, places out."""

    @ModelClass.method(max_batch_size=8)
    def where(self, row: Batch[Tensor]) -> Batch[str]:
        """Say on which device the batch is, and which one this replica has."""
        return [f"{row.device} {self.device}"] * len(row)

    @ModelClass.method(max_batch_size=8)
    def double(self, row: Batch[Tensor]) -> Batch[Tensor]:
        """Double each number."""
        return row * 2
