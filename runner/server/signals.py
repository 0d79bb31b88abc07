"""What signals mean to the server.

SIGTERM, SIGINT   the first asks for a drain, the second ends the process at once
SIGHUP            load the model again, as daemons do; but where the terminal is gone that the server was started from,
                  nobody is left to work with it, and it is a drain
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

EXIT_FORCED = 130


class Signals:
    """Handles the signals of the process, from when it is made. SIGHUP does nothing before `on_hangup`."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._hangup: Callable[[], None] | None = None
        self._terminal = _has_terminal()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    @property
    def asked(self) -> bool:
        """True once the server was asked to stop."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Wait to be asked to stop."""
        await self._asked.wait()

    def on_hangup(self, load: Callable[[], None]) -> None:
        """Say what loads the model again."""
        self._hangup = load

    def _stop(self) -> None:
        if self._asked.is_set():
            os._exit(EXIT_FORCED)
        self._asked.set()

    def _hang_up(self) -> None:
        if self._terminal and not _has_terminal():
            self._asked.set()
        elif self._hangup is not None and not self._asked.is_set():
            self._hangup()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
