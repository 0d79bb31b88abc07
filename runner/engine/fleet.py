"""The replicas of one served model: one in each place, kept alive, renewed, and replaced all together.

A fleet knows nothing of calls. Who runs them on the replicas is its `User`, and is told which ones there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from runner.dispatch.dispatcher import ReplicaId
from runner.engine.keeper import Keeper, Place
from runner.engine.replica import CallWatcher, Replica, ReplicaState
from runner.errors import LoadError, ModelFailing


class User(CallWatcher, Protocol):
    """The calls under way, as a fleet needs them."""

    def replica_joined(self, replica: Replica) -> None:
        """It takes calls from now on."""

    def replica_proven(self, replica: Replica) -> None:
        """It was on trial, and takes as many calls as any other from now on."""

    def replica_retired(self, replica: Replica) -> None:
        """It gets no more calls."""

    def replica_overdue(self, replica: Replica) -> None:
        """It was retired, and is about to leave: its calls did not end in time."""

    def replica_left(self, replica: Replica) -> None:
        """Its worker is no more. It need not have joined."""

    def breaker_opened(self) -> None:
        """Nothing is started at some place for a while: calls may be refused that wait for it."""


class Fleet:
    """See the module's text. Owns the keeper of each place and its task, and the replicas.

    Attributes:
        replicas: all that have a worker.
        broken: a breaker was open when the last replica joined, or has opened since. Where it is false, nothing is to
            be refused.
    """

    def __init__(self, places: Sequence[Place], clock: Callable[[], float]) -> None:
        """Prepare; nothing is started yet.

        Args:
            places: where the replicas live, one in each.
            clock: tells instants, in seconds.
        """
        self.clock = clock
        self.replicas: dict[ReplicaId, Replica] = {}
        self.broken = False
        self._places = places
        self._keepers: list[Keeper] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._user: User  # nothing happens that it has to be told of before there are keepers
        self._last_replica = 0
        self._started = 0  # workers, so far
        self._replacing = asyncio.Lock()
        self._tell_ready: Callable[[bool], None] | None = None

    def start(self, user: User) -> None:
        """Start a worker in each place.

        Args:
            user: told of the replicas, and by them of their calls.
        """
        self._user = user
        self._keepers = [Keeper(place, self) for place in self._places]
        self._tasks = [asyncio.get_running_loop().create_task(keeper.run()) for keeper in self._keepers]

    async def stop(self) -> None:
        """End all workers, and wait for their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for keeper in self._keepers:
            keeper.first.cancel()

    # What there is.

    async def started(self) -> None:
        """Wait until every replica has been ready once.

        Raises:
            LoadError: a replica cannot load the model.
        """
        await asyncio.gather(*(keeper.first for keeper in self._keepers))

    @property
    def places(self) -> list[Place]:
        """Where the replicas live, and what each of them loads."""
        return [keeper.place for keeper in self._keepers] or list(self._places)

    @property
    def restarts(self) -> int:
        """Workers that were started in the place of others."""
        return max(self._started - len(self._places), 0)

    @property
    def ready(self) -> bool:
        """True if a replica can take calls."""
        return any(replica.state is ReplicaState.READY for replica in self.replicas.values())

    def follow_ready(self, tell: Callable[[bool], None]) -> None:
        """Have `tell` called with `ready`, now and at every change of it."""
        self._tell_ready = tell
        tell(self.ready)

    def refusal(self, group: str) -> ModelFailing | None:
        """Return the refusal of a call if nothing that could run it is alive, or is about to be; see `failing`."""
        return failing(self._keepers, group, self.clock())

    # Replacement.

    async def replace(self, places: Sequence[Place] | None, grace: float) -> None:
        """Put new workers in the place of all there are; see `Engine.replace`."""
        async with self._replacing:
            wanted = self.places if places is None else places
            pairs = list(zip(self._keepers, wanted, strict=True))
            lives = [keeper.prepare(place) for keeper, place in pairs]
            try:
                await asyncio.gather(*(life.ready for life in lives))
                if not all(life.serving for life in lives):  # one was ready first, and has died since
                    raise LoadError("a new worker died while the others were loading")
            except BaseException:
                for keeper in self._keepers:
                    keeper.give_up()
                raise
            # In one step: from one call to the next, all of them meet the new version.
            for replica in self.replicas.values():
                self._user.replica_retired(replica)
            for keeper, life in zip(self._keepers, lives, strict=True):
                keeper.take_over(life, grace)

    # What replicas say (see `LifeWatcher`).

    def replica_ready(self, replica: Replica) -> None:
        """See `LifeWatcher`."""
        if not replica.successor:
            self._join(replica)

    def first_answer(self, replica: Replica) -> None:
        """See `LifeWatcher`."""
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.answered()
        if replica.trial:
            replica.trial = False
            self._user.replica_proven(replica)

    def replica_worn(self, replica: Replica, why: str) -> None:
        """See `LifeWatcher`."""
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.renew(why)

    # What keepers say (see `Owner`).

    def new_replica(self, place: Place, *, successor: bool) -> Replica:
        """See `Owner`."""
        self._last_replica += 1
        return Replica(ReplicaId(self._last_replica), place, self, self._user, successor=successor)

    def replica_started(self, replica: Replica) -> None:
        """See `Owner`."""
        self.replicas[replica.name] = replica
        self._started += 1

    def replica_takes_over(self, replica: Replica, old: Replica | None) -> None:
        """See `Owner`."""
        if old is not None:
            self._user.replica_retired(old)
        replica.successor = False
        self._join(replica)

    def replica_overdue(self, replica: Replica) -> None:
        """See `Owner`."""
        self._user.replica_overdue(replica)

    def replica_hung(self, replica: Replica) -> None:
        """See `Owner`."""
        self._user.replica_retired(replica)

    def replica_gone(self, replica: Replica) -> None:
        """See `Owner`."""
        self.replicas.pop(replica.name, None)
        self._ready_may_have_changed()
        self._user.replica_left(replica)

    def breaker_opened(self, place: Place) -> None:
        """See `Owner`."""
        self.broken = True
        self._user.breaker_opened()

    def _join(self, replica: Replica) -> None:
        """A replica is ready, and serves its place."""
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.ready()
                replica.trial = keeper.on_trial
        now = self.clock()
        self.broken = any(keeper.failing(now) is not None for keeper in self._keepers)
        self._user.replica_joined(replica)
        self._ready_may_have_changed()

    def _ready_may_have_changed(self) -> None:
        if self._tell_ready is not None:
            self._tell_ready(self.ready)

    def __repr__(self) -> str:
        return f"<Fleet {list(self.replicas.values())}>"


def failing(keepers: Sequence[Keeper], group: str, now: float) -> ModelFailing | None:
    """Return the refusal of a call if the workers of all places that could run it die, and none is tried now.

    Args:
        keepers: of all places.
        group: the deployment that has to run it; empty: any.
        now: instant.
    """
    waits = [keeper.failing(now) for keeper in keepers if not group or keeper.place.group == group]
    # With one place of many closed or on trial, calls wait for that one.
    if not waits or None in waits:
        return None
    soonest = min(wait for wait in waits if wait is not None)
    return ModelFailing(
        f"the model's workers die before they answer a call; the next one is started in {soonest:.0f} s",
        retry_after=soonest,
    )
