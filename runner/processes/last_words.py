"""A process's stderr: everything goes on to the server's own, and the last of it is kept for the log.

A thread does it, since the server's stderr may be a terminal or a pipe that takes its time: then the process waits, as
it would if it wrote there itself, and not the server's loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import Final

_KEPT_BYTES: Final = 16 * 1024
"""bytes of the last output that are kept: with torch, the line about a crash that names all libraries is 3 KB long."""

_READ_BYTES: Final = 64 * 1024

_MOST_LINES: Final = 50
"""of the last output, that are told: a stack begins with where the process crashed, and is thirty long in a network."""


class LastWords:
    """Owns the reading end of a pipe, and the thread that reads it until the last writer is gone or `close`."""

    def __init__(self, descriptor: int, onward: int, ended: Callable[[], None]) -> None:
        """Start reading.

        Args:
            descriptor: the pipe's reading end, closed at the end.
            onward: where everything is written to.
            ended: called in the thread when it has read the last.
        """
        self._descriptor = descriptor
        self._onward = onward
        self._tail = b""
        self._wake, self._waker = os.pipe()
        self._ended = ended
        self._thread = threading.Thread(target=self._read, name="child's stderr", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """The last lines so far."""
        lines = self._tail.decode("utf-8", "replace").splitlines()
        if len(self._tail) >= _KEPT_BYTES:
            lines = lines[1:]  # the first one has no beginning
        return "\n".join(lines[-_MOST_LINES:])

    def close(self) -> None:
        """Read what is there, and end: a process that it left behind may hold the pipe open."""
        if self._waker >= 0:
            os.close(self._waker)
            self._waker = -1

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while True:
                ready = dict(poll.poll())
                if self._descriptor in ready:
                    data = os.read(self._descriptor, _READ_BYTES)
                    if not data:
                        return
                    self._tail = (self._tail + data)[-_KEPT_BYTES:]
                    self._pass_on(data)
                elif self._wake in ready:
                    return
        finally:
            os.close(self._descriptor)
            os.close(self._wake)
            self._ended()

    def _pass_on(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # whoever read the server's log is gone; the process is not to suffer
            while data:
                data = data[os.write(self._onward, data) :]
