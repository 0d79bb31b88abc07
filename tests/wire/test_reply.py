"""Framed bytes are the messages that protobuf would have written."""

from __future__ import annotations

import pytest

from runner.wire import reply
from runner.wire.pb import inference_pb2 as pb


def output(text: str) -> pb.Output:
    message = pb.Output(status=pb.Status(code=10000))
    message.data.parts.add(id="return").data.string_value = text
    return message


@pytest.mark.parametrize("texts", [[], ["a"], ["a", ""], ["a" * 200_000], ["x"] * 32])
def test_success(texts: list[str]) -> None:
    outputs = [output(text) for text in texts]
    message = pb.MultiOutputResponse.FromString(reply.success([entry.SerializeToString() for entry in outputs]))
    assert message.status == pb.Status(code=10000, description="Ok")
    assert list(message.outputs) == outputs


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000, 3_000_000])
def test_a_long_reply_is_the_same_in_pieces(size: int) -> None:
    serialized = output("x" * size).SerializeToString()
    pieces = reply.long_success(serialized)
    assert b"".join(pieces) == reply.success([serialized])
    assert pieces.output is serialized


def test_views_are_framed_too() -> None:
    data = output("x").SerializeToString()
    view = memoryview(b"__" + data)[2:]
    assert reply.success([view]) == reply.success([data])
    assert reply.failure(10010, "", outputs=[view, data]) == reply.failure(10010, "", outputs=[data, data])


def test_failure() -> None:
    failed = reply.failed_output(21203, "bad", "very bad", kind="invalid_input", path="images[3]")
    data = reply.failure(10010, "some failed", "1 of 2", outputs=[reply.EMPTY_OUTPUT, failed])
    message = pb.MultiOutputResponse.FromString(data)
    assert message.status == pb.Status(code=10010, description="some failed", details="1 of 2")
    assert message.outputs[0].status.code == 10000
    assert not message.outputs[0].HasField("data")
    assert message.outputs[1].status == pb.Status(
        code=21203,
        description="bad",
        details="very bad",
        developer_notes="invalid_input",
        internal_details="images[3]",
    )


@pytest.mark.parametrize(
    "reply_type",
    [
        pb.SingleModelResponse,
        pb.SingleModelVersionResponse,
        pb.MultiModelVersionResponse,
        pb.SingleModelTypeResponse,
        pb.SingleUserResponse,
        pb.SingleDeploymentResponse,
        pb.SingleNodepoolResponse,
    ],
)
def test_a_failure_answers_every_rpc(reply_type: type[pb.SingleModelResponse]) -> None:
    message = reply_type.FromString(reply.failure(21200, "no such model"))
    assert message == reply_type(status=pb.Status(code=21200, description="no such model"))
