"""The health service of gRPC: whether a new call would be accepted, by any of several names.

One model is served, so the server as a whole (the empty name) and both published services have one status, readiness,
which is also called `ready`. For probes that tell the three apart there are `live` and `started` as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from runner.grpc_protocol.status import StatusCode
from runner.server.fitness import Fitness
from runner.server.rpcs import CallInfo, Rpc, RpcFailed, Rpcs, ServerStreamRpc, UnaryRpc
from runner.signature.dialect import Dialect

_messages: Any = health_pb2
"""For List, which older releases of the package and its type stubs do not know."""

SERVICE = "grpc.health.v1.Health"

_NAMES = ("", *(dialect.value for dialect in Dialect), "ready", "live", "started")


class Health:
    """The RPCs that tell how fit the server is.

    grpcio-health-checking has a servicer too. In that one a watcher that does not read holds a lock while it is
    written to, and so could hold up the change to "not serving" that a drain begins with. Here nothing waits for
    watchers: one that is slow misses changes in between, and gets the last.
    """

    def __init__(self, fitness: Fitness) -> None:
        self._fitness = fitness

    def rpcs(self) -> Rpcs:
        """Return the RPCs that tell the status."""
        rpcs: dict[str, Rpc] = {
            f"/{SERVICE}/Check": UnaryRpc(self._check),
            f"/{SERVICE}/Watch": ServerStreamRpc(self._watch, lasting=True),
        }
        if hasattr(_messages, "HealthListRequest"):
            rpcs[f"/{SERVICE}/List"] = UnaryRpc(self._list)
        return rpcs

    def _reply(self, name: str) -> health_pb2.HealthCheckResponse:
        if name not in _NAMES:
            status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        elif self._well(name):
            status = health_pb2.HealthCheckResponse.SERVING
        else:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)

    def _well(self, name: str) -> bool:
        match name:
            case "live":
                return True
            case "started":
                return self._fitness.started
            case _:
                return self._fitness.ready

    async def _check(self, request: bytes, call: CallInfo) -> bytes:
        name = _read(request)
        if name not in _NAMES:
            raise RpcFailed(StatusCode.NOT_FOUND, f"there is no service {name!r}")
        return self._reply(name).SerializeToString()

    async def _watch(self, request: bytes, call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        name = _read(request)
        told = None
        while True:
            changed = self._fitness.changed
            reply = self._reply(name).SerializeToString()
            if reply != told:
                yield (reply,)
                told = reply
            await changed.wait()

    async def _list(self, request: bytes, call: CallInfo) -> bytes:
        return _messages.HealthListResponse(statuses={name: self._reply(name) for name in _NAMES}).SerializeToString()


def _read(request: bytes) -> str:
    """Return the name that is asked about."""
    try:
        return health_pb2.HealthCheckRequest.FromString(request).service
    except DecodeError:
        raise RpcFailed(StatusCode.INVALID_ARGUMENT, "the request is not a HealthCheckRequest") from None
