"""The door: connections are accepted here, and each is handed to an ingress process.

The main process accepts, and not each ingress process for itself from a port that they share (SO_REUSEPORT): then the
kernel would choose by a hash of addresses, and of the few connections that clients of gRPC make and keep, one process
might get all. Here each goes to the process that has the fewest. It is also the same for a port, a path and sockets of
systemd; a process that has died gets no more; and those that come meanwhile wait in the kernel. A connection costs the
main process some 30 µs once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

logger = logging.getLogger("runner.server")

_AT_ONCE: Final = 64
"""connections accepted in one turn of the loop: calls have their turn too."""

_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_ROOM_SECONDS: Final = 1.0
"""Without descriptors or memory nothing is accepted for so long; the kernel has no event for their coming back."""

_ONE: Final = b"\0"


class Door:
    """Listening sockets, of which nobody takes connections until `open`."""

    def __init__(self, sockets: Sequence[socket.socket], give: Callable[[socket.socket], bool]) -> None:
        """Do nothing yet.

        Args:
            sockets: taken over.
            give: hands a connection on, or leaves it to be closed; returns False if nobody can take one now, and sees
                to it that `open` is called when somebody can.
        """
        self._loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        self._give = give
        self._open = False
        self._held: socket.socket | None = None  # accepted, and nobody could take it
        self._retry: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Take connections from now on."""
        self._cancel_retry()
        if self._held is not None:
            held, self._held = self._held, None
            if not self._hand(held):
                return
        if not self._open:
            self._open = True
            for each in self._sockets:
                self._loop.add_reader(each, self._accept, each)

    def pause(self) -> None:
        """Take none for now: they wait in the kernel."""
        self._cancel_retry()
        if self._open:
            self._open = False
            for each in self._sockets:
                self._loop.remove_reader(each)

    def close(self) -> None:
        """Take none any more."""
        self.pause()
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        if self._held is not None:
            self._held.close()
            self._held = None

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self._open:
                return
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _NO_ROOM:
                    raise
                logger.error("no connection can be accepted for a moment: %s", exc.strerror)
                self.pause()
                self._retry = self._loop.call_later(_NO_ROOM_SECONDS, self.open)
                return
            self._hand(accepted)

    def _hand(self, accepted: socket.socket) -> bool:
        if self._give(accepted):
            accepted.close()
            return True
        self._held = accepted
        self.pause()
        return False

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def __repr__(self) -> str:
        return f"<Door {'open' if self._open else 'shut'}>"


def hand_over(accepted: socket.socket, through: socket.socket) -> bool:
    """Give a connection to the process at the other end; return False if it has to take others first.

    Raises:
        OSError: it is gone.
    """
    try:
        socket.send_fds(through, [_ONE], [accepted.fileno()])
    except BlockingIOError:
        return False
    return True
