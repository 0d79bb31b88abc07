"""A bounded set of threads that run jobs in the order in which they came."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]


class ThreadLane:
    """At most `size` daemon threads, started when needed and kept.

    The queue in front of them has no bound of its own: the server sends a worker no more calls than its lane has
    room for, so a job waits only while the thread before it says goodbye. A job must not raise.
    """

    def __init__(self, name: str, size: int, begin: Callable[[], None]) -> None:
        """Make a lane without threads.

        Args:
            name: the beginning of its threads' names.
            size: threads at most.
            begin: called first thing in each thread.
        """
        self._name = name
        self._size = size
        self._begin = begin
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Run a job in a thread. Called on the loop's thread only."""
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            # A daemon: a model's function that never returns must not keep a drained worker alive.
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let every thread end after the job it has."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        self._begin()
        while (job := self._jobs.get()) is not None:
            job()
            del job  # an idle thread must not keep the last call's arguments alive
            self._idle.release()

    def __repr__(self) -> str:
        return f"<ThreadLane {self._name}: {len(self._threads)} of {self._size} threads, {self._jobs.qsize()} waiting>"
