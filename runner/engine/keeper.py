"""Keeping one replica alive: start a worker, wait for its end, start the next one.

A worker's end is seen by its process or by its link, whichever comes first. A model that cannot be loaded the first
time ends the attempt, and `Keeper.first` tells; afterwards the worker is started again for ever, ever more slowly while
it dies without having answered a call.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.dispatch.backoff import restart_delay
from runner.dispatch.dispatcher import ReplicaId
from runner.engine.replica import Replica, StartHost, Watcher
from runner.errors import LoadError
from runner.signature.published import Lane, Published
from runner.workers.messages import Load

logger = logging.getLogger("runner.engine")

_EXIT_GRACE = 1.0
"""seconds between the end of a worker's link and the end of its process, before it is killed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica lives.

    Attributes:
        label: the place's name for people.
        load: the message that loads the model there.
        start: how a host is started there.
        max_coroutines: calls of `async def` methods that may run at once there.
        group: the deployment that it belongs to; empty: none in particular.
    """

    label: str
    load: Load
    start: StartHost
    max_coroutines: int
    group: str = ""

    def room(self, methods: Sequence[Published]) -> Mapping[Lane, int]:
        """Return how many calls of these methods a replica runs at once here, by lane.

        A batched method has room for two batches: the one that runs, and the next one, which is decoded meanwhile.
        """
        return {
            Lane.THREADS: self.load.num_threads,
            Lane.STREAMS: self.load.max_streams,
            Lane.COROUTINES: self.max_coroutines,
        } | {method.lane: 2 * method.max_batch_size for method in methods if method.max_batch_size}


class Owner(Watcher, Protocol):
    """The engine, as a keeper needs it."""

    def next_replica_id(self) -> ReplicaId:
        """Return an id that no replica has had."""
        ...

    def replica_started(self, replica: Replica) -> None:
        """Its worker is there and loads the model."""

    def replica_gone(self, replica: Replica) -> None:
        """Its worker is no more."""


class Keeper:
    """See the module's text. Owns the worker of its place; `run` is a task of the engine's."""

    def __init__(self, place: Place, owner: Owner) -> None:
        self._place = place
        self._owner = owner
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Keep the replica alive until cancelled."""
        deaths = 0
        while True:
            replica = Replica(self._owner.next_replica_id(), self._place, self._owner)
            try:
                ended = await self._live(replica)
            except LoadError as exc:
                if not self.first.done():
                    self.first.set_exception(exc)
                    return
                ended = str(exc)
            deaths = 0 if replica.answered else deaths + 1
            delay = restart_delay(deaths, random.random())
            logger.error("%r %s; it is started again in %.1f s", replica, ended, delay)
            await asyncio.sleep(delay)

    async def _live(self, replica: Replica) -> str:
        """One life of a replica; returns how it ended.

        Raises:
            LoadError: it never became ready.
        """
        try:
            host = await self._place.start(replica)
        except OSError as exc:  # no memory, no descriptors: it may pass
            raise LoadError(f"a worker cannot be started: {exc}") from exc
        process = asyncio.get_running_loop().create_task(host.wait())
        try:
            replica.attach(host.link)
            self._owner.replica_started(replica)
            host.link.send(self._place.load)
            await asyncio.wait((replica.settled, replica.closed, process), return_when=asyncio.FIRST_COMPLETED)
            if not replica.settled.done():
                ended = await self._ended(replica, process)
                raise LoadError(f"the worker ended while it was loading the model: {ended}")
            replica.settled.result()
            if not self.first.done():
                self.first.set_result(None)
            return await self._ended(replica, process)
        finally:
            process.cancel()
            self._owner.replica_gone(replica)
            await host.stop()

    async def _ended(self, replica: Replica, process: asyncio.Task[str]) -> str:
        """Wait for a worker's end; return how it ended."""
        # Either may come alone: a forked child of the model can keep the sockets open after the worker's death, and a
        # worker that closes its link may take its time to die.
        await asyncio.wait((replica.closed, process), return_when=asyncio.FIRST_COMPLETED)
        try:
            return await asyncio.wait_for(process, _EXIT_GRACE)
        except TimeoutError:
            return "closed its link and did not exit"
