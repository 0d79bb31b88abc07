"""A bounded set of threads that run jobs in the order in which they came.

A job may hold the interpreter all the time and be over in microseconds, or stand in a wait for seconds, and nobody says
which. Short ones are best run by one thread, one after the other: threads that all want the interpreter wake each other
to no purpose. One that waits must hold up nobody. So threads work, one *stands by*, and the others sleep:

- Whoever takes a job while there are more wakes one thread first, unless one stands by already.
- Who stands by has to wait for the interpreter, as everybody. It gets it at once if the job waits for something, and
  otherwise after the interval (`sys.setswitchinterval`), by when short jobs may all be done. Then it takes the next.
- Whoever is done with a short job goes to sleep if others got on meanwhile and somebody stands by.

So a thread is woken for each job that waits, and for some ten of those that do not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import Final, TypeAlias

Job: TypeAlias = Callable[[], None]

_SHORT: Final = 200e-6
"""seconds; of a job that takes less, most is likely to need the interpreter."""


class ThreadLane:
    """At most `size` daemon threads, started when needed and kept.

    The queue in front of them has no bound of its own: the server sends a worker no more calls than its lane has
    room for, so a job waits only while the thread before it says goodbye. A job must not raise. It runs in a context
    (`contextvars`) of its own.

    All threads read and write the fields, without a lock: operations of a deque are whole, a second thread that stands
    by for a moment does no harm, and a count that is missed keeps one thread awake. What must not be is that jobs wait,
    nobody stands by and somebody sleeps. Hence: who brings a job looks for somebody second; who stands by says so no
    more first, and looks for jobs second; who goes to sleep can be woken first, and looks for jobs once more second.
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
        self._jobs: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._asleep: deque[threading.Lock] = deque()  # each waits for its own; the last has the warmest caches
        self._standing_by = False  # somebody was woken who has not looked for jobs yet
        self._done = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run a job in a thread. Called on the loop's thread only.

        Raises:
            RuntimeError: the system lets this process have no thread at all.
        """
        self._jobs.append(job)
        self._wake_one()
        if not self._threads:
            self._jobs.clear()
            raise RuntimeError("no thread can be started")

    def close(self) -> None:
        """Let every thread end once no jobs are left."""
        self._closed = True
        self._wake_one()

    def _wake_one(self) -> None:
        """See that somebody stands by, as far as there are threads."""
        while not self._standing_by:
            self._standing_by = True
            try:
                bed = self._asleep.pop()
            except IndexError:
                if len(self._threads) < self._size and self._start():
                    return
            else:
                bed.release()
                return
            self._standing_by = False
            if not self._asleep:  # else somebody went there meanwhile, and relied on what was said just before
                return

    def _start(self) -> bool:
        """Start one more thread; return False if there are to be no more."""
        with self._starting:
            number = len(self._threads)
            if number == self._size or self._closed:
                return False
            # A daemon: a model's function that never returns must not keep a drained worker alive.
            thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more for us: those that there are do the work
                return False
            self._threads.append(thread)
            return True

    def _work(self) -> None:
        self._begin()
        bed = threading.Lock()
        bed.acquire()
        while True:
            self._standing_by = False
            self._run_jobs()
            if self._closed and not self._jobs:
                self._wake_one()  # to end as well
                return
            self._asleep.append(bed)
            if self._jobs or self._closed:
                self._wake_one()
            bed.acquire()

    def _run_jobs(self) -> None:
        """Run jobs until there are none, or others can do with one thread less."""
        jobs = self._jobs
        while True:
            try:
                job = jobs.popleft()
            except IndexError:
                return
            if jobs:
                self._wake_one()
            before, began = self._done, perf_counter()
            copy_context().run(job)  # what it sets there, the next job is not to see
            del job  # an idle thread must not keep the last call's arguments alive
            others_got_on, self._done = self._done != before, self._done + 1
            if others_got_on and self._standing_by and perf_counter() - began < _SHORT:
                return

    def __repr__(self) -> str:
        return (
            f"<ThreadLane {self._name}: {len(self._threads)} of {self._size} threads, {len(self._asleep)} asleep, "
            f"{len(self._jobs)} jobs waiting>"
        )
