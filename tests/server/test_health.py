"""Readiness as a client sees it: asked once, watched, and listed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from runner.server.health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NAMES = ["", "clarifai.api.V2", "runner.v1.Inference"]


class Details:
    """What a generic handler looks at."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


class Aborted(Exception):
    pass


class Context:
    """A call's context that raises what an abort would send."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


def rpc(health: Health, name: str) -> Callable[..., Any]:
    """The function that serves an RPC, as a server would find it."""
    (handlers,) = health.handlers()
    handler = handlers.service(Details(f"/grpc.health.v1.Health/{name}"))
    assert handler is not None
    return handler.unary_unary or handler.unary_stream


def request(name: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


@pytest.mark.parametrize("name", NAMES)
def test_check(name: str) -> None:
    health = Health()
    check = rpc(health, "Check")
    assert asyncio.run(check(request(name), Context())).status == NOT_SERVING
    health.set_serving(True)
    assert asyncio.run(check(request(name), Context())).status == SERVING
    health.set_serving(False)
    assert asyncio.run(check(request(name), Context())).status == NOT_SERVING


def test_check_of_an_unknown_service() -> None:
    with pytest.raises(Aborted, match="NOT_FOUND"):
        asyncio.run(rpc(Health(), "Check")(request("x"), Context()))


@pytest.mark.skipif(not hasattr(health_pb2, "HealthListRequest"), reason="this grpcio-health-checking has no List")
def test_list() -> None:
    health = Health()
    health.set_serving(True)
    reply = asyncio.run(rpc(health, "List")(health_pb2.HealthListRequest(), Context()))
    assert {name: status.status for name, status in reply.statuses.items()} == dict.fromkeys(NAMES, SERVING)


def test_watchers_hear_of_changes_only() -> None:
    async def scenario() -> None:
        health = Health()
        watchers = [rpc(health, "Watch")(request(name), Context()) for name in NAMES]
        assert [(await anext(watcher)).status for watcher in watchers] == [NOT_SERVING] * 3
        waiting = [asyncio.ensure_future(anext(watcher)) for watcher in watchers]
        await asyncio.sleep(0)
        health.set_serving(False)
        await asyncio.sleep(0)
        assert not any(future.done() for future in waiting)
        health.set_serving(True)
        assert [(await future).status for future in waiting] == [SERVING] * 3

    asyncio.run(scenario())


def test_a_slow_watcher_gets_the_last_status() -> None:
    async def scenario() -> None:
        health = Health()
        watcher = rpc(health, "Watch")(request(""), Context())
        assert (await anext(watcher)).status == NOT_SERVING
        health.set_serving(True)
        health.set_serving(False)
        health.set_serving(True)
        assert (await anext(watcher)).status == SERVING
        waiting = asyncio.ensure_future(anext(watcher))
        health.set_serving(False)
        assert (await waiting).status == NOT_SERVING

    asyncio.run(scenario())


def test_watching_an_unknown_service() -> None:
    async def scenario() -> None:
        watcher = rpc(Health(), "Watch")(request("x"), Context())
        assert (await anext(watcher)).status == SERVICE_UNKNOWN

    asyncio.run(scenario())
