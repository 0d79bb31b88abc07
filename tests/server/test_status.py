"""Each error has one code for each service, and nothing that clients retry where retrying loses items."""

from __future__ import annotations

import grpc
import pytest

from runner import errors
from runner.errors import ErrorKind, InvalidInput, ModelError, call_error
from runner.server.status import Code, code_of, grpc_code_of, rpc_status
from runner.wire.pb import inference_pb2 as pb

RETRIED_BY_OFFICIAL_CLIENTS = {21351, 21354, 21355, 11003, 11005}


@pytest.mark.parametrize(
    ("error", "code", "on_bidi", "grpc_code"),
    [
        (errors.InvalidInput, 21203, 21203, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.MessageTooLarge, 21203, 21203, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.MethodNotFound, 10040, 10040, grpc.StatusCode.UNIMPLEMENTED),
        (errors.ModelNotFound, 21200, 21200, grpc.StatusCode.NOT_FOUND),
        (errors.Unauthenticated, 11002, 11002, grpc.StatusCode.UNAUTHENTICATED),
        (errors.FetchFailed, 30002, 30002, grpc.StatusCode.FAILED_PRECONDITION),
        (errors.ModelError, 21313, 21313, grpc.StatusCode.UNKNOWN),
        (errors.WorkerLost, 25608, 25608, grpc.StatusCode.ABORTED),
        (errors.ModelLoading, 21351, 10030, grpc.StatusCode.UNAVAILABLE),
        (errors.Overloaded, 21354, 10030, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.Draining, 21354, 10030, grpc.StatusCode.UNAVAILABLE),
        (errors.DeadlineExceeded, 40032, 40032, grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.Cancelled, 10020, 10020, grpc.StatusCode.CANCELLED),
        (errors.InternalError, 99009, 99009, grpc.StatusCode.INTERNAL),
    ],
)
def test_codes(error: type[errors.CallError], code: int, on_bidi: int, grpc_code: grpc.StatusCode) -> None:
    raised = error("no")
    assert code_of(raised).code == code
    assert code_of(raised, streaming_input=True).code == on_bidi
    assert grpc_code_of(raised) == grpc_code.value[0]


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_is_mapped(kind: ErrorKind) -> None:
    error = call_error(kind, "text")
    assert code_of(error).description == "text"
    assert code_of(error).details == "text"
    assert code_of(error, streaming_input=True).code not in RETRIED_BY_OFFICIAL_CLIENTS
    assert grpc_code_of(error) in {code.value[0] for code in grpc.StatusCode}


def test_codes_are_those_of_the_official_package() -> None:
    names = pytest.importorskip("clarifai_grpc.grpc.api.status.status_code_pb2").StatusCode
    values = dict(names.items())
    for code in Code:
        assert code in {values.get(prefix + code.name) for prefix in ("", "CONN_", "RPC_")}


def test_path_is_told() -> None:
    status = code_of(InvalidInput("is not an image", path="images[3]", details="12 bytes"))
    assert status.description == "images[3]: is not an image"
    assert status.details == "12 bytes"


def test_the_models_own_text_is_in_both() -> None:
    error = ModelError("ValueError: no cat", details="not for the caller")
    status = code_of(error)
    assert status.description == status.details == "ValueError: no cat"


def test_the_models_own_text_can_be_hidden() -> None:
    error = ModelError("ValueError: secret", details="secret", path="secret")
    status = code_of(error, hide_model_errors=True)
    assert "secret" not in status.description + status.details
    code, message, details = rpc_status(error, hide_model_errors=True)
    assert code == 2
    assert "secret" not in message
    assert b"secret" not in details
    assert code_of(InvalidInput("shown"), hide_model_errors=True).description == "shown"


def test_rpc_status() -> None:
    code, message, data = rpc_status(InvalidInput("is wrong", details="because", path="x"))
    status = pb.RpcStatus.FromString(data)
    detail = pb.ErrorDetail()
    assert status.details[0].Unpack(detail)
    assert (code, message) == (status.code, status.message) == (3, "is wrong")
    assert detail == pb.ErrorDetail(kind="invalid_input", message="is wrong", details="because", path="x")


@pytest.mark.parametrize("text", ["x" * 5_000, "\ud800", ""])
def test_texts_are_clipped(text: str) -> None:
    assert code_of(ModelError(text)).details == errors.clip(text)
