"""A log that says what it has to say, whatever a model has done to logging."""

from __future__ import annotations

import logging

import pytest

from runner.sturdy_log import SturdyLog

NAME = "runner.tests.sturdy"


class Raising(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise SystemExit(1)


@pytest.fixture
def broken():
    raising = Raising()
    logging.getLogger(NAME).addFilter(raising)
    yield
    logging.getLogger(NAME).removeFilter(raising)


def test_it_logs_like_any_other(caplog):
    caplog.set_level(logging.INFO)
    log = SturdyLog(NAME)
    log.info("loads %s", "a")
    log.warning("slow")
    log.error("raised", exc=ValueError("no"))
    assert caplog.messages == ["loads a", "slow", "raised"]
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING, logging.ERROR]
    assert {record.module for record in caplog.records} == {"test_sturdy_log"}
    assert caplog.records[2].exc_info


def test_a_broken_log_fails_nobody_and_what_was_to_be_said_is_on_stderr(broken, capfd):
    try:
        raise ValueError("no")
    except ValueError as exc:
        SturdyLog(NAME).error("%s raised", "predict", exc=exc)
    said = capfd.readouterr().err
    assert said.startswith("predict raised\nTraceback")
    assert said.endswith("ValueError: no\n(the log is broken: SystemExit)\n")


def test_so_does_an_exception_that_cannot_be_looked_at(broken, capfd):
    class Opaque(Exception):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    SturdyLog(NAME).error("raised", exc=Opaque())
    assert "Opaque, of which there is no traceback" in capfd.readouterr().err
