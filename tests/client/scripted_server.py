"""A gRPC server that does what a test says, to see what the client does about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from runner.model import ModelClass
from runner.signature.publish import publish
from runner.wire import reply
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb


class ScriptedServer(grpc.GenericRpcHandler):
    """Describes a model, fails unary calls with `status`, answers a stream once and then waits for the client.

    `left` is set when a client has left a stream; `metadata` is that of the last call.
    """

    def __init__(self, model_class: type[ModelClass]) -> None:
        signatures, published = publish(model_class)
        self.status = grpc.StatusCode.UNAVAILABLE
        self.left = threading.Event()
        self.metadata: dict[str, str | bytes] = {}
        self._output = reply.success([CallCodec(signatures["generate"]).encode_output("first")])
        version = pb.ModelVersion(method_signatures=[pb.MethodSignature.FromString(one.native) for one in published])
        self._version = pb.SingleModelVersionResponse(
            status=pb.Status(code=10000), model_version=version
        ).SerializeToString()
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.base_url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        self.metadata = dict(details.invocation_metadata)
        match details.method.rpartition("/")[2]:
            case "GetModelVersion":
                return grpc.unary_unary_rpc_method_handler(lambda request, context: self._version)
            case "PostModelOutputs":
                return grpc.unary_unary_rpc_method_handler(
                    lambda request, context: context.abort(self.status, "as the test says")
                )
            case "GenerateModelOutputs":
                return grpc.unary_stream_rpc_method_handler(self._stream)
            case "StreamModelOutputs":
                return grpc.stream_stream_rpc_method_handler(self._stream)
            case _:
                return None

    def _stream(self, requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.left.set)
        yield self._output
        self.left.wait()

    def close(self) -> None:
        self._server.stop(0).wait()
