"""Sets of CPUs as the kernel writes them, such as `0-3,8`, and keeping a process to one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

CpuSet: TypeAlias = frozenset[int]


def read_cpus(text: str) -> CpuSet:
    """Return the CPUs of a list; none of a text that is not one."""
    found: set[int] = set()
    for span in text.split(","):
        first, _, last = span.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return frozenset()
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def write_cpus(cpus: Iterable[int]) -> str:
    """Return the list of these CPUs, in order."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def keep_to(cpus: CpuSet, tasks: Path = Path("/proc/self/task")) -> None:
    """Have all threads of this process, and those that they start, run on these CPUs only.

    Each by its number: what is imported before this is called may have started some.

    Raises:
        OSError: the system does not allow these CPUs, or has no way to choose.
    """
    for task in tasks.iterdir():
        os.sched_setaffinity(int(task.name), cpus)
