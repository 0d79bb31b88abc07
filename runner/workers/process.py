"""Starting a worker process, and learning how it ended.

Its end is seen by a descriptor of the process (a pidfd) where the kernel has them: that tells as soon as the process is
gone, while its sockets may be held open by another one that the model has forked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.execution.journal import Journal, create_shared
from runner.workers.last_words import LastWords
from runner.workers.link import SERVER_QUIET_TURNS, Receiver, SocketLink
from runner.workers.shared import create_pair
from runner.workers.vitals import Vitals, read_vitals

_WORDS_GRACE = 0.1
"""seconds after a worker's end in which its stderr is read to the end: another process may hold it open."""

_STDERR = 2

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """A spawned worker and the link to it. Spawned, never forked: a fresh interpreter shares no lock with ours."""

    def __init__(self, process: asyncio.subprocess.Process, link: SocketLink, journal: Journal, words: int) -> None:
        """Take over a worker that was started.

        Args:
            process: the worker.
            link: the way to it.
            journal: what it writes into.
            words: the reading end of its stderr.
        """
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._said: asyncio.Future[None] = self._loop.create_future()
        self._words = LastWords(words, _STDERR, self._silent)
        self.link = link
        self.watched = True
        self.journal = journal

    @classmethod
    async def spawn(
        cls,
        receiver: Receiver,
        environment: Mapping[str, str],
        withholds: Callable[[str, str], bool] = lambda name, value: False,
        quiet_turns: int = SERVER_QUIET_TURNS,
        shared_bytes: int = 0,
    ) -> WorkerProcess:
        """Start a worker; `receiver` is told what comes over its link.

        The kernel ends the worker with the thread that this runs in: have it be the main one.

        Args:
            receiver: told of messages, and once of the link's end.
            environment: variables for the worker; those that the server's own environment sets win.
            withholds: says which variables of the server's own environment are none of a model's business.
            quiet_turns: of our end of the link.
            shared_bytes: of memory for long payloads, in each direction; 0: they go over the link's socket.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            data, child_data = _pair(ours, childs)
            control, child_control = _pair(ours, childs)
            journal, journal_end = create_shared()
            childs.callback(os.close, journal_end)
            words, child_words = os.pipe()
            ours.callback(os.close, words)
            childs.callback(os.close, child_words)
            ends = [child_data.fileno(), child_control.fileno(), journal_end]
            payloads = None
            if shared_bytes and hasattr(os, "memfd_create"):  # elsewhere there is no memory without a name
                payloads, memory = create_pair(shared_bytes)
                for descriptor in memory:
                    childs.callback(os.close, descriptor)
                ends += memory
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_safe_path(),
                "-m",
                "runner.workers.child",
                *map(str, (os.getpid(), *ends)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=child_words,
                stderr=child_words,
                pass_fds=ends,
                env=_environment(environment, withholds),
            )
            try:
                link = await SocketLink.open(data, control, receiver, quiet_turns, payloads)
            except BaseException:  # a cancel too: nobody else knows of the process yet
                process.kill()
                raise
            ours.pop_all()
            return cls(process, link, journal, words)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it has written to stdout or stderr; complete after `stop`."""
        return self._words.text

    def vitals(self) -> Vitals:
        """Return what the kernel says of the process."""
        return read_vitals(self.pid)

    async def wait(self) -> str:
        """Wait for the process to end; return how, in words."""
        await self._gone()
        code = await self._process.wait()
        if code < 0:
            known = -code in {member.value for member in signal.Signals}  # not all real-time signals have a name
            return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"
        return f"exited with code {code}"

    async def stop(self) -> None:
        """End the process now, and reap it. Harmless if it has ended."""
        self.link.close()
        with contextlib.suppress(ProcessLookupError):  # it may end between our look and our signal
            self._process.kill()
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
        return f"<WorkerProcess {self.pid} returncode={self._process.returncode}>"


def _pair(ours: contextlib.ExitStack, childs: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return our end and the child's. Ours is closed if the worker does not come to life, the child's in any case."""
    our_end, child_end = socket.socketpair()
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


def _environment(wanted: Mapping[str, str], withholds: Callable[[str, str], bool]) -> dict[str, str]:
    # A GPU choice is ours to make; a thread count set by the person at the terminal is theirs.
    overrides = {name: value for name, value in wanted.items() if name.startswith("CUDA_") or name not in os.environ}
    return {name: value for name, value in os.environ.items() if not withholds(name, value)} | overrides
