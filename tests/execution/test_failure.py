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


def test_the_log_names_the_request(caplog):
    failure.of_model(ValueError("no"), "predict", cancelled=False, request_id="r-1")
    failure.of_model(EncodeError("returned int"), "predict", cancelled=False, request_id="r-2")
    assert caplog.messages == ["predict raised ValueError (request r-1)", "predict: returned int (request r-2)"]


def test_an_exception_without_a_text_is_its_type():
    assert str(failure.of_model(MemoryError(), "predict", cancelled=False)) == "MemoryError"


def test_the_log_has_once_what_fails_a_whole_batch(caplog):
    kept = ValueError("no")
    for _ in range(2):  # a model may raise the same one again
        try:
            raise kept
        except ValueError as exc:
            told = [failure.of_model(exc, "predict", cancelled=False) for _ in range(3)]
        assert [str(each) for each in told] == ["ValueError: no"] * 3
    wrong = ModelError("predict() got a batch of 3 and returned 2 results")
    assert len({str(failure.of_model(wrong, "predict", cancelled=False)) for _ in range(3)}) == 1
    assert len(caplog.records) == 3


def test_for_debugging_the_caller_has_it_too():
    try:
        raise ValueError("no")
    except ValueError as exc:
        ours = failure.with_traceback(failure.of_ours(exc, "reading the arguments"))
        told = failure.with_traceback(failure.of_model(exc, "predict", cancelled=False))
    for error in (ours, told):
        assert error.details.startswith("Traceback (most recent call last):")
        assert error.details.endswith("ValueError: no\n")
        assert __file__ in error.details
    plain = failure.of_model(InvalidInput("told"), "predict", cancelled=False)
    assert failure.with_traceback(plain).details == ""


def test_the_end_of_a_long_traceback_is_what_is_told():
    def deep(left: int) -> None:
        if not left:
            raise ValueError("ö" * 100)
        (deep if left % 2 else lambda left: deep(left))(left - 1)

    try:
        deep(60)
    except ValueError as exc:
        details = failure.with_traceback(failure.of_ours(exc, "x")).details
    assert details.startswith("…")
    assert details.endswith("ö\n")
    assert 2000 < len(details.encode()) <= 2048


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
