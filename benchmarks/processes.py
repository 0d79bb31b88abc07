"""Server processes under test: started, found by the line they print, and asked how much CPU they have used."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and where it listens."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """Return user and system time of the server and of all its descendants so far, in steps of 10 ms."""
        return sum(self.cpu_seconds_apart())

    def cpu_seconds_apart(self) -> tuple[float, float]:
        """Return the same of the server alone, and of its descendants."""
        return spent(self.pid), sum(spent(pid) for pid in family(self.pid) if pid != self.pid)

    def resident_bytes(self, *, most: bool = False) -> int:
        """Return the memory that the server alone has, without its descendants. `most`: that it had so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:" if most else "VmRSS:")[2].split()[0]) * 1024


@contextlib.contextmanager
def running(command: Sequence[str], stderr: IO[str] | None = None) -> Iterator[Server]:
    """Run a server until the block ends. It has to print `serving <name> on <host>:<port>`.

    Args:
        command: starts it.
        stderr: where its log goes.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if match := re.fullmatch(r"serving \S+ on \S+:(\d+)\n", line):
                yield Server(process.pid, int(match[1]))
                break
        else:
            raise RuntimeError(f"{' '.join(command)} exited with {process.wait()}")
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name, which may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def spent(pid: int) -> float:
    """Return user and system time of one process so far, 0 if there is none, in steps of 10 ms."""
    try:
        fields = _stat(pid)
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    family, found = [pid], [pid]
    while found:
        found = [child for parent in found for child in children.get(parent, [])]
        family += found
    return family
