"""Telling a hung worker from a busy one. Pure: whoever looks owns the clock, and asks the kernel when told to.

The worker's watchdog is a thread, and beats while any thread of the process can run. A worker that computes without
letting go of the interpreter's lock does not beat, and is alive: the kernel says that it computes. So a silent worker
is given up when it was stopped (SIGSTOP), or when it is silent for long and has not computed either.

Time is counted in looks and not by the clock: a server that was stopped itself finds nobody silent.
"""

from __future__ import annotations

from typing import Final

from runner.execution.journal import Pulse
from runner.workers.vitals import Vitals

LOOK_EVERY: Final = 1.0
"""seconds between two looks."""

STOPPED_LOOKS: Final = 3
"""Looks without a beat after which a stopped worker is given up."""

SILENT_LOOKS: Final = 30
"""Looks in a row without a beat and without computing after which a worker is given up."""

_COMPUTED: Final = 0.01
"""seconds of computing between two looks, below which a process does not compute."""


class Liveness:
    """One worker's."""

    def __init__(self) -> None:
        self._beats: int | None = None
        self._silent = 0
        self._asleep = 0
        self._cpu_seconds: float | None = None

    def beating(self, pulse: Pulse) -> bool:
        """Take a look; False if the worker is silent, so that the kernel has to be asked for `silent`."""
        if pulse.beats != self._beats:
            self._beats = pulse.beats
            self._silent = self._asleep = 0
            self._cpu_seconds = None
            return True
        self._silent += 1
        return False

    def silent(self, vitals: Vitals, *, loading: bool = False) -> str | None:
        """Return why a silent worker is given up, None if it is not.

        Args:
            vitals: what the kernel says.
            loading: it loads its model, which may take any time, and may wait for a disk.
        """
        if vitals.stopped:
            if self._silent >= STOPPED_LOOKS:
                return "was stopped by a signal, and did not go on"
            return None
        if loading:
            return None
        before, self._cpu_seconds = self._cpu_seconds, vitals.cpu_seconds
        if before is not None and vitals.cpu_seconds is not None and vitals.cpu_seconds - before >= _COMPUTED:
            self._asleep = 0
            return None
        self._asleep += 1
        if self._asleep >= SILENT_LOOKS:
            return f"gave no sign of life for {SILENT_LOOKS * LOOK_EVERY:.0f} s"
        return None

    def __repr__(self) -> str:
        return f"<Liveness silent for {self._silent} looks>"
