"""Starting a process of ours, and learning how it ended.

Its end is seen by a descriptor of the process (a pidfd) where the kernel has them: that tells as soon as the process is
gone, while its sockets may be held open by another one that it has forked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from runner.processes.last_words import LastWords

_WORDS_GRACE = 0.1
"""seconds after a process's end in which its stderr is read to the end: another process may hold it open."""

SHOW_STACKS = signal.SIGQUIT
"""What has a process of ours that wants to (`faulthandler.register`) write what each of its threads is at."""

_STACKS_SECONDS = 0.1
"""How long it has for that. It is done in a moment, by a handler that waits for no lock, or not at all."""

_STDERR = 2

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class ChildProcess:
    """A fresh interpreter that runs a module. Spawned, never forked: it shares no lock with ours."""

    def __init__(self, process: asyncio.subprocess.Process, words: int) -> None:
        """Take over a process that was started.

        Args:
            process: the process.
            words: the reading end of its stdout and stderr.
        """
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._said: asyncio.Future[None] = self._loop.create_future()
        self._words = LastWords(words, _STDERR, self._silent)
        self._before: str | None = None  # its last words when it was told to write its stacks

    @classmethod
    async def spawn(cls, module: str, descriptors: Sequence[int], environment: Mapping[str, str]) -> Self:
        """Start a process. What it says goes on to our stderr.

        Args:
            module: its main module, whose arguments are our process id and the descriptors.
            descriptors: what it inherits.
            environment: all of its variables.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            words, child_words = os.pipe()
            ours.callback(os.close, words)
            childs.callback(os.close, child_words)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_safe_path(),
                "-m",
                module,
                *map(str, (os.getpid(), *descriptors)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=child_words,
                stderr=child_words,
                pass_fds=descriptors,
                env=environment,
            )
            ours.pop_all()
            return cls(process, words)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it has written to stdout or stderr; complete after `stop`."""
        return self._words.text if self._before is None else self._before

    async def wait(self) -> str:
        """Wait for the process to end; return how, in words."""
        await self._gone()
        code = await self._process.wait()
        if code < 0:
            known = -code in {member.value for member in signal.Signals}  # not all real-time signals have a name
            return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"
        return f"exited with code {code}"

    async def show_stacks(self) -> None:
        """Have the process write what each of its threads is at, if it can: it may have been stopped.

        Its last words are those before that.
        """
        self._before = self._words.text
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(SHOW_STACKS)
        await asyncio.sleep(_STACKS_SECONDS)

    def kill(self) -> None:
        """Have the kernel end the process. Harmless if it has ended."""
        with contextlib.suppress(ProcessLookupError):  # it may end between our look and our signal
            self._process.kill()

    async def stop(self) -> None:
        """End the process now, and reap it. Harmless if it has ended."""
        self.kill()
        await self._process.wait()
        await asyncio.wait((self._said,), timeout=_WORDS_GRACE)
        self._words.close()

    async def _gone(self) -> None:
        """Wait for the process's own descriptor, where there is such a thing."""
        try:
            handle = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # another system or an old kernel, or it is gone and reaped
            return
        gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(handle, _settle, gone)
        try:
            await gone
        finally:
            self._loop.remove_reader(handle)
            os.close(handle)

    def _silent(self) -> None:
        """Called in the thread that reads its stderr."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(_settle, self._said)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} returncode={self._process.returncode}>"


def socket_pair(
    ours: contextlib.ExitStack, childs: contextlib.ExitStack, kind: socket.SocketKind = socket.SOCK_STREAM
) -> tuple[socket.socket, socket.socket]:
    """Return our end and the child's. Ours is closed if the child does not come to life, the child's in any case."""
    our_end, child_end = socket.socketpair(type=kind)
    ours.enter_context(our_end)
    childs.enter_context(child_end)
    our_end.setblocking(False)
    return our_end, child_end


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _safe_path() -> tuple[str, ...]:
    # With `-m`, Python puts the current directory first on the path, and with it a `runner.py` or `signal.py` that
    # happens to lie there. We need it only where the package is run from its checkout.
    return () if Path.cwd() == _PACKAGE_ROOT else ("-P",)
