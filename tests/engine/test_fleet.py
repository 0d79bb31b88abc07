"""The replicas of a model: what their user is told of each, and what a caller is told when there are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from runner.dispatch import restarts
from runner.engine import life
from runner.engine.calls import EngineCall
from runner.engine.fleet import Fleet, failing
from runner.engine.replica import Replica
from runner.errors import LoadError
from runner.testing.scripted_worker import ScriptedWorkers
from runner.workers.messages import Call, Ran, Room
from tests.engine.scripted import METHODS, scripted, start
from tests.running import on_loop, turns


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Restart at once."""
    monkeypatch.setattr(restarts, "restart_delay", lambda deaths, dice: 0.0)
    monkeypatch.setattr(life, "LINK_GRACE", 0.001)
    monkeypatch.setattr(life, "EXIT_GRACE", 0.01)


class User:
    """Writes down what it is told, each with the number of the replica."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def heard(self) -> list[str]:
        """Return what was told since the last time."""
        told, self.told = self.told, []
        return told

    def replica_joined(self, replica: Replica) -> None:
        self.told.append(f"{replica.name} joined{' on trial' * replica.trial}")

    def replica_proven(self, replica: Replica) -> None:
        self.told.append(f"{replica.name} proven")

    def replica_retired(self, replica: Replica) -> None:
        self.told.append(f"{replica.name} retired")

    def replica_left(self, replica: Replica) -> None:
        self.told.append(f"{replica.name} left")

    def breaker_opened(self) -> None:
        self.told.append("breaker opened")

    def call_over(self, call: EngineCall, *, failed: int) -> None: ...

    def calls_over(self, calls: Sequence[EngineCall]) -> None: ...

    def batch_ran(self, replica: Replica, ran: Ran) -> None: ...

    def room_changed(self, replica: Replica, room: Room) -> None: ...


class Manned:
    """A fleet whose workers are scripted, without an engine."""

    def __init__(self, replicas: int, groups: Sequence[str]) -> None:
        self.source = ScriptedWorkers(METHODS)
        places = [self.source.place(f"place {number}", group=groups[number]) for number in range(replicas)]
        self.fleet = Fleet(places, time.monotonic)
        self.user = User()


@asynccontextmanager
async def manned(*, replicas: int = 1, groups: Sequence[str] = ("", "")) -> AsyncIterator[Manned]:
    """Run a fleet; its first workers are ready."""
    under_test = Manned(replicas, groups)
    under_test.fleet.start(under_test.user)
    try:
        for number in range(1, replicas + 1):
            (await under_test.source.started(number)).ready()
        assert under_test.user.heard() == [f"{number} joined" for number in range(1, replicas + 1)]
        yield under_test
    finally:
        await under_test.fleet.stop()
    assert under_test.fleet.replicas == {}
    assert all(worker.stopped for worker in under_test.source.workers)


@on_loop
async def test_a_replica_that_is_ready_first_does_not_wait_for_the_other():
    async with scripted(ready=False, replicas=2) as under_test:
        started = asyncio.ensure_future(under_test.engine.started())
        (await under_test.worker(2)).ready()
        (task,) = start(under_test, b"x")
        (call,) = await under_test.workers[1].hears(Call)
        under_test.workers[1].answer(call)
        await task
        assert under_test.engine.ready
        assert not started.done()
        under_test.workers[0].ready()
        await started


@on_loop
async def test_one_that_dies_leaves_and_the_next_one_joins():
    async with manned() as under_test:
        fleet, user = under_test.fleet, under_test.user
        ready: list[bool] = []
        fleet.follow_ready(ready.append)
        assert fleet.restarts == 0
        under_test.source.workers[0].die()
        worker = await under_test.source.started(2)
        assert user.heard() == ["1 left"]
        assert (list(fleet.replicas), fleet.ready, fleet.restarts) == ([2], False, 1)
        worker.ready()
        assert user.heard() == ["2 joined"]
        assert ready == [True, False, True]


@on_loop
async def test_successors_join_together_once_all_that_are_old_get_no_more_calls():
    async with manned(replicas=2) as under_test:
        fleet, user = under_test.fleet, under_test.user
        swap = asyncio.ensure_future(fleet.replace(None, 60.0))
        (await under_test.source.started(4)).ready()
        await turns()
        assert user.heard() == []
        under_test.source.workers[2].ready()
        await swap
        told = user.heard()
        assert set(told[:4]) == {f"{number} retired" for number in range(1, 5)}
        assert [each for each in told if each.endswith("joined")] == ["3 joined", "4 joined"]
        await under_test.source.workers[1].gone()
        await turns()
        assert sorted(user.heard()) == ["1 left", "2 left"]
        assert list(fleet.replicas) == [3, 4]


@on_loop
async def test_a_successor_that_cannot_load_leaves_without_having_joined():
    async with manned() as under_test:
        swap = asyncio.ensure_future(under_test.fleet.replace(None, 60.0))
        (await under_test.source.started(2)).cannot_load("weights are gone")
        with pytest.raises(LoadError, match="weights are gone"):
            await swap
        await under_test.source.workers[1].gone()
        assert under_test.user.heard() == ["2 left"]
        assert list(under_test.fleet.replicas) == [1]
        assert under_test.fleet.ready


@on_loop
async def test_after_the_breaker_the_next_one_is_on_trial_until_it_has_answered(monkeypatch):
    monkeypatch.setattr(restarts, "OPEN_SECONDS", 0.0)
    async with manned() as under_test:
        fleet, user = under_test.fleet, under_test.user
        for number in range(1, restarts.OPENS_AFTER + 1):
            worker = await under_test.source.started(number)
            if number > 1:
                worker.ready()
            assert not fleet.broken
            assert fleet.refusal("") is None
            user.heard()
            worker.die()
            await worker.gone()
        worker = await under_test.source.started(restarts.OPENS_AFTER + 1)
        assert user.heard() == [f"{restarts.OPENS_AFTER} left", "breaker opened"]
        assert fleet.broken
        assert fleet.refusal("") is not None
        worker.ready()
        assert user.heard() == [f"{restarts.OPENS_AFTER + 1} joined on trial"]
        assert not fleet.broken
        assert fleet.refusal("") is None
        (replica,) = fleet.replicas.values()
        fleet.first_answer(replica)
        assert user.heard() == [f"{restarts.OPENS_AFTER + 1} proven"]
        assert not replica.trial


@on_loop
async def test_one_that_joins_another_deployment_closes_no_breaker():
    async with manned(replicas=2, groups=("failing", "well")) as under_test:
        fleet, source = under_test.fleet, under_test.source
        failing_one, well = source.workers
        for deaths in range(1, restarts.OPENS_AFTER + 1):
            failing_one.die()
            await failing_one.gone()
            if deaths < restarts.OPENS_AFTER:
                failing_one = await source.started(2 + deaths)
                failing_one.ready()
        while not fleet.broken:
            await turns()
        well.die()
        await well.gone()
        (await source.started(2 + restarts.OPENS_AFTER)).ready()
        assert fleet.ready
        assert fleet.broken
        assert fleet.refusal("failing") is not None
        assert fleet.refusal("well") is None


def keeper(wait: float | None, group: str = "") -> Any:
    return SimpleNamespace(failing=lambda now: wait, place=SimpleNamespace(group=group))


def test_calls_are_refused_only_if_no_place_of_theirs_can_run_them():
    assert failing([], "", 0.0) is None
    assert failing([keeper(5.0), keeper(None)], "", 0.0) is None
    refusal = failing([keeper(5.0), keeper(3.0)], "", 0.0)
    assert refusal is not None
    assert refusal.retry_after == 3.0
    places = [keeper(None, "one"), keeper(4.0, "other")]
    assert failing(places, "one", 0.0) is None
    assert failing(places, "other", 0.0) is not None
