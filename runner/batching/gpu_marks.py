"""How long a GPU itself takes for a run: the time between two marks in its own queue of work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class GpuMarks:
    """See `device.Marks`."""

    def __init__(self, device: str) -> None:
        self._device = device

    def around(self, function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
        """See `device.Marks`."""
        torch: Any = sys.modules.get("torch")
        if torch is None:  # a model on a GPU that does without torch
            return function(argument), 0.0
        with torch.cuda.device(self._device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            result = function(argument)
            end.record()
            end.synchronize()
        return result, begin.elapsed_time(end) / 1000
