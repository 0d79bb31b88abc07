"""Reflection over a real socket, from a server process that has the official package loaded too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from runner.server.reflection import SERVICES

pytestmark = pytest.mark.real

SERVER = """
import asyncio, sys
from clarifai_grpc.grpc.api import service_pb2
from runner.server.fitness import Fitness
from runner.server.health import Health
from runner.server.reflection import reflection_rpcs
from runner.server.status import rpc_status
from runner.server.transport_grpcio import GrpcioTransport
from clarifai_grpc.grpc.api.status import status_pb2

async def main():
    health = Health(Fitness())
    rpcs = {**health.rpcs(), **reflection_rpcs()}
    transport = GrpcioTransport(rpcs, max_message_bytes=1 << 20, status_of=rpc_status)
    port = await transport.listen("127.0.0.1", 0)
    health._fitness.set_ready(True)
    assert service_pb2.PostModelOutputsRequest(model_id="m").SerializeToString()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await transport.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    pytest.importorskip("clarifai_grpc")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{int(server.stdout.readline())}") as opened:
            yield opened
        server.stdin.close()
        assert server.wait(10) == 0


Request = reflection_pb2.ServerReflectionRequest


def ask(channel: grpc.Channel, version: str, *requests: Request) -> list[reflection_pb2.ServerReflectionResponse]:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(call(iter(requests), timeout=10))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_services_are_listed(channel: grpc.Channel, version: str) -> None:
    (reply,) = ask(channel, version, Request(list_services=""))
    assert {service.name for service in reply.list_services_response.service} == set(SERVICES)


def test_descriptions_are_complete(channel: grpc.Channel) -> None:
    """A client that knows nothing builds every listed service from what it is told."""
    pool = DescriptorPool()
    seen: set[str] = set()
    for reply in ask(channel, "v1", *(Request(file_containing_symbol=name) for name in SERVICES)):
        files = {
            proto.name: proto
            for data in reply.file_descriptor_response.file_descriptor_proto
            if (proto := FileDescriptorProto.FromString(data))
        }

        def add(proto: FileDescriptorProto, files: dict[str, FileDescriptorProto] = files) -> None:
            if proto.name not in seen:
                seen.add(proto.name)
                for dependency in proto.dependency:
                    add(files[dependency])
                pool.AddSerializedFile(proto.SerializeToString())

        for proto in files.values():
            add(proto)
    official = pool.FindServiceByName("clarifai.api.V2")
    native = pool.FindServiceByName("runner.v1.Inference")
    assert {*native.methods_by_name} - {*official.methods_by_name} == {"CollectModelOutputs"}
    rpc = official.methods_by_name["StreamModelOutputs"]
    assert rpc.client_streaming
    assert rpc.server_streaming
    message = GetMessageClass(rpc.input_type)()
    message.inputs.add().data.metadata["_method_name"] = "predict"
    for name in SERVICES:
        assert pool.FindServiceByName(name).methods


def test_unknown_symbols(channel: grpc.Channel) -> None:
    replies = ask(
        channel,
        "v1",
        Request(file_containing_symbol="clarifai.api.V3"),
        Request(file_by_filename="none.proto"),
        Request(file_by_filename="runner/v1/clarifai.proto"),
        Request(),
    )
    assert [reply.error_response.error_code for reply in replies] == [5, 5, 0, 3]


def test_extensions(channel: grpc.Channel) -> None:
    message = "runner.v1.Input"
    replies = ask(
        channel,
        "v1",
        Request(all_extension_numbers_of_type=message),
        Request(all_extension_numbers_of_type="runner.v1.Nothing"),
        Request(file_containing_extension={"containing_type": message, "extension_number": 1}),
    )
    assert replies[0].all_extension_numbers_response.base_type_name == message
    assert not replies[0].all_extension_numbers_response.extension_number
    assert [reply.error_response.error_code for reply in replies] == [0, 5, 5]
    assert [reply.original_request.WhichOneof("message_request") for reply in replies[:2]] == [
        "all_extension_numbers_of_type"
    ] * 2


def test_health_on_the_same_socket(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="clarifai.api.V2"), timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError, match="no service 'x'") as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="x"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
