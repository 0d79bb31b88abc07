"""Server reflection: what services there are and what their messages look like, for grpcurl and its kin.

Everything is described in a descriptor pool of its own. In the default pool a second description of `clarifai.api`
would break, or be broken by, the official package in the same process; and there is nothing to gain from parsing with
these descriptors, since the messages are those of `runner.v1` under either service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from runner.grpc_protocol.status import StatusCode
from runner.server.health import SERVICE as HEALTH_SERVICE
from runner.server.rpcs import BidiRpc, CallInfo, RpcFailed, Rpcs
from runner.signature.dialect import Dialect
from runner.wire.pb import inference_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

_Response: TypeAlias = reflection_pb2.ServerReflectionResponse

_V1ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"
"""The two versions of the protocol differ in this name only, so one servicer answers both."""

SERVICES = (
    *(dialect.value for dialect in Dialect),
    HEALTH_SERVICE,
    f"{_V1}.ServerReflection",
    f"{_V1ALPHA}.ServerReflection",
)


def reflection_rpcs() -> Rpcs:
    """Return the RPCs of both versions."""
    pool = _describe()

    async def info(requests: AsyncIterator[bytes], call: CallInfo) -> AsyncIterator[Sequence[bytes]]:
        async for request in _parsed(requests):
            yield (_answer(pool, request).SerializeToString(),)

    rpc = BidiRpc(info, lasting=True)
    return {f"/{version}.ServerReflection/ServerReflectionInfo": rpc for version in (_V1, _V1ALPHA)}


async def _parsed(requests: AsyncIterator[bytes]) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    async for request in requests:
        try:
            yield reflection_pb2.ServerReflectionRequest.FromString(request)
        except DecodeError:
            raise RpcFailed(StatusCode.INVALID_ARGUMENT, "the request is not a ServerReflectionRequest") from None


def _answer(pool: DescriptorPool, request: reflection_pb2.ServerReflectionRequest) -> _Response:
    """Return what a request asks for. The package's own servicer would do, but loads all of gRPC."""
    response = _Response(original_request=request)
    try:
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [reflection_pb2.ServiceResponse(name=name) for name in sorted(SERVICES)]
                response.list_services_response.service.extend(names)
            case "file_by_filename":
                _tell_file(pool.FindFileByName(request.file_by_filename), response)
            case "file_containing_symbol":
                _tell_file(pool.FindFileContainingSymbol(request.file_containing_symbol), response)
            case "file_containing_extension":
                wanted = request.file_containing_extension
                message = pool.FindMessageTypeByName(wanted.containing_type)
                extension = pool.FindExtensionByNumber(message, wanted.extension_number)
                _tell_file(pool.FindFileContainingSymbol(extension.full_name), response)
            case "all_extension_numbers_of_type":
                message = pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
                numbers = sorted(extension.number for extension in pool.FindAllExtensions(message))
                told = response.all_extension_numbers_response
                told.base_type_name = message.full_name
                told.extension_number.extend(numbers)
            case _:
                response.error_response.error_code = StatusCode.INVALID_ARGUMENT
                response.error_response.error_message = "the request asks for nothing"
    except KeyError:
        response.error_response.error_code = StatusCode.NOT_FOUND
        response.error_response.error_message = "there is no such thing here"
    return response


def _tell_file(file: Any, response: _Response) -> None:
    """Put a file's description and those of all that it imports into a response."""
    found: dict[str, Any] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            found[each.name] = each
            waiting.extend(each.dependencies)
    response.file_descriptor_response.file_descriptor_proto.extend(each.serialized_pb for each in found.values())


def _describe() -> DescriptorPool:
    pool = DescriptorPool()
    for module in (pb, health_pb2, reflection_pb2):
        _add(pool, cast("FileDescriptor", module.DESCRIPTOR))  # or its twin in C, with the same attributes
    _add_proto(pool, _clarifai_service())
    _add_proto(pool, _reflection_v1())
    return pool


def _add(pool: DescriptorPool, file: FileDescriptor) -> None:
    """Add a file after those which it imports."""
    for dependency in file.dependencies:
        _add(pool, dependency)
    pool.AddSerializedFile(file.serialized_pb)


def _add_proto(pool: DescriptorPool, proto: FileDescriptorProto) -> None:
    pool.AddSerializedFile(proto.SerializeToString())


def _clarifai_service() -> FileDescriptorProto:
    """The RPCs of our own service that the other one has too, under its name and with our messages."""
    package, _, name = Dialect.CLARIFAI.value.rpartition(".")
    proto = FileDescriptorProto(
        name="runner/v1/clarifai.proto", package=package, dependency=[pb.DESCRIPTOR.name], syntax="proto3"
    )
    service = proto.service.add()
    pb.DESCRIPTOR.services_by_name["Inference"].CopyToProto(service)
    service.name = name
    shared = [rpc for rpc in service.method if not rpc.client_streaming or rpc.server_streaming]
    del service.method[:]
    service.method.extend(shared)
    return proto


def _reflection_v1() -> FileDescriptorProto:
    """The description of the older version, renamed."""
    proto = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    proto.name = proto.name.replace("v1alpha", "v1")
    proto.package = _V1
    proto.ClearField("options")
    for message in proto.message_type:
        for field in message.field:
            if field.type_name:  # setting an empty one would say that there is a type
                field.type_name = field.type_name.replace(_V1ALPHA, _V1)
    for rpc in proto.service[0].method:
        rpc.input_type = rpc.input_type.replace(_V1ALPHA, _V1)
        rpc.output_type = rpc.output_type.replace(_V1ALPHA, _V1)
    return proto
