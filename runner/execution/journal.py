"""What a worker is doing, in memory that it shares with the server and that outlives it.

Before a worker runs anything of a call it marks the call here, and its watchdog counts its pulse here. A mark is one
byte and costs no system call, and it cannot be lost: what a worker has marked can be read after SIGKILL. A message
could say the same only if it left before the call ran, which would wake the server once more for each call.

The layout, with numbers little-endian:

    0       u64    beats of the watchdog
    8       u64    turns of the loop that the watchdog has asked for and seen
    4096    u8     a mark for each of the last `_MARKS` calls, see `Mark`
    69632   f64, u64   runs of methods that have `max_run_seconds`: when each began (0: it does not run), and its call
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_MARKS: Final = 1 << 16
"""Calls whose marks are kept. A worker has some thousand at once at most; marks of older ones are written over."""

_ROUNDS: Final = 85
"""How often the marks are written over before one could be taken for another's: 85 rounds of three values in a byte."""

_RUNS: Final = 4096
"""Limited runs at once; what is beyond is not watched."""

_MARKS_AT: Final = 4096
_RUNS_AT: Final = _MARKS_AT + _MARKS
_RUN: Final = struct.Struct("<dQ")
_COUNTER: Final = struct.Struct("<Q")

JOURNAL_BYTES: Final = _RUNS_AT + _RUNS * _RUN.size


class Mark(enum.IntEnum):
    """How far a call has come in its worker."""

    NONE = 0
    """Nothing of the model has run for it: it may run elsewhere whatever it does."""
    TOUCHED = 1
    """Its input is being opened, which may be what kills a worker; the method has not begun."""
    RUNS = 2
    """Its method may have begun."""


class Pulse(NamedTuple):
    """Signs of life at one instant."""

    beats: int
    """Grows while any of the worker's threads can run."""
    turns: int
    """Grows while the worker's loop turns."""
    runs: Mapping[int, float]
    """By call: the instant, on the `time.monotonic` clock, at which its limited run began."""


class Journal:
    """One journal. The worker writes and the server reads; in one process both use the same object."""

    def __init__(self, memory: mmap.mmap | bytearray | None = None) -> None:
        """Use memory of `JOURNAL_BYTES`; None: memory of this process alone."""
        self._memory = bytearray(JOURNAL_BYTES) if memory is None else memory
        self._free = list(range(_RUNS - 1, -1, -1))  # the first ones are used first

    # The worker's side.

    def mark(self, call_id: int, mark: Mark) -> None:
        """Say how far a call has come. From any thread."""
        self._memory[_MARKS_AT + call_id % _MARKS] = (call_id // _MARKS) % _ROUNDS * 3 + mark

    def mark_all(self, calls: Sequence[int], mark: Mark) -> None:
        """Say how far calls have come: at once if their numbers follow each other. From any thread."""
        if isinstance(calls, range) and calls:
            first, last = calls[0], calls[-1]
            if last - first == len(calls) - 1 and first // _MARKS == last // _MARKS:
                at = _MARKS_AT + first % _MARKS
                self._memory[at : at + len(calls)] = bytes((first // _MARKS % _ROUNDS * 3 + mark,)) * len(calls)
                return
        for call in calls:
            self.mark(call, mark)

    def run_begins(self, call_id: int, now: float) -> int:
        """A limited run begins; return a number for `run_ends`, -1 if too many run to be watched."""
        try:
            slot = self._free.pop()
        except IndexError:
            return -1
        _RUN.pack_into(self._memory, _RUNS_AT + slot * _RUN.size, now, call_id)
        return slot

    def run_ends(self, slot: int) -> None:
        """A run has ended, or waits for somebody else."""
        if slot >= 0:
            _RUN.pack_into(self._memory, _RUNS_AT + slot * _RUN.size, 0.0, 0)
            self._free.append(slot)

    def beat(self, turns: int) -> None:
        """A thread of this process can run, and its loop has turned so often."""
        (beats,) = _COUNTER.unpack_from(self._memory, 0)
        _COUNTER.pack_into(self._memory, 8, turns)
        _COUNTER.pack_into(self._memory, 0, beats + 1)

    def running(self, *calls: int) -> Running:
        """Return a context in which limited runs of these calls are noted."""
        return Running(self, calls)

    def forked(self) -> None:
        """This is a process that was forked: what it does is none of the server's business."""
        self._memory = bytearray(self._memory)

    # The server's side.

    def mark_of(self, call_id: int) -> Mark:
        """Return how far a call had come."""
        written, mark = divmod(self._memory[_MARKS_AT + call_id % _MARKS], 3)
        return Mark(mark) if written == (call_id // _MARKS) % _ROUNDS else Mark.NONE

    def pulse(self) -> Pulse:
        """Return the signs of life."""
        # What is used stands at the front, and is mostly nothing: this is called on the server's loop.
        runs = bytes(self._memory[_RUNS_AT:JOURNAL_BYTES]).rstrip(b"\0")
        runs += bytes(-len(runs) % _RUN.size)
        began = {call: instant for instant, call in _RUN.iter_unpack(runs) if instant}
        (beats,), (turns,) = _COUNTER.unpack_from(self._memory, 0), _COUNTER.unpack_from(self._memory, 8)
        return Pulse(beats, turns, began)

    def __repr__(self) -> str:
        return f"<Journal {self.pulse()}>"


class Running:
    """Limited runs under way: begun when it is entered, ended when it is left."""

    __slots__ = ("_calls", "_journal", "_slots")

    def __init__(self, journal: Journal, calls: Sequence[int]) -> None:
        self._journal = journal
        self._calls = calls
        self._slots: list[int] = []

    def __enter__(self) -> None:
        now = time.monotonic()
        self._slots = [self._journal.run_begins(call, now) for call in self._calls]

    def __exit__(self, *exc_info: object) -> None:
        for slot in self._slots:
            self._journal.run_ends(slot)


def create_shared() -> tuple[Journal, int]:
    """Return a new journal, and a descriptor from which `open_shared` makes the other side. The caller closes it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("runner-journal", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, JOURNAL_BYTES)
    return Journal(mmap.mmap(descriptor, JOURNAL_BYTES)), descriptor


def open_shared(descriptor: int) -> Journal:
    """Return the worker's side of a journal, and close the descriptor."""
    try:
        return Journal(mmap.mmap(descriptor, JOURNAL_BYTES))
    finally:
        os.close(descriptor)
