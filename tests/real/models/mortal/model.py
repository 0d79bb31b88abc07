"""A model whose worker dies on demand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from runner import ModelClass


class Mortal(ModelClass):
    """Kills its own process."""

    @ModelClass.method
    def pid(self) -> int:
        return os.getpid()

    @ModelClass.method
    def die(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "not reached"

    @ModelClass.method(idempotent=True)
    def die_once(self, traces: str) -> str:
        """Die if nobody has died here before; `traces` is a file that remembers."""
        if not Path(traces).exists():
            Path(traces).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    @ModelClass.method(idempotent=True)
    def die_always(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "not reached"
