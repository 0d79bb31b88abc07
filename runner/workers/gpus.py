"""Which GPUs this process may use, found out without a GPU library."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

_DEVICE = re.compile(r"nvidia(\d+)")


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs' names, as `CUDA_VISIBLE_DEVICES` lists them; that variable has the last word if it is set."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        names = [name.strip() for name in allowed.split(",") if name.strip()]
        return list(itertools.takewhile(lambda name: name != "-1", names))  # as CUDA reads it: -1 ends the list
    found = (_DEVICE.fullmatch(entry.name) for entry in devices.glob("nvidia*"))
    return sorted((match[1] for match in found if match), key=int)
