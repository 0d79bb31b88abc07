"""The health service of gRPC: whether a new call would be accepted.

One model is served, so all names have one status: the server as a whole (the empty name) and both published services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from runner.signature.dialect import Dialect

_messages: Any = health_pb2
"""For List, which older releases of the package and its type stubs do not know."""

SERVICE = "grpc.health.v1.Health"

_NAMES = ("", *(dialect.value for dialect in Dialect))


class Health:
    """The server's readiness, and the RPCs that tell it. Not ready until `set_serving` says so.

    grpcio-health-checking has a servicer too. In that one a watcher that does not read holds a lock while it is
    written to, and so could hold up the change to "not serving" that a drain begins with. Here nothing waits for
    watchers: one that is slow misses changes in between, and gets the last.
    """

    def __init__(self) -> None:
        self._serving = False
        self._changed = asyncio.Event()  # set once, at the next change, and then replaced

    def set_serving(self, serving: bool) -> None:
        """Change the status, and wake all watchers if it is another one."""
        if serving != self._serving:
            self._serving = serving
            self._changed.set()
            self._changed = asyncio.Event()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the handlers to add to a server."""
        rpcs = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._check,
                request_deserializer=health_pb2.HealthCheckRequest.FromString,
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._watch,
                request_deserializer=health_pb2.HealthCheckRequest.FromString,
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
        }
        if hasattr(_messages, "HealthListRequest"):
            rpcs["List"] = grpc.unary_unary_rpc_method_handler(
                self._list,
                request_deserializer=_messages.HealthListRequest.FromString,
                response_serializer=_messages.HealthListResponse.SerializeToString,
            )
        return [grpc.method_handlers_generic_handler(SERVICE, rpcs)]

    def _reply(self, name: str) -> health_pb2.HealthCheckResponse:
        if name not in _NAMES:
            status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        elif self._serving:
            status = health_pb2.HealthCheckResponse.SERVING
        else:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)

    async def _check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in _NAMES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r}")
        return self._reply(request.service)

    async def _watch(
        self, request: health_pb2.HealthCheckRequest, context: object
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            changed = self._changed
            reply = self._reply(request.service)
            if reply != told:
                yield reply
                told = reply
            await changed.wait()

    async def _list(self, request: object, context: object) -> Any:
        return _messages.HealthListResponse(statuses={name: self._reply(name) for name in _NAMES})
