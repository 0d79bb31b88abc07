"""Starting a worker process, with all that joins it to the server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from runner.execution.journal import Journal, create_shared
from runner.processes.child_process import ChildProcess, socket_pair
from runner.processes.shared import create_pair
from runner.workers.link import SERVER_QUIET_TURNS, Receiver, SocketLink
from runner.workers.vitals import Vitals, read_vitals


class WorkerProcess:
    """A spawned worker and the link to it."""

    def __init__(self, process: ChildProcess, link: SocketLink, journal: Journal) -> None:
        """Take over a worker that was started.

        Args:
            process: the worker.
            link: the way to it.
            journal: what it writes into.
        """
        self._process = process
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
            data, child_data = socket_pair(ours, childs)
            control, child_control = socket_pair(ours, childs)
            journal, journal_end = create_shared()
            childs.callback(os.close, journal_end)
            ends = [child_data.fileno(), child_control.fileno(), journal_end]
            payloads = None
            if shared_bytes and hasattr(os, "memfd_create"):  # elsewhere there is no memory without a name
                payloads, memory = create_pair(shared_bytes)
                for descriptor in memory:
                    childs.callback(os.close, descriptor)
                ends += memory
            process = await ChildProcess.spawn("runner.workers.child", ends, _environment(environment, withholds))
            try:
                link = await SocketLink.open(data, control, receiver, quiet_turns, payloads)
            except BaseException:  # a cancel too: nobody else knows of the process yet
                process.kill()
                raise
            ours.pop_all()
            return cls(process, link, journal)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it has written to stdout or stderr; complete after `stop`."""
        return self._process.last_words

    def vitals(self) -> Vitals:
        """Return what the kernel says of the process."""
        return read_vitals(self.pid)

    async def wait(self) -> str:
        """Wait for the process to end; return how, in words."""
        return await self._process.wait()

    async def stop(self, *, stuck: bool = False) -> None:
        """See `engine.replica.Host`."""
        try:
            if stuck:  # before its link is closed, at which it ends
                await self._process.show_stacks()
        finally:
            self.link.close()
            await self._process.stop()

    def __repr__(self) -> str:
        return f"<WorkerProcess {self._process!r}>"


def _environment(wanted: Mapping[str, str], withholds: Callable[[str, str], bool]) -> dict[str, str]:
    # A GPU choice is ours to make; a thread count set by the person at the terminal is theirs.
    overrides = {name: value for name, value in wanted.items() if name.startswith("CUDA_") or name not in os.environ}
    return {name: value for name, value in os.environ.items() if not withholds(name, value)} | overrides
