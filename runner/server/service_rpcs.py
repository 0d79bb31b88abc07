"""The RPCs of the published services, by path."""

from __future__ import annotations

from functools import partial

from runner.server.rpcs import BidiRpc, ClientStreamRpc, Rpc, Rpcs, ServerStreamRpc, UnaryRpc
from runner.server.service import Service
from runner.signature.dialect import Dialect

UNARY = (
    "GetModel",
    "GetModelVersion",
    "ListModelVersions",
    "GetModelType",
    "GetUser",
    "GetDeployment",
    "GetNodepool",
    "PostModelOutputs",
)


def service_rpcs(service: Service) -> Rpcs:
    """Return the RPCs of both published services."""
    rpcs: dict[str, Rpc] = {}
    for dialect in Dialect:
        native = dialect is Dialect.NATIVE
        prefix = f"/{dialect.value}/"
        for rpc in (*UNARY, *(("GetStatistics",) if native else ())):
            begin = partial(service.begin_unary, dialect, rpc) if rpc == "PostModelOutputs" else None
            rpcs[prefix + rpc] = UnaryRpc(partial(service.unary, dialect, rpc), begin, native)
        rpc = "GenerateModelOutputs"
        rpcs[prefix + rpc] = ServerStreamRpc(partial(service.server_stream, dialect, rpc), times=native)
        rpc = "StreamModelOutputs"
        rpcs[prefix + rpc] = BidiRpc(partial(service.bidi, dialect, rpc), times=native)
    rpc, dialect = "CollectModelOutputs", Dialect.NATIVE
    rpcs[f"/{dialect.value}/{rpc}"] = ClientStreamRpc(partial(service.client_stream, dialect, rpc), times=True)
    return rpcs
