"""A small network, 512-1024-1024-512, whose batch of 32 takes a millisecond: the transport is what counts."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from runner import Batch, ModelClass

WIDTHS = (512, 1024, 1024, 512)
BATCH = 32


def network() -> torch.nn.Module:
    """Return the network, with one thread for it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for width, wider in itertools.pairwise(WIDTHS):
        layers += [torch.nn.Linear(width, wider), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


class Mlp(ModelClass):
    """The same network for batches, and for each call by itself."""

    def load_model(self) -> None:
        """Make the network."""
        self.net = network()

    @ModelClass.method(max_batch_size=BATCH)
    def predict(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        """Rows float32 (512,) in and out."""
        with torch.inference_mode():
            return self.net(torch.from_numpy(row)).numpy()

    @ModelClass.method
    def alone(self, row: np.ndarray) -> np.ndarray:
        """The same for one row."""
        with torch.inference_mode():
            return self.net(torch.from_numpy(row)[None]).numpy()[0]
