"""The main module of a worker process: `python -m runner.workers.child PARENT DATA CONTROL JOURNAL [PAYLOADS]`.

Loads the model that the first message names, then serves calls until the link closes. It never outlives the server:
end-of-file on the link ends it, whatever the model's threads are doing, and so does the server's death.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import io
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import cast

import uvloop

from runner.allocator import keep_freed_memory
from runner.errors import LoadError, SignatureError
from runner.execution.forked import leave
from runner.execution.journal import Journal, open_shared
from runner.execution.loading import load_class, load_model
from runner.execution.undeterred import run_undeterred
from runner.logs import Log, start_log
from runner.processes.child_process import SHOW_STACKS
from runner.processes.prctl import die_with_parent, set_timer_slack
from runner.processes.shared import Shared, open_pair
from runner.sturdy_log import SturdyLog
from runner.workers.cpu_list import keep_to, read_cpus
from runner.workers.link import WORKER_QUIET_TURNS, SocketLink
from runner.workers.messages import Load, LoadFailed, Message
from runner.workers.watchdog import Watchdog
from runner.workers.worker import Worker

logger = SturdyLog("runner.worker")

EXIT_ORPHANED = 5
"""Exit code of a worker whose server was gone before it could be told; nobody sees it."""

EXIT_CANNOT_LOAD = 3
"""Exit code of a worker whose model cannot be loaded, which no restart will mend."""

_SWITCH_INTERVAL = 0.0001
"""seconds. A model that runs Python between small operations of torch lets go of the GIL for moments only; with the
default of 5 ms and the kernel's timer slack the loop thread was measured to wait up to a second for its turn. A tenth
of this value lets sixteen plain functions fight over the GIL, and serves far fewer calls per second; so it does with
batches alone where there are more threads than cores, since who waits wakes at each interval."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Child:
    """Before the model is loaded, holds what arrives; afterwards, hands it to the worker."""

    def __init__(self) -> None:
        self.first: asyncio.Future[Load] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.worker: Worker | None = None
        self._loop = asyncio.get_running_loop()

    def stay_alone(self, link: SocketLink, journal: Journal) -> None:
        """See that a process which the model forks is never taken for this one."""

        def forked() -> None:
            _wait_for_nothing(self._loop)
            link.forked()
            journal.forked()
            if self.worker is not None:
                self.worker.forked()
            self._loop.call_soon(leave)  # if that loop ever turns

        os.register_at_fork(after_in_child=forked)

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        if self.worker is not None:
            self.worker.on_message(message)
        elif isinstance(message, Load):
            self.first.set_result(message)
        else:
            raise ValueError(f"{type(message).__name__} came before the model was loaded")

    def on_closed(self) -> None:
        """See `link.Receiver`."""
        if not self.closed.done():
            self.closed.set_result(None)
        if not self.first.done():
            self.first.cancel()


async def serve(data: socket.socket, control: socket.socket, journal: Journal, shared: Shared | None) -> int:
    """Load and serve; return the process's exit code."""
    child = _Child()
    watchdog = Watchdog(asyncio.get_running_loop(), journal)
    link = await SocketLink.open(data, control, child, WORKER_QUIET_TURNS, shared)
    child.stay_alone(link, journal)
    load = await child.first
    start_log(Log(level=load.log_level, format=load.log_format), f"worker {load.name}" if load.name else "")
    _keep_to(load.cpus)
    try:
        # On the loop's thread, which is the main one: libraries that set signal handlers insist on it, and there is
        # nothing else to do yet.
        began = time.monotonic()
        model = load_model(load_class(Path(load.model_dir)), load.device)
        child.worker = Worker(model, load, link, journal)
        gc.collect()
        gc.freeze()  # what loading has made stays; with torch, to look through it again takes 60 ms
        watchdog.watch()
        logger.info("the model is loaded after %.1f s, in process %d", time.monotonic() - began, os.getpid())
    except (LoadError, SignatureError) as exc:
        link.send(LoadFailed(str(exc), getattr(exc, "details", "")))
        link.close()
        await child.closed
        return EXIT_CANNOT_LOAD
    await child.closed
    await child.worker.close()
    return 0


def _wait_for_nothing(loop: asyncio.AbstractEventLoop) -> None:
    """Have this process's copy of the loop hear of nothing: what it took would be the parent's, its wakes among it."""
    with select.epoll() as empty:
        os.dup2(empty.fileno(), cast(uvloop.Loop, loop)._get_backend_id(), inheritable=False)  # pyright: ignore


def _keep_to(cpus: str) -> None:
    """Stay on the CPUs near the GPU, before the model is imported: its libraries start threads, which inherit this."""
    if cpus:
        try:
            keep_to(read_cpus(cpus))
        except OSError as exc:  # the server's own CPUs may have changed since; it works from farther away too
            logger.warning("cannot keep to CPUs %s, which are the ones near the GPU: %s", cpus, exc.strerror)


def main(argv: list[str]) -> int:
    """Take over what the server has made, and serve until the sockets close.

    Args:
        argv: the server's process id, and descriptors: two sockets, a journal, and memory for long payloads to us and
            from us if there is some.
    """
    parent, data_end, control_end, journal, *payloads = map(int, argv)
    if not die_with_parent(signal.SIGKILL, parent):
        return EXIT_ORPHANED
    keep_freed_memory()
    _leave_stopping_to_the_server()
    faulthandler.register(SHOW_STACKS, all_threads=True)
    # What a model prints goes to the log: the server's stdout is for the server's own lines.
    os.dup2(2, 1)
    # Line by line: a worker's end is mostly SIGKILL, which would take what waits in a buffer along.
    cast(io.TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    start_log(Log())
    if len(os.sched_getaffinity(0)) > 1:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        set_timer_slack(1)
    data, control = socket.socket(fileno=data_end), socket.socket(fileno=control_end)
    for end in (data, control):
        end.set_inheritable(False)  # a program that the model starts must not hold the link open after our death
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        shared = open_pair(*payloads) if payloads else None
        return run_undeterred(runner.get_loop(), serve(data, control, open_shared(journal), shared))


def _leave_stopping_to_the_server() -> None:
    """Make these do nothing here: they reach whole groups, while calls are still to be finished."""
    # Handlers of our own rather than SIG_IGN, which a program that the model starts would inherit; and a process that
    # it forks, a data loader perhaps, must be one that SIGTERM ends.
    for number in _STOPPING:
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=_stop_as_usual)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def _stop_as_usual() -> None:
    faulthandler.unregister(SHOW_STACKS)
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Without the interpreter's own farewell: it would wait for threads in which the model may be stuck.
    sys.stderr.flush()
    os._exit(code)
