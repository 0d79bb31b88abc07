"""Lines of text, or of JSON, of everything that is said in a process."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from runner.config import load_server_config
from runner.errors import ConfigError
from runner.logs import FORMATS, LEVELS, Log

SAYS = """
import ctypes, logging, sys, warnings
from runner.logs import Log, start_log

start_log(Log())
start_log(Log(level=sys.argv[1], format=sys.argv[2]), sys.argv[3])
logger = logging.getLogger("a.model")
logger.debug("details")
logger.info("%d weights", 3, extra={"request_id": "r-1"})
warnings.warn("old weights")
try:
    raise ValueError("no such row")
except ValueError:
    logger.exception("failed")
"""


def said(*arguments: str, script: str = SAYS) -> list[str]:
    """Return the lines of a process that logs: what is set up is the whole process's."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_text_says_when_how_grave_and_who():
    info, warning, error, *traceback = said("info", "text", "worker 2")
    date, time, rest = info.split(maxsplit=2)
    assert (len(date), len(time), rest) == (10, 12, "INFO worker 2 a.model: 3 weights")
    assert warning.endswith("WARNING worker 2 py.warnings: <string>:10: UserWarning: old weights")
    assert error.endswith("ERROR worker 2 a.model: failed")
    assert (traceback[0], traceback[-1]) == ("Traceback (most recent call last):", "ValueError: no such row")


def test_the_server_s_own_lines_name_no_process():
    assert said("info", "text", "")[0].endswith("INFO a.model: 3 weights")


def test_a_name_is_no_format():
    assert said("info", "text", "100%(name)s")[0].endswith("INFO 100%(name)s a.model: 3 weights")


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_said(level, lines):
    assert len(said(level, "json", "")) == lines


def test_json_has_an_object_a_line():
    info, warning, error = map(json.loads, said("info", "json", "worker 2"))
    assert info.pop("time").endswith("+00:00")
    assert info == {
        "level": "INFO",
        "logger": "a.model",
        "process": "worker 2",
        "message": "3 weights",
        "request_id": "r-1",
    }
    assert (warning["level"], warning["message"]) == ("WARNING", "<string>:10: UserWarning: old weights")
    assert error["message"] == "failed"
    assert error["exception"].startswith("Traceback (most recent call last):\n")
    assert error["exception"].endswith("\nValueError: no such row")


def test_the_server_is_a_process_too():
    assert json.loads(said("info", "json", "")[0])["process"] == "server"


def test_a_crash_says_where():
    crash = SAYS.replace("raise ValueError", "ctypes.string_at(0)")
    lines = said("error", "text", "", script=crash)
    assert lines[0] == "Fatal Python error: Segmentation fault"
    assert any(line.endswith('File "<string>", line 12 in <module>') for line in lines)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_can_be_configured_is_there(level, form):
    assert load_server_config(overrides={"log": {"level": level, "format": form}}).log == Log(level=level, format=form)
    assert isinstance(logging.getLevelName(level.upper()), int)


def test_what_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"log\.format: got 'xml', needs text or json"):
        load_server_config(overrides={"log": {"format": "xml"}})
