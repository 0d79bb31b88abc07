"""A model's source as somebody works on it: told when a file of it changes, by inotify. For development.

Looks at `*.py` and `*.yaml` below the directory: a model may write anything else there while it loads, weights for
example, and would be loaded for ever. Changes that come together are told once, after a moment of silence.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

logger = logging.getLogger("runner.server")

SILENCE: Final = 0.1
"""seconds without a change before changes are told: an editor writes in several steps, and saves several files."""

MAX_DIRECTORIES: Final = 1024
"""Directories that are watched. The kernel allows a user some thousands in all."""

_SUFFIXES: Final = (".py", ".yaml")

# From <sys/inotify.h>.
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _ONLY_DIRECTORIES, _IS_DIRECTORY = 0x4000, 0x8000, 0x1000000, 0x40000000
_MASK: Final = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_DIRECTORIES
_HEAD: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_READ_BYTES: Final = 64 * 1024


class WatchedDirectory:
    """Use it as a context manager, on a running loop: leaving it stops watching."""

    def __init__(self, directory: Path, changed: Callable[[], None]) -> None:
        """Watch nothing yet.

        Args:
            directory: with everything below it, but for what begins with a dot, and `__pycache__`.
            changed: called on the loop.
        """
        self._directory = (
            directory.absolute()
        )  # not resolved: another one may take its place, or a link's target change
        self._changed = changed
        self._watches: dict[int, Path] = {}
        self._above = -1
        self._descriptor = -1
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            OSError: this system has no inotify, or none left.
        """
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError("this system cannot tell of changes to files")
        self._descriptor = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._above = self._add(self._directory.parent)  # first, so that nothing goes unseen in between
        self._watch(self._directory)
        if not self._watches:
            os.close(self._descriptor)
            raise OSError(f"{self._directory} cannot be watched")
        self._loop.add_reader(self._descriptor, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size + length
            name = os.fsdecode(data[offset - length : offset].rstrip(b"\0"))
            self._heard(watch, mask, name)

    def _heard(self, watch: int, mask: int, name: str) -> None:
        if watch == self._above and name == self._directory.name and mask & (_CREATE | _MOVED_TO):
            # Another directory of this name, as after a checkout, or a link that leads elsewhere now.
            self._watch(self._directory)
            self._soon()
        if mask & _IGNORED:
            self._watches.pop(watch, None)
        elif mask & _OVERFLOW:
            self._soon()  # some changes were not told
        elif mask & _IS_DIRECTORY:
            above = self._watches.get(watch)
            if above is not None and _counts(name):
                if mask & (_CREATE | _MOVED_TO):
                    self._watch(above / name)
                self._soon()
        elif watch in self._watches and name.endswith(_SUFFIXES) and _counts(name):
            self._soon()

    def _soon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(SILENCE, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed()

    def _watch(self, top: Path) -> None:
        for directory in _directories(top):
            if len(self._watches) >= MAX_DIRECTORIES:
                logger.warning("%s has over %d directories; not all are watched", self._directory, MAX_DIRECTORIES)
                return
            if (watch := self._add(directory)) >= 0:
                self._watches[watch] = directory

    def _add(self, directory: Path) -> int:
        """Watch one directory; return what its events are told by, -1 if it cannot be watched."""
        try:
            return self._call("inotify_add_watch", self._descriptor, os.fsencode(directory), _MASK)
        except FileNotFoundError:
            return -1  # gone already
        except OSError as exc:
            logger.warning("%s is not watched: %s", directory, exc.strerror)
            return -1

    def _call(self, name: str, *arguments: object) -> int:
        result: int = getattr(self._libc, name)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _directories(top: Path) -> Iterator[Path]:
    for directory, below, _ in os.walk(top):
        below[:] = [name for name in below if _counts(name)]
        yield Path(directory)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__"
