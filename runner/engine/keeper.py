"""Keeping one replica alive: start a worker, wait for its end, start the next one.

A worker's end is seen by its process or by its link, whichever comes first. A model that cannot be loaded the first
time ends the attempt, and `Keeper.first` tells; afterwards the worker is started again for ever, ever more slowly while
it dies without having answered a call.

A worker that serves can be replaced, by one of another version perhaps: `prepare` starts its successor, and once that
is ready `take_over` gives it the calls and lets the old one finish what it has.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner.dispatch.restarts import Breaker, Restarts
from runner.engine.life import Life
from runner.engine.replica import LifeWatcher, Replica, StartHost
from runner.errors import LoadError
from runner.signature.published import Lane, Published
from runner.workers.messages import Load

logger = logging.getLogger("runner.engine")

RENEWAL_PAUSE = 60.0
"""seconds between two tries to put a fresh worker in the place of one that has run for long enough."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica lives.

    Attributes:
        label: the place's name for people.
        load: the message that loads the model there.
        start: how a host is started there.
        max_coroutines: calls of `async def` methods that may run at once there.
        group: the deployment that it belongs to; empty: none in particular.
        max_calls: answers after which a worker is replaced by a fresh one; 0: never.
        max_memory: bytes that a worker may have before it is replaced by a fresh one; 0: any.
        grace: seconds that the calls of a worker have to end which is replaced so.
    """

    label: str
    load: Load
    start: StartHost
    max_coroutines: int
    group: str = ""
    max_calls: int = 0
    max_memory: int = 0
    grace: float = 30.0

    def room(self, methods: Sequence[Published]) -> Mapping[Lane, int]:
        """Return how many calls of these methods a replica runs at once here, by lane.

        A batched method has room for two batches: the one that runs, and the next one, which is decoded meanwhile.
        """
        return {
            Lane.THREADS: self.load.num_threads,
            Lane.STREAMS: self.load.max_streams,
            Lane.COROUTINES: self.max_coroutines,
        } | {method.lane: 2 * method.max_batch_size for method in methods if method.max_batch_size}


class Owner(LifeWatcher, Protocol):
    """The fleet, as a keeper needs it."""

    clock: Callable[[], float]
    """Tells instants, in seconds."""

    def new_replica(self, place: Place, *, successor: bool) -> Replica:
        """Return a replica without a worker, with an id that none has had. `successor`: see `Replica`."""
        ...

    def replica_started(self, replica: Replica) -> None:
        """Its worker is there and loads the model."""

    def replica_takes_over(self, replica: Replica, old: Replica | None) -> None:
        """A successor that is ready gets the calls from now on, and the old replica no more of them."""

    def replica_overdue(self, replica: Replica) -> None:
        """It was replaced, and the time of the calls that are still there is over: its worker is about to be ended."""

    def replica_hung(self, replica: Replica) -> None:
        """Its worker is about to be ended, and gets no more calls."""

    def replica_gone(self, replica: Replica) -> None:
        """Its worker is no more."""

    def breaker_opened(self, place: Place) -> None:
        """Nothing is started at a place for a while."""


class Keeper:
    """See the module's text. Owns the workers of its place; `run` is a task of the fleet's."""

    def __init__(self, place: Place, owner: Owner) -> None:
        self.place = place
        self._owner = owner
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life: Life | None = None  # the one that serves this place, or is to
        self._successor: Life | None = None
        self._tasks: set[asyncio.Task[str]] = set()  # of every worker that is not gone
        self._taken_over = asyncio.Event()
        self._restarts = Restarts()
        self._next_start = 0.0
        self._next_renewal = 0.0

    async def run(self) -> None:
        """Keep the replica alive until cancelled."""
        try:
            await self._keep()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def on_trial(self) -> bool:
        """True if the next worker has to show that it can answer."""
        return self._restarts.breaker is Breaker.HALF_OPEN

    def failing(self, now: float) -> float | None:
        """Return the seconds until the next worker is started, None if the breaker is not open."""
        if self._restarts.breaker is not Breaker.OPEN:
            return None
        return max(self._next_start - now, 0.0)

    def ready(self) -> None:
        """The worker here has loaded the model."""
        self._restarts.ready()

    def owns(self, replica: Replica) -> bool:
        """True if a replica serves this place."""
        return self._life is not None and self._life.replica is replica

    def answered(self) -> None:
        """The worker here has answered a call."""
        self._restarts.reset()

    def renew(self, why: str) -> None:
        """Replace the worker by a fresh one, ready first. If that fails the old one stays, for now."""
        life = self._life
        if self._successor is not None or life is None or not life.serving or self._owner.clock() < self._next_renewal:
            return
        logger.info("%r %s; a fresh worker takes its place", life.replica, why)
        self._next_renewal = self._owner.clock() + RENEWAL_PAUSE
        successor = self.prepare(self.place)
        successor.ready.add_done_callback(lambda ready: self._renewed(successor))

    def _renewed(self, successor: Life) -> None:
        if successor is not self._successor:
            return  # something else came first
        if successor.serving:
            self.take_over(successor, self.place.grace)
        else:
            logger.error("the fresh worker cannot be had: %s", successor.ready.exception())
            self._successor = None

    def prepare(self, place: Place) -> Life:
        """Start a successor, which loads and then waits for `take_over`. A former one that still waits is given up.

        Args:
            place: what it loads, and where.
        """
        self.give_up()
        self._successor = self._begin(place, successor=True)
        return self._successor

    def give_up(self) -> None:
        """Stop the successor, if one is loading or waits."""
        if self._successor is not None:
            self._successor.retire(0.0)
            self._successor = None

    def take_over(self, life: Life, grace: float) -> None:
        """Give the calls to a successor that is ready.

        Args:
            life: what `prepare` returned, `serving`.
            grace: seconds that the old worker has to finish its calls; it is stopped then.
        """
        assert life is self._successor
        old, self._life, self._successor, self.place = self._life, life, None, life.place
        self._restarts.reset()
        self._owner.replica_takes_over(life.replica, None if old is None else old.replica)
        if old is not None:
            old.retire(grace)
        if not self.first.done():
            self.first.set_result(None)
        self._taken_over.set()

    async def _keep(self) -> None:
        self._life = self._begin(self.place)
        while True:
            life = self._life
            self._taken_over.clear()
            await self._wait(life.task)
            if life is not self._life:
                continue
            try:
                ended = life.task.result()
            except LoadError as exc:
                if not self.first.done():
                    self.first.set_exception(exc)
                    return
                ended = str(exc)
            sound = life.replica.answered > 0 or life.replica.poisoned
            delay = self._restarts.died(sound=sound, dice=random.random())
            self._next_start = self._owner.clock() + delay
            logger.error("%s", _obituary(life, ended, delay))
            if self._restarts.breaker is Breaker.OPEN:
                logger.error(
                    "%d workers on %s in a row died without an answer: nothing is started there for %.0f s, and calls "
                    "that no other worker can run are refused",
                    self._restarts.deaths,
                    self.place.label,
                    delay,
                )
                self._owner.breaker_opened(self.place)
            await self._wait(timeout=delay)
            if life is self._life:
                self._life = self._begin(self.place)

    async def _wait(self, *events: asyncio.Future[Any], timeout: float | None = None) -> None:
        """Wait for an event, for the time, or for a successor to take over."""
        taken_over = asyncio.get_running_loop().create_task(self._taken_over.wait())
        try:
            await asyncio.wait((*events, taken_over), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            taken_over.cancel()

    def _begin(self, place: Place, *, successor: bool = False) -> Life:
        life = Life(place, self._owner, successor=successor)
        self._tasks.add(life.task)
        life.task.add_done_callback(self._over)
        if not successor:
            life.ready.add_done_callback(self._ready)
        return life

    def _ready(self, ready: asyncio.Future[None]) -> None:
        if ready.exception() is None and not self.first.done():
            self.first.set_result(None)

    def _over(self, task: asyncio.Task[str]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever cares has looked at `Life.ready`


def _obituary(life: Life, ended: str, delay: float) -> str:
    """Say how a worker ended, what it ran, and what it wrote: quoted, since the log has it once already."""
    replica, written = life.replica, life.last_words.splitlines()
    # Of one that was stuck, how it ended says what it ran.
    running = f" while it ran {', '.join(replica.lost)}" if replica.lost and not replica.stuck else ""
    words = "; its last words:" + "".join(f"\n  | {line}" for line in written) if written else ""
    again = f"in {delay:.1f} s" if delay else "at once"
    return f"worker {replica.name} on {life.place.label} {ended}{running}; it is started again {again}{words}"
