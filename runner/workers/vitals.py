"""What the kernel says of a process whose threads say nothing: whether it is stopped, and whether it computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

_STATE, _USER_TICKS, _SYSTEM_TICKS, _RESIDENT_PAGES = 0, 11, 12, 21
"""Fields of /proc/PID/stat behind the program's name, see proc_pid_stat(5)."""

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Vitals(NamedTuple):
    """One look at a process."""

    stopped: bool
    """It was stopped by a signal (SIGSTOP), and runs on only after another."""
    cpu_seconds: float | None
    """What all its threads have computed so far; None where nobody tells."""
    resident_bytes: int | None = None
    """Memory that it has at present; None where nobody tells."""


def read_vitals(pid: int) -> Vitals:
    """Look at a process. One that is gone is not stopped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it is gone, or this is not Linux
        return Vitals(stopped=False, cpu_seconds=None)
    fields = stat[stat.rindex(")") + 2 :].split()  # the name stands in brackets, and may hold anything
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return Vitals(fields[_STATE] == "T", ticks * _TICK, int(fields[_RESIDENT_PAGES]) * _PAGE)
