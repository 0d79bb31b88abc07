"""One life of a worker: it starts, loads, serves, and ends by itself or because another one takes its place."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.engine.replica import Host, ReplicaState
from runner.errors import LoadError
from runner.workers.liveness import LOOK_EVERY, Liveness

if TYPE_CHECKING:
    from runner.engine.keeper import Owner, Place

logger = logging.getLogger("runner.engine")

EXIT_GRACE = 1.0
"""seconds between the end of a worker's link and the end of its process, before it is killed."""

STOP_GRACE = 1.0
"""seconds for the methods of a worker that is replaced to stop once they are told to, as at a drain: their `finally`
blocks run. Whoever called them knows by then that nothing comes of it."""

KILL_GRACE = 2.0
"""seconds that a worker has which is killed, until its calls are told. It begins none once the signal is there; but the
kernel may be long in ending it, or never come to it, where a device's driver hangs."""

LINK_GRACE = 0.05
"""seconds between the end of a worker's process and the end of its link: what it had still said is read meanwhile. A
process that the model has forked can hold the link open for ever."""

_WEIGH_EVERY = 10
"""Looks between two at the worker's memory."""


class Life:
    """Owns one worker, from its start to its end: `task` runs for as long, and leaves nothing behind."""

    def __init__(self, place: Place, owner: Owner, *, successor: bool = False) -> None:
        """Start a worker.

        Args:
            place: where.
            owner: makes its replica, and is told of it.
            successor: see `Replica`.
        """
        loop = asyncio.get_running_loop()
        self.place = place
        self.replica = owner.new_replica(place, successor=successor)
        self.ready: asyncio.Future[None] = loop.create_future()
        self.last_words = ""
        self._owner = owner
        self._host: Host | None = None
        self._liveness = Liveness()
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._hung: asyncio.Future[str] = loop.create_future()
        self._retired: asyncio.Future[float] = loop.create_future()
        self.task: asyncio.Task[str] = loop.create_task(self._run())

    @property
    def serving(self) -> bool:
        """True if the model is loaded and the worker there."""
        return self.replica.state is ReplicaState.READY and not self.task.done()

    def retire(self, grace: float) -> None:
        """End this life: no more calls, and those that are there have so many seconds to end."""
        if self.replica.state is ReplicaState.READY:
            self.replica.retire()
            self._retired.set_result(grace)
        else:
            self.task.cancel()

    async def _run(self) -> str:
        """Live; return how it ended.

        Raises:
            LoadError: it never became ready.
        """
        try:
            ended = await self._live()
        except BaseException as exc:
            if not self.ready.done():
                self.ready.set_exception(exc if isinstance(exc, LoadError) else LoadError("the worker was given up"))
                self.ready.exception()  # nobody has to look
            raise
        return ended

    async def _live(self) -> str:
        replica = self.replica
        try:
            host = await self.place.start(replica)
        except OSError as exc:  # no memory, no descriptors: it may pass
            raise LoadError(f"a worker cannot be started: {exc}") from exc
        self._host = host
        process = asyncio.get_running_loop().create_task(host.wait())
        try:
            replica.attach(host)
            self._owner.replica_started(replica)
            host.link.send(replace(self.place.load, name=replica.name))
            self._look_later()
            ends = (replica.closed, process, self._hung)
            await asyncio.wait((replica.settled, *ends), return_when=asyncio.FIRST_COMPLETED)
            if not replica.settled.done():
                ended = self._hung.result() if self._hung.done() else await self._ended(process)
                raise LoadError(f"the worker ended while it was loading the model: {ended}")
            replica.settled.result()
            self.ready.set_result(None)
            await asyncio.wait((self._retired, *ends), return_when=asyncio.FIRST_COMPLETED)
            if self._retired.done() and not any(end.done() for end in ends):
                return await self._finish(self._retired.result(), process)
            if self._hung.done():
                return self._hung.result()
            return await self._ended(process)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            alive = not process.done()
            process.cancel()
            ending = asyncio.get_running_loop().create_task(self._end(host) if alive else host.stop())
            try:
                try:
                    await asyncio.wait((ending,), timeout=KILL_GRACE if alive else 0)
                finally:
                    self._owner.replica_gone(replica)
                await ending
            finally:
                ending.cancel()
            self.last_words = host.last_words

    async def _end(self, host: Host) -> None:
        """End a worker that is alive: before the fate of its calls is decided, since until then it may begin one."""
        replica = self.replica
        replica.on_purpose = self._retired.done()
        if stuck := self._hung.done():
            self._owner.replica_hung(replica)
            where = f"worker {replica.name} on {self.place.label}"
            logger.error("%s %s, and is ended; its threads are at:", where, self._hung.result())
        await host.stop(stuck=stuck)

    async def _finish(self, grace: float, process: asyncio.Task[str]) -> str:
        """Let the calls that are there end, and tell those to stop that do not."""
        idle = asyncio.get_running_loop().create_task(self.replica.idle.wait())
        ends = (idle, self.replica.closed, process, self._hung)
        try:
            await asyncio.wait(ends, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if not any(end.done() for end in ends):
                self._owner.replica_overdue(self.replica)
                await asyncio.wait(ends, timeout=STOP_GRACE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
        return "was replaced"

    async def _ended(self, process: asyncio.Task[str]) -> str:
        """Wait for the worker's end; return how it ended."""
        # Either may come alone: a forked child of the model can keep the sockets open after the worker's death, and a
        # worker that closes its link may take its time to die.
        await asyncio.wait((self.replica.closed, process), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((self.replica.closed,), timeout=LINK_GRACE)
        try:
            return await asyncio.wait_for(process, EXIT_GRACE)
        except TimeoutError:
            return "closed its link and did not exit"

    # Is it still alive? Nobody can be told of the absence of something, so there is a timer.

    def _look_later(self) -> None:
        host = self._host
        if host is not None and host.watched:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look, host)

    def _look(self, host: Host) -> None:
        pulse = host.journal.pulse()
        if stuck := self.replica.look_for_stuck(pulse.runs, self._owner.clock()):
            self._hung.set_result(f"ran {', '.join(stuck)} for longer than max_run_seconds")
            return
        vitals = None
        if not self._liveness.beating(pulse):
            vitals = host.vitals()
            if (verdict := self._liveness.silent(vitals, loading=not self.ready.done())) is not None:
                self._hung.set_result(verdict)
                return
        self._looks += 1
        if self.place.max_memory and self._looks % _WEIGH_EVERY == 0:
            memory = (vitals or host.vitals()).resident_bytes
            if memory is not None and memory > self.place.max_memory:
                self._owner.replica_worn(self.replica, f"has {memory >> 20} MB of memory")
        self._look_later()

    def __repr__(self) -> str:
        return f"<Life of {self.replica}>"
