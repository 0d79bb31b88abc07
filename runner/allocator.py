"""Memory as Python has no function for it: two wishes to glibc's allocator, and bytes that nobody has cleared.

A message of 150 KB is large to glibc: it asks the kernel for the memory and gives it back afterwards, and the kernel
clears every page of the next one again. That was a fifth to a third of what such a call costs (`scripts/bench --only
arrays`), so freed memory is kept for the next message.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

_LARGE: Final = 32 * 1024 * 1024
"""bytes from which memory is the kernel's to give and to take; more than this glibc does not accept."""

_KEPT: Final = 16 * 1024 * 1024
"""bytes of freed memory at the end of the heap that are kept: a hundred messages of 150 KB."""

_new = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new.restype = ctypes.py_object
_new.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]

_SAID: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Variables by which a person has decided about memory already, perhaps for another allocator."""


def keep_freed_memory() -> None:
    """Have freed memory of middle size kept for the next message of that size. Of no effect without glibc."""
    if sys.platform != "linux" or any(os.environ.get(name) for name in _SAID):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def uncleared(size: int) -> memoryview:
    """Return so many bytes of memory that hold anything: all of them are to be written before anybody sees them.

    To clear 200 MB would stop a loop for longer than anything else, and to clear 150 KB costs a third of filling it.
    The kernel has no page for what was not written yet.
    """
    return memoryview(_new(None, size))
