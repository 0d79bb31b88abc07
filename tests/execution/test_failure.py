"""What an exception becomes on its way to the caller. Most of it is tested where it happens, in the tests of calls."""

from __future__ import annotations

import asyncio
import logging

import pytest

from runner.errors import (
    Cancelled,
    DeadlineExceeded,
    FetchFailed,
    InternalError,
    InvalidInput,
    ModelError,
    ModelNotFound,
)
from runner.execution import failure
from runner.wire.call import EncodeError


@pytest.mark.parametrize("kind", [InvalidInput, FetchFailed, Cancelled, DeadlineExceeded])
def test_a_models_own_verdict_stands(kind, caplog):
    told = failure.of_model(kind("told", details="more", path="a.b"), "predict", cancelled=False)
    assert type(told) is kind
    assert (told.message, told.details, told.path) == ("told", "more", "a.b")
    assert not caplog.records


def test_a_verdict_that_is_not_the_models_to_give_is_an_error_of_the_model():
    told = failure.of_model(ModelNotFound("another model's"), "predict", cancelled=False)
    assert type(told) is ModelError
    assert str(told) == "ModelNotFound: another model's"


def test_nobody_is_told_how_a_cancelled_call_ended(caplog):
    told = failure.of_model(ValueError("too late"), "predict", cancelled=True)
    assert type(told) is Cancelled
    assert not caplog.records


def test_the_log_has_the_traceback_and_the_caller_has_not(caplog):
    try:
        raise ValueError("no")
    except ValueError as exc:
        told = failure.of_model(exc, "predict", cancelled=False)
    assert (str(told), told.details) == ("ValueError: no", "")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info


def test_a_result_of_another_type_needs_no_traceback(caplog):
    told = failure.of_model(EncodeError("returned int, declared str"), "predict", cancelled=False)
    assert type(told) is ModelError
    assert str(told) == "returned int, declared str"
    assert not caplog.records[0].exc_info


def test_our_own_errors_are_told_in_general(caplog):
    told = failure.of_ours(ZeroDivisionError("secret"), "reading the arguments")
    assert type(told) is InternalError
    assert "secret" not in str(told)
    assert "secret" in caplog.text
    assert type(failure.of_ours(asyncio.CancelledError(), "reading")) is Cancelled
    error = InvalidInput("told")
    assert failure.of_ours(error, "reading") is error
