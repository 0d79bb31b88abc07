"""How torch computes, carried from the thread that loaded the model to those that run it.

`torch.set_num_threads(1)` and `torch.set_grad_enabled(False)` in `load_model` hold for the thread that said them. A
fresh thread starts with as many as the process was started with, and two of them that compute with all cores at once
wait for each other, spinning. It records for gradients, which takes time, and memory for every step between. And its
new tensors are on the CPU, whatever `torch.set_default_device` said. The rest is the whole process's, as the default
dtype is, or meant for a block, as autocast is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def inherited() -> Callable[[], None]:
    """Return a function that makes another thread compute as this one would. Called where the model was loaded."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return _nothing
    threads: int = torch.get_num_threads()
    gradients: bool = torch.is_grad_enabled()
    device: Any = torch.get_default_device()

    def apply() -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        if device.type != "cpu":  # to say it makes every function of torch's a little slower
            torch.set_default_device(device)

    return apply


def _nothing() -> None:
    """Do nothing: the model computes without torch."""
