"""The number of threads that torch computes with, carried from the thread that loaded the model to those that run it.

`torch.set_num_threads(1)` in `load_model` holds for the thread that said it. A fresh thread starts with what the
process was started with, and two of them that compute with all cores at once wait for each other, spinning.
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

    def apply() -> None:
        torch.set_num_threads(threads)

    return apply


def _nothing() -> None:
    """Do nothing: the model computes without torch."""
