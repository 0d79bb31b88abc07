"""A model that imports torch, which its server process must not."""

import torch

from runner import ModelClass


class WithTorch(ModelClass):
    @ModelClass.method
    def predict(self, size: int) -> float:
        return torch.ones(size).sum()  # type: ignore[return-value]  # a 0-d tensor is accepted where float is declared
