"""Long payloads in memory that two processes share: one lays them there, the other reads them in place.

There is one piece of memory for each direction, a memfd: it has no name, uses nothing of /dev/shm, and is gone with the
last process that has it. Of the two ends only the sender decides what lies where (`SharedWriter`); it keeps that to
itself, and so nothing that the other process does, or leaves undone when it dies, can confuse it. A message says where
its payload lies, in what `framing.py` writes.

A payload is the receiver's for as long as anything looks at it: a message that waits, an array that a model keeps. When
the last view is gone, in whatever thread, the receiver sets one byte in a table at the front of the memory
(`SharedReader`). That costs no system call and no message, and the sender looks there before it lays down the next
payload. Whoever finds no room waits for nothing: the payload goes over the socket.

What is to be sent may lie there before it is known whether it will be: what a worker has put together (`join`), and a
message of which a client has sent half (`draft`). It is given away where it lies, once. Such a place is free again when
nobody looks at it at either end: the sender may have to send the same bytes elsewhere, when the receiver has died.

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
from typing import Any, Final, NamedTuple, TypeAlias

from runner.processes.blocks import Blocks
from runner.wire.array_scan import numbers_at
from runner.wire.payload import Payload

SHARED_FROM: Final = 32 * 1024
"""bytes of a payload from which on it is shared. Below, the socket is as fast (`docs/performance.md`)."""

MAX_SHARED: Final = 4 * 1024 * 1024
"""bytes of a payload up to which it is shared. To copy one stops the loop for a millisecond; longer ones go in pieces,
with short messages between them."""

DRAFTED_FROM: Final = 64 * 1024
"""bytes of a client's message from which on it is received into this memory. Below, a copy costs less than what lends
the memory (`docs/performance.md`)."""

_PAGE: Final = mmap.PAGESIZE

_ALIGNED: Final = 64
"""What the address of a large array's numbers is a multiple of: more than any type of them needs."""

_KEPT: Final = 8 * 1024 * 1024
"""bytes at the front that stay in memory. What a busy moment has used behind them is given back to the kernel."""

_DRAFTS: Final = 2
"""Of messages that come from clients and were not given away, no more than one part in so many of the memory. A client
may send half of a message and wait, for as long as it likes: what is sent now still finds room, and what comes beyond
this is copied once more."""

_MAX_SHIFTS: Final = 256
"""Lengths of messages of which it is known how they have to lie. Clients repeat a few."""

_DONE: Final = 1
_MARK: Final = bytes([_DONE])


_Owner: TypeAlias = "weakref.ref[ctypes.Array[ctypes.c_ubyte]]"
"""What all views of one payload are of."""


class _Draft(NamedTuple):
    """What lies in the memory and was not given away yet."""

    page: int
    position: int
    size: int
    message: bool  # that comes from a client
    owner: _Owner


class SharedWriter:
    """The sender's end. Any thread may use it.

    Attributes:
        copied: payloads that were laid down here.
        given: those that lay here already.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self.copied = 0
        self.given = 0
        self._memory = memory
        self._start = _table_bytes(len(memory))
        self._blocks = Blocks((len(memory) - self._start) // _PAGE)
        self._lock = threading.Lock()
        self._all = ctypes.c_ubyte * len(memory)
        self._base = ctypes.addressof(self._all.from_buffer(memory))
        self._process = os.getpid()
        self._drafts: dict[int, _Draft] = {}  # by what all views of each are of
        self._owners: dict[int, _Owner] = {}  # by page: what is looked at here, whatever the other end marks
        self._shifts: dict[int, int] = {}  # by the length of a message: how its numbers come to be aligned
        # Drafts of messages, by page, until each is given away or gone; and the pages of all of them.
        self._waiting: dict[int, int] = {}
        self._waiting_pages = 0

    def put(self, payload: Payload) -> int:
        """Lay down a payload that is sent now; return the position where it lies, -1 if it goes another way.

        What lies here already, in a draft, is not copied: it is the receiver's from here on. A view that cannot be
        written to is: whoever has made it so wants the bytes to stay as they are.
        """
        size = len(payload)
        if not SHARED_FROM <= size <= MAX_SHARED:
            return -1
        if (
            type(payload) is memoryview
            and not payload.readonly
            and (draft := self._drafts.get(id(payload.obj))) is not None
            and (position := self._give(payload, draft)) >= 0
        ):
            self.given += 1
            return position
        shift = -numbers_at(payload) % _ALIGNED
        page = self._take(shift + size)
        if page < 0:
            return -1
        position = self._start + page * _PAGE + shift
        self._memory[position : position + size] = payload
        self.copied += 1
        return position

    def join(self, pieces: Sequence[Payload]) -> Payload:
        """Put together a payload that may be sent later, there at once if there is room.

        Once no view of it is left and it was not sent, its place is free again.
        """
        size = sum(map(len, pieces))
        view = self._draft(size, waits=False)
        if view is None:
            return b"".join(pieces)
        filled = 0
        for piece in pieces:
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return view

    def draft(self, size: int) -> memoryview | None:
        """Return memory for a message that comes piece by piece and of which a part may be sent; None: there is none.

        It holds anything. Once no view of it is left and nothing of it was sent, its place is free again.
        """
        return self._draft(size, self._shifts.get(size, 0), waits=True) if size >= DRAFTED_FROM else None

    def _draft(self, size: int, shift: int = 0, *, waits: bool) -> memoryview | None:
        if not SHARED_FROM <= size <= MAX_SHARED:
            return None
        owner = self._all.from_buffer(self._memory)
        page = self._take(shift + size, owner, waits=waits)
        if page < 0:
            return None
        key, position = id(owner), self._start + page * _PAGE + shift
        gone = partial(_returned, self._drafts, key, self._memory, page, self._process)
        self._drafts[key] = _Draft(page, position, size, waits, weakref.ref(owner, gone))
        return memoryview(owner).cast("B")[position : position + size]

    def _give(self, payload: memoryview, draft: _Draft) -> int:
        """Give a part of a draft away; return its position, -1 if it has to be copied."""
        position = ctypes.addressof(ctypes.c_ubyte.from_buffer(payload)) - self._base
        if (position - self._start) // _PAGE != draft.page:
            return -1  # the receiver says by the page where it begins that it is done with
        if draft.message and (numbers := numbers_at(payload)) and (misplaced := (position + numbers) % _ALIGNED):
            # Copied this time. The next message of this length will lie right.
            if len(self._shifts) >= _MAX_SHIFTS:
                self._shifts.clear()
            self._shifts[draft.size] = (draft.position - misplaced) % _ALIGNED
            return -1
        with self._lock:
            del self._drafts[id(payload.obj)]
            self._waiting_pages -= self._waiting.pop(draft.page, 0)
        return position

    def _take(self, size: int, owner: ctypes.Array[ctypes.c_ubyte] | None = None, *, waits: bool = False) -> int:
        """Return the first page of a block of so many bytes, -1 if there is no room.

        Args:
            size: bytes.
            owner: what all views of it are of that there will be here; None: there will be none.
            waits: it is for a message of which nobody knows when it will be sent.
        """
        if os.getpid() != self._process:
            return -1  # in a process that a model has forked: its parent decides what lies here
        pages = -(-size // _PAGE)
        with self._lock:
            self._sweep()
            if waits and (self._waiting_pages + pages) * _DRAFTS > self._blocks.pages:
                return -1
            page = self._blocks.take(pages)
            if owner is not None and page >= 0:
                self._owners[page] = weakref.ref(owner)
                if waits:
                    self._waiting[page] = pages
                    self._waiting_pages += pages
        return page

    def _sweep(self) -> None:
        """Take back what is not looked at any more."""
        memory, blocks = self._memory, self._blocks
        marks = memory[: blocks.reached]
        page = marks.find(_MARK)
        while page >= 0:
            owner = self._owners.get(page)
            if owner is None or owner() is None:  # otherwise it is looked at here, and the mark stays
                self._owners.pop(page, None)
                self._waiting_pages -= self._waiting.pop(page, 0)
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
        self._lent: dict[int, _Owner] = {}  # by page

    def view(self, position: int, size: int) -> memoryview:
        """Return a payload where it lies; nothing else comes to lie there while any view of it lives.

        Raises:
            ValueError: it cannot lie there.
        """
        page = (position - self._start) // _PAGE
        if page < 0 or not SHARED_FROM <= size <= MAX_SHARED or position + size > len(self._memory):
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
