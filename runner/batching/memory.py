"""Running out of a device's memory: how it looks, and how to have memory for another try.

Knows torch by name only: a model that does not use it never imports it through here.
"""

from __future__ import annotations

import sys
import traceback


def out_of_memory(exc: BaseException) -> bool:
    """Tell whether an exception is torch's word for a device without memory."""
    return any(
        kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(exc).__mro__
    )


def free_memory(exc: BaseException) -> None:
    """Give back what a run that failed has left: what its frames hold, and what torch keeps for later."""
    if exc.__traceback__ is not None:
        traceback.clear_frames(exc.__traceback__)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
