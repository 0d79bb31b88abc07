"""The bare loop that `benchmarks/gpu.py` compares a server with, and the batch size of both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

BATCH = 64
SIZES = (1, 4, 8, 16, 24, 32, 40, 48, 56, 64)
"""the only sizes in which a convolutional network is run: cuDNN plans anew for each, which takes half a second."""


def print_rate(run: Callable[[], torch.Tensor], seconds: float) -> None:
    """Run batches of `BATCH` one after the other, each with its result on the host; print the items per second."""
    for _ in range(5):
        run().cpu()
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        run().cpu()
        done += BATCH
    print(json.dumps(done / passed))
