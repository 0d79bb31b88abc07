"""Readiness as a client sees it: asked once, watched, and listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2

from runner.grpc_protocol.status import StatusCode
from runner.server.fitness import Fitness
from runner.server.health import Health
from runner.server.rpcs import CallInfo, RpcFailed, ServerStreamRpc, UnaryRpc
from tests.running import one_by_one

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NAMES = ["", "clarifai.api.V2", "runner.v1.Inference", "ready"]


CALL = CallInfo()


def request(name: str) -> bytes:
    return health_pb2.HealthCheckRequest(service=name).SerializeToString()


def status(reply: bytes) -> int:
    return health_pb2.HealthCheckResponse.FromString(reply).status


def check(health: Health, name: str) -> int:
    rpc = health.rpcs()["/grpc.health.v1.Health/Check"]
    assert isinstance(rpc, UnaryRpc)
    return status(asyncio.run(rpc.answer(request(name), CALL)))


def watch(health: Health, name: str) -> AsyncIterator[bytes]:
    rpc = health.rpcs()["/grpc.health.v1.Health/Watch"]
    assert isinstance(rpc, ServerStreamRpc)
    assert rpc.lasting
    return one_by_one(rpc.answer(request(name), CALL))


@pytest.mark.parametrize("name", NAMES)
def test_check(name: str) -> None:
    fitness = Fitness()
    health = Health(fitness)
    assert check(health, name) == NOT_SERVING
    fitness.set_ready(True)
    assert check(health, name) == SERVING
    fitness.set_ready(False)
    assert check(health, name) == NOT_SERVING


def test_live_and_started_are_asked_for_by_name() -> None:
    fitness = Fitness()
    health = Health(fitness)
    assert [check(health, name) for name in ("live", "started")] == [SERVING, NOT_SERVING]
    fitness.set_ready(True)
    fitness.drain()
    assert [check(health, name) for name in ("live", "started", "ready")] == [SERVING, SERVING, NOT_SERVING]


def test_check_of_an_unknown_service() -> None:
    with pytest.raises(RpcFailed, match="there is no service 'x'") as failed:
        check(Health(Fitness()), "x")
    assert failed.value.code == StatusCode.NOT_FOUND


def test_a_request_that_is_none() -> None:
    rpc = Health(Fitness()).rpcs()["/grpc.health.v1.Health/Check"]
    with pytest.raises(RpcFailed, match="HealthCheckRequest") as failed:
        asyncio.run(rpc.answer(b"\xff", CALL))
    assert failed.value.code == StatusCode.INVALID_ARGUMENT


@pytest.mark.skipif(not hasattr(health_pb2, "HealthListRequest"), reason="this grpcio-health-checking has no List")
def test_list() -> None:
    health = Health(fitness := Fitness())
    fitness.set_ready(True)
    rpc = health.rpcs()["/grpc.health.v1.Health/List"]
    reply = health_pb2.HealthListResponse.FromString(asyncio.run(rpc.answer(b"", CALL)))
    assert {name: each.status for name, each in reply.statuses.items()} == dict.fromkeys(
        [*NAMES, "live", "started"], SERVING
    )


def test_watchers_hear_of_changes_only() -> None:
    async def scenario() -> None:
        health = Health(fitness := Fitness())
        watchers = [watch(health, name) for name in NAMES]
        assert [status(await anext(watcher)) for watcher in watchers] == [NOT_SERVING] * 4
        waiting = [asyncio.ensure_future(anext(watcher)) for watcher in watchers]
        await asyncio.sleep(0)
        fitness.set_ready(False)
        await asyncio.sleep(0)
        assert not any(future.done() for future in waiting)
        fitness.set_ready(True)
        assert [status(await future) for future in waiting] == [SERVING] * 4

    asyncio.run(scenario())


def test_a_slow_watcher_gets_the_last_status() -> None:
    async def scenario() -> None:
        health = Health(fitness := Fitness())
        watcher = watch(health, "")
        assert status(await anext(watcher)) == NOT_SERVING
        fitness.set_ready(True)
        fitness.set_ready(False)
        fitness.set_ready(True)
        assert status(await anext(watcher)) == SERVING
        waiting = asyncio.ensure_future(anext(watcher))
        fitness.set_ready(False)
        assert status(await waiting) == NOT_SERVING

    asyncio.run(scenario())


def test_watching_an_unknown_service() -> None:
    async def scenario() -> None:
        watcher = watch(Health(Fitness()), "x")
        assert status(await anext(watcher)) == SERVICE_UNKNOWN

    asyncio.run(scenario())
