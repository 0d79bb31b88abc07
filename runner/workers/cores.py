"""How many CPU cores this process may use: its affinity, and what its control group allows."""

from __future__ import annotations

import math
import os
from pathlib import Path

from runner.workers.cpu_list import CpuSet


def usable_cpus() -> CpuSet:
    """Return the numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cores(process: Path = Path("/proc/self"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores, at least 1. A container's CPU limit counts, rounded up."""
    cores = len(usable_cpus())
    quota = _quota(process, groups)
    return max(min(cores, cores if quota is None else math.ceil(quota)), 1)


def _quota(process: Path, groups: Path) -> float | None:
    """Return the cores that the control group (version 2) allows, None if it sets no limit."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    lowest: float | None = None
    group = groups / path.strip("/")
    while True:
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):  # none here: the root has no limit, or it is another version
            quota = "max"
            period = "1"
        if quota != "max":
            allowed = int(quota) / int(period)
            lowest = allowed if lowest is None else min(lowest, allowed)
        if group in (groups, group.parent):
            return lowest
        group = group.parent
