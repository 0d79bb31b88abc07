"""`@grpc/grpc-js`, the gRPC of Node.js: an HTTP/2 that shares nothing with grpcio's.

It is installed once into `.cache/`; without node, npm or a network on the first run these tests are skipped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.wire.pb import inference_pb2 as pb
from tests.real.npm import Node, installed, needs_node
from tests.real.test_plain_grpc import NATIVE, request, result

pytestmark = [pytest.mark.real, pytest.mark.timeout(240), needs_node]  # the first run installs the client

VERSION = "1.14.7"
DRIVER = Path(__file__).parent / "node" / "grpc_js.cjs"
RPCS = {"unary": "PostModelOutputs", "server": "GenerateModelOutputs", "client": "CollectModelOutputs"}
RPCS["bidi"] = "StreamModelOutputs"
OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED = 0, 1, 2, 4, 12


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node(DRIVER, installed("@grpc/grpc-js", VERSION))
    yield node
    node.close()


@pytest.fixture(scope="module")
def call(node, serve):
    """Return what makes a call of the native service, to the model named first."""

    def call(model: str, kind: str, *messages: bytes, **how: object) -> dict:
        path = f"{NATIVE}/{RPCS[kind]}"
        encoded = [base64.b64encode(message).decode() for message in messages]
        return node.ask(**{"address": serve(model).address, "kind": kind, "path": path, "messages": encoded, **how})

    return call


def results(answer: dict) -> list[pb.Data]:
    replies = [pb.MultiOutputResponse.FromString(base64.b64decode(message)) for message in answer["messages"]]
    return [result(reply) for reply in replies]


def texts(answer: dict) -> list[str]:
    return [data.string_value for data in results(answer)]


def echo(text: str) -> bytes:
    return request("echo", text=pb.Data(string_value=text))


@pytest.mark.parametrize("length", [0, 5, 300_000], ids=["empty", "short", "many frames"])
def test_unary(call, length):
    answer = call("misbehaving", "unary", echo("é" * length))
    assert (answer["code"], texts(answer)) == (OK, ["é" * length])
    assert answer["header"]["content-type"] == ["application/grpc"]
    assert "runner-times" in answer["trailer"]


def test_metadata(call):
    # A call with fields of its own, and binary ones, among calls without.
    for metadata in ({}, {"x-trace": "1", "x-trace-bin": base64.b64encode(bytes(range(256))).decode()}, {}):
        assert texts(call("misbehaving", "unary", echo("hi"), metadata=metadata)) == ["hi"]


def test_server_stream(call):
    answer = call("streams", "server", request("count", until=pb.Data(int_value=500)))
    assert (answer["code"], [data.int_value for data in results(answer)]) == (OK, list(range(500)))


def test_client_stream(call):
    answer = call("streams", "client", *[request("total", items=pb.Data(int_value=number)) for number in range(100)])
    assert answer["code"] == OK
    assert [data.int_value for data in results(answer)] == [4950]


def test_conversation(call):
    """Each message leaves when the one before is answered."""
    words = [request("bidi_endless", items=pb.Data(string_value=f"{number}")) for number in range(50)]
    answer = call("misbehaving", "bidi", *words)
    assert (answer["code"], texts(answer)) == (OK, [str(number) for number in range(50)])


def test_error_status(call):
    answer = call("misbehaving", "unary", request("fail", text=pb.Data(string_value="the cät is 100% out")))
    assert (answer["code"], answer["details"], answer["messages"]) == (UNKNOWN, "ValueError: the cät is 100% out", [])
    status = pb.RpcStatus.FromString(base64.b64decode(answer["trailer"]["grpc-status-details-bin"][0]))
    detail = pb.ErrorDetail()
    assert status.details[0].Unpack(detail)
    assert detail.kind == "model_error"


def test_error_after_messages(call):
    answer = call("misbehaving", "server", request("fail_midway", count=pb.Data(int_value=3)))
    assert (answer["code"], answer["details"]) == (UNKNOWN, "ValueError: gave up after 3")
    assert [data.int_value for data in results(answer)] == [0, 1, 2]


def test_unknown_rpc(call):
    answer = call("misbehaving", "unary", b"", path=f"{NATIVE}/DropTables")
    assert answer["code"] == UNIMPLEMENTED


def test_deadline(call):
    # An endless stream: only the deadline can end it, on both sides.
    answer = call("misbehaving", "server", request("endless"), deadline_ms=300)
    assert answer["code"] == DEADLINE_EXCEEDED
    assert answer["messages"]
    assert nothing_runs(call)


@pytest.mark.parametrize("kind", ["server", "bidi"])
def test_cancel(call, kind):
    messages = {"server": [request("endless")], "bidi": [request("bidi_endless", items=pb.Data(string_value="x"))] * 9}
    answer = call("misbehaving", kind, *messages[kind], cancel_after=4)
    assert answer["code"] == CANCELLED
    assert len(answer["messages"]) >= 4
    assert nothing_runs(call)


def nothing_runs(call) -> bool:
    """Return True once the model has no stream left."""
    answer = call("misbehaving", "unary", request("wait_open_streams", count=pb.Data(int_value=0)), deadline_ms=15_000)
    return results(answer)[0].bool_value
