"""What a worker process has to survive, and what it may not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

from runner import ModelClass


class Spawned(ModelClass):
    """Prints, exits, hangs."""

    def load_model(self) -> None:
        print("printed while loading")

    @ModelClass.method
    def shout(self, text: str) -> str:
        return text.upper()

    @ModelClass.method
    def pid(self) -> int:
        return os.getpid()

    @ModelClass.method
    def cpus(self) -> list[list[int]]:
        """The sets of CPUs that the threads of this process may run on."""
        tasks = [int(name) for name in os.listdir("/proc/self/task")]
        return [list(cpus) for cpus in {tuple(sorted(os.sched_getaffinity(task))) for task in tasks}]

    @ModelClass.method
    def say(self, text: str) -> str:
        print(text)
        return "said"

    @ModelClass.method
    def leave(self) -> str:
        sys.exit("leaving")

    @ModelClass.method
    def die(self) -> str:
        os._exit(7)

    @ModelClass.method
    def hang(self) -> Iterator[str]:
        """Says that it runs, and then neither returns nor looks at anything."""
        yield "hanging"
        while True:
            time.sleep(60)

    @ModelClass.method
    def die_saying(self, text: str) -> str:
        print(text, file=sys.stderr)
        signal.raise_signal(signal.SIGSEGV)  # in this thread, as a bug in C does
        return "never"

    @ModelClass.method
    def fork(self) -> int:
        """Forks a process that keeps everything that is open here; returns its id."""
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        return child

    @ModelClass.method(max_run_seconds=0.2)
    def hang_limited(self) -> str:
        time.sleep(60)
        return "never"

    @ModelClass.method
    def hold_the_lock(self, seconds: float) -> float:
        """Holds the interpreter's lock and computes, in one call into C."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            sum(range(10_000_000))
        return seconds

    @ModelClass.method
    def leave_a_child(self) -> int:
        """Starts a process that outlives its worker; returns its id."""
        return subprocess.Popen(["sleep", "30"], close_fds=False).pid

    @ModelClass.method
    async def live_or_die(self, text: str) -> str:
        """Dies if it is told to "die"."""
        if text == "die":
            os._exit(7)
        return text.upper()

    @ModelClass.method
    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    @ModelClass.method
    def weigh(self, data: str) -> int:
        return len(data)
