"""Two wishes to the Linux kernel that Python has no function for. Elsewhere they are silently not granted."""

from __future__ import annotations

import ctypes
import os
import sys

_SET_PDEATHSIG = 1
_SET_TIMERSLACK = 29


def die_with_parent(signal_number: int, parent: int) -> bool:
    """Have the kernel send this process a signal when the thread that started it ends.

    Args:
        signal_number: the signal.
        parent: the process that has started this one.

    Returns:
        False if the parent is gone already: it ended before the kernel was asked, and will end no second time.
    """
    _prctl(_SET_PDEATHSIG, signal_number)
    return os.getppid() == parent


def set_timer_slack(nanoseconds: int) -> None:
    """Let timers of this thread, and of those it starts, be late by so much; the kernel's default is 50 µs."""
    _prctl(_SET_TIMERSLACK, nanoseconds)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
