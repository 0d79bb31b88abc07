"""Starting a worker process, and learning how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.workers.link import SERVER_QUIET_TURNS, Receiver, SocketLink

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """A spawned worker and the link to it. Spawned, never forked: a fresh interpreter shares no lock with ours."""

    def __init__(self, process: asyncio.subprocess.Process, link: SocketLink) -> None:
        self._process = process
        self.link = link

    @classmethod
    async def spawn(
        cls,
        receiver: Receiver,
        environment: Mapping[str, str],
        withholds: Callable[[str, str], bool] = lambda name, value: False,
    ) -> WorkerProcess:
        """Start a worker; `receiver` is told what comes over its link.

        Args:
            receiver: told of messages, and once of the link's end.
            environment: variables for the worker; those that the server's own environment sets win.
            withholds: says which variables of the server's own environment are none of a model's business.
        """
        with contextlib.ExitStack() as ours:
            data, child_data = _pair(ours)
            control, child_control = _pair(ours)
            descriptors = (child_data.fileno(), child_control.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_safe_path(),
                "-m",
                "runner.workers.child",
                *map(str, descriptors),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                env=_environment(environment, withholds),
            )
            try:
                link = await SocketLink.open(data, control, receiver, SERVER_QUIET_TURNS)
            except BaseException:  # a cancel too: nobody else knows of the process yet
                process.kill()
                raise
            ours.pop_all()
            child_data.close()
            child_control.close()
            return cls(process, link)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> str:
        """Wait for the process to end; return how, in words."""
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

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid} returncode={self._process.returncode}>"


def _pair(owner: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return our end and the child's; both are closed if the worker does not come to life."""
    ours, child = socket.socketpair()
    owner.enter_context(ours)
    owner.enter_context(child)
    ours.setblocking(False)
    return ours, child


def _safe_path() -> tuple[str, ...]:
    # With `-m`, Python puts the current directory first on the path, and with it a `runner.py` or `signal.py` that
    # happens to lie there. We need it only where the package is run from its checkout.
    return () if Path.cwd() == _PACKAGE_ROOT else ("-P",)


def _environment(wanted: Mapping[str, str], withholds: Callable[[str, str], bool]) -> dict[str, str]:
    # A GPU choice is ours to make; a thread count set by the person at the terminal is theirs.
    overrides = {name: value for name, value in wanted.items() if name.startswith("CUDA_") or name not in os.environ}
    return {name: value for name, value in os.environ.items() if not withholds(name, value)} | overrides
