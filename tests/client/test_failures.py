from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from runner.client.failures import Unreachable, from_grpc, from_status
from runner.errors import (
    DeadlineExceeded,
    ErrorKind,
    InternalError,
    InvalidInput,
    MessageTooLarge,
    MethodNotFound,
    ModelError,
    Overloaded,
    Unauthenticated,
    call_error,
)
from runner.server.status import rpc_status
from runner.wire.pb import inference_pb2 as pb

TARGET = "http://h:1"


# A bug of the server's own is told in its own words.
@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INTERNAL])
def test_what_the_server_raised_arrives_as_it_was(kind):
    sent = call_error(kind, "it went wrong", details="more", path="images[3]")
    code, text, details = rpc_status(sent)
    got = from_grpc(code, text, details, target=TARGET)
    assert type(got) is type(sent)
    assert (got.message, got.details, got.path) == (sent.message, sent.details, sent.path)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (3, InvalidInput),
        (4, DeadlineExceeded),
        (8, Overloaded),
        (12, MethodNotFound),
        (13, InternalError),
        (14, Unreachable),
        (16, Unauthenticated),
        (99, InternalError),
    ],
)
def test_a_bare_status_is_read_by_its_code(code, error):
    assert type(from_grpc(code, "text", None, target=TARGET)) is error
    assert type(from_grpc(code, "text", b"\xff\xff", target=TARGET)) is error  # details of another kind


def test_a_reply_over_the_limit_is_told_from_overload():
    text = "CLIENT: Received message larger than max (10 vs. 5)"
    assert type(from_grpc(8, text, None, target=TARGET)) is MessageTooLarge


def test_an_unreachable_server_is_named():
    assert TARGET in str(from_grpc(14, "connection refused", None, target=TARGET))


def test_a_kind_from_the_future_keeps_its_text():
    packed = Any()
    packed.Pack(pb.ErrorDetail(kind="quota_spent", message="too much", path="p"))
    details = pb.RpcStatus(code=8, details=[packed]).SerializeToString()
    error = from_grpc(8, "too much", details, target=TARGET)
    assert type(error) is InternalError
    assert str(error) == "p: too much"


def test_a_status_inside_a_reply_is_read_by_kind_then_by_code():
    status = pb.Status(code=21313, description="ValueError: x", details="ValueError: x", developer_notes="model_error")
    error = from_status(status)
    assert type(error) is ModelError
    assert (error.message, error.details) == ("ValueError: x", "")
    bad = from_status(pb.Status(code=21203, description="no", internal_details="prompt"))
    assert type(bad) is InvalidInput
    assert str(bad) == "prompt: no"
    assert "12345" in str(from_status(pb.Status(code=12345)))


def test_a_refusal_says_when_to_come_back():
    code, text, details = rpc_status(Overloaded("too much", retry_after=1.25))
    error = from_grpc(code, text, details, target="x")
    assert isinstance(error, Overloaded)
    assert error.retry_after == 1.25
    code, text, details = rpc_status(Overloaded("too much"))
    error = from_grpc(code, text, details, target="x")
    assert isinstance(error, Overloaded)
    assert error.retry_after is None
