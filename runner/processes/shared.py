"""Long payloads in memory that two processes share: one lays them there, the other reads them in place.

There is one piece of memory for each direction, a memfd: it has no name, uses nothing of /dev/shm, and is gone with the
last process that has it. Of the two ends only the sender decides what lies where (`SharedWriter`); it keeps that to
itself, and so nothing that the other process does, or leaves undone when it dies, can confuse it. A message says where
its payload lies, in what `framing.py` writes.

A payload is the receiver's for as long as anything looks at it: a message that waits, an array that a model keeps. When
the last view is gone, in whatever thread, the receiver sets one byte in a table at the front of the memory
(`SharedReader`). That costs no system call and no message, and the sender looks there before it lays down the next
payload. Whoever finds no room waits for nothing: the payload goes over the socket.

    0                  u8   for each page: 1 if a payload that began there is not looked at any more
    the table's end    the pages
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from runner.processes.blocks import Blocks
from runner.wire.array_scan import numbers_at
from runner.wire.payload import Payload

SHARED_FROM: Final = 32 * 1024
"""bytes of a payload from which on it is shared. Below, the socket is as fast (`docs/performance.md`)."""

MAX_SHARED: Final = 4 * 1024 * 1024
"""bytes of a payload up to which it is shared. To copy one stops the loop for a millisecond; longer ones go in pieces,
with short messages between them."""

_PAGE: Final = mmap.PAGESIZE

_ALIGNED: Final = 64
"""What the address of a large array's numbers is a multiple of: more than any type of them needs."""

_KEPT: Final = 8 * 1024 * 1024
"""bytes at the front that stay in memory. What a busy moment has used behind them is given back to the kernel."""

_DONE: Final = 1
_MARK: Final = bytes([_DONE])


class _Draft(NamedTuple):
    """A payload that lies in the memory and was not sent yet."""

    position: int
    size: int
    owner: weakref.ref[ctypes.Array[ctypes.c_ubyte]]


class SharedWriter:
    """The sender's end. Any thread may use it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._start = _table_bytes(len(memory))
        self._blocks = Blocks((len(memory) - self._start) // _PAGE)
        self._lock = threading.Lock()
        self._all = ctypes.c_ubyte * len(memory)
        self._process = os.getpid()
        self._drafts: dict[int, _Draft] = {}  # by what all views of each are of

    def put(self, payload: Payload) -> int:
        """Lay down a payload that is sent now; return the position where it lies, -1 if it goes another way."""
        if type(payload) is memoryview and (draft := self._drafts.get(id(payload.obj))) is not None:
            if len(payload) != draft.size:
                return -1
            del self._drafts[id(payload.obj)]  # from here on it is the receiver who says that it is done with
            return draft.position
        size = len(payload)
        if not SHARED_FROM <= size <= MAX_SHARED:
            return -1
        shift = -numbers_at(payload) % _ALIGNED
        position = self._take(shift + size)
        if position >= 0:
            position += shift
            self._memory[position : position + size] = payload
        return position

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """Put together a payload that may be sent later, there at once if there is room.

        Once no view of it is left and it was not sent, its place is free again.
        """
        size = sum(map(len, pieces))
        position = self._take(size) if SHARED_FROM <= size <= MAX_SHARED else -1
        if position < 0:
            return b"".join(pieces)
        owner = self._all.from_buffer(self._memory)
        key, page = id(owner), (position - self._start) // _PAGE
        self._drafts[key] = _Draft(
            position, size, weakref.ref(owner, partial(_returned, self._drafts, key, self._memory, page, self._process))
        )
        view = memoryview(owner).cast("B")[position : position + size]
        filled = 0
        for piece in pieces:
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return view

    def _take(self, size: int) -> int:
        """Return the position of a block of so many bytes, -1 if there is no room."""
        with self._lock:
            self._sweep()
            page = self._blocks.take(-(-size // _PAGE))
        return -1 if page < 0 else self._start + page * _PAGE

    def _sweep(self) -> None:
        """Take back what is not looked at any more."""
        memory, blocks = self._memory, self._blocks
        marks = memory[: blocks.reached]
        page = marks.find(_MARK)
        while page >= 0:
            memory[page] = 0
            blocks.free(page)  # where none begins, the other end has marked nonsense
            page = marks.find(_MARK, page + 1)
        if not blocks.taken and blocks.reached * _PAGE > _KEPT:
            blocks.reached = _KEPT // _PAGE
            memory.madvise(mmap.MADV_REMOVE, self._start + _KEPT, len(memory) - self._start - _KEPT)

    def __repr__(self) -> str:
        return f"<SharedWriter {self._blocks}>"


class SharedReader:
    """The receiver's end."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._start = _table_bytes(len(memory))
        self._all = ctypes.c_ubyte * len(memory)
        self._process = os.getpid()
        self._lent: dict[int, weakref.ref[ctypes.Array[ctypes.c_ubyte]]] = {}  # by page: what all views are of

    def view(self, position: int, size: int) -> memoryview:
        """Return a payload where it lies; nothing else comes to lie there while any view of it lives.

        Raises:
            ValueError: it cannot lie there.
        """
        page, shift = divmod(position - self._start, _PAGE)
        if (
            shift >= _ALIGNED
            or page < 0
            or not SHARED_FROM <= size <= MAX_SHARED
            or position + size > len(self._memory)
        ):
            raise ValueError(f"a payload of {size} bytes at {position}, in {len(self._memory)} bytes of shared memory")
        # All views are of this object, and keep it: Python has no other that tells when the last one is gone.
        owner = self._all.from_buffer(self._memory)
        self._lent[page] = weakref.ref(owner, partial(_returned, self._lent, page, self._memory, page, self._process))
        return memoryview(owner).cast("B")[position : position + size]

    @property
    def lent(self) -> int:
        """How many payloads are still looked at."""
        return len(self._lent)

    def __repr__(self) -> str:
        return f"<SharedReader {self.lent} payloads>"


def _returned(lent: dict[int, Any], key: int, memory: mmap.mmap, page: int, process: int, owner: object) -> None:
    """The last view of a payload is gone. In any thread, and wherever the garbage collector runs: no lock, no loop."""
    lent.pop(key, None)  # first: once the mark is set, the next payload may come to lie there
    if os.getpid() == process:  # a process that a model has forked lets go of its views, and not of ours
        memory[page] = _DONE


class Shared(NamedTuple):
    """What one process has of both directions."""

    writer: SharedWriter
    reader: SharedReader


def create_pair(size: int) -> tuple[Shared, tuple[int, int]]:
    """Return the server's ends of new memory, and descriptors from which `open_pair` makes the other process's.

    The caller closes these.

    Args:
        size: bytes of payloads in each direction.

    Raises:
        OSError: there is none to be had.
    """
    with contextlib.ExitStack() as stack:
        to_child, from_child = _create(size), _create(size)
        stack.callback(os.close, to_child)
        stack.callback(os.close, from_child)
        shared = Shared(SharedWriter(_map(to_child)), SharedReader(_map(from_child)))
        stack.pop_all()
    return shared, (to_child, from_child)


def open_pair(to_child: int, from_child: int) -> Shared:
    """Return the other process's ends of what `create_pair` has made, and close the descriptors."""
    try:
        return Shared(SharedWriter(_map(from_child)), SharedReader(_map(to_child)))
    finally:
        os.close(to_child)
        os.close(from_child)


def _create(size: int) -> int:
    pages = -(-size // _PAGE)
    descriptor = os.memfd_create("runner-payloads", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, (pages + -(-pages // _PAGE)) * _PAGE)
    # The other end could cut it off otherwise, and whoever looks at what is gone gets SIGBUS.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def _map(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, os.fstat(descriptor).st_size)


def _table_bytes(total: int) -> int:
    """Return how long the table is in so many bytes of memory: whole pages, with a byte for each page behind them."""
    pages = total // _PAGE
    return -(-pages // (_PAGE + 1)) * _PAGE
