from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.check import _events, _Report
from tests.cli.conftest import ODD

HELLO = Path(__file__).parents[2] / "examples" / "models" / "hello"


def lines(out: str) -> dict[str, str]:
    """The outcome of each method that was run."""
    methods = [line.split() for line in out.splitlines() if " def " in line]
    return {words[4].partition("(")[0]: words[0] for words in methods}


def test_a_good_model(runner):
    code, out, _ = runner("check", str(HELLO))
    assert code == 0
    assert lines(out) == {"predict": "ok", "generate": "ok", "stream": "ok"}


def test_what_fails_is_named(runner):
    code, out, _ = runner("check", str(ODD))
    assert code == 1
    assert lines(out) == {
        "size": "ok",
        "flip": "ok",
        "add": "ok",
        "picky": "failed",
        "wrong": "failed",
        "endless": "ok",
        "named": "ok",
        "top": "ok",
    }
    assert "RuntimeError: not today" in out


def test_a_model_that_cannot_be_loaded(runner, tmp_path):
    code, _, err = runner("check", str(tmp_path))
    assert (code, err.count("\n")) == (1, 1)
    assert "holds neither model.py" in err
    (tmp_path / "model.py").write_text("import no_such_package\n")
    code, _, err = runner("check", str(tmp_path))
    assert code == 1
    assert "cannot be imported: ModuleNotFoundError" in err.splitlines()[0]


DEADLY = """
import os, signal
from runner import ModelClass

class Deadly(ModelClass):
    @ModelClass.method
    def predict(self) -> str:
        {body}
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was killed: no answer for 300 s, or out of memory, while running def",
        ),
        ("os._exit(7)", "exited with code 7 while running def predict() -> str:"),
    ],
)
def test_a_model_that_takes_its_process_along(runner, tmp_path, body, message):
    (tmp_path / "model.py").write_text(DEADLY.format(body=body))
    code, _, err = runner("check", str(tmp_path))
    assert code == 1
    assert message in err


def test_a_silent_child_is_killed():
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin:
        assert list(_events(child.stdout, child, 0.1)) == []
        assert child.wait() == -signal.SIGKILL


def test_events_are_printed_as_they_come(capsys):
    report = _Report(Path("m"))
    for event in (
        {"event": "loaded", "seconds": 1.0},
        {"event": "calling", "signature": "def f() -> str:"},
        {"event": "called", "outcome": "refused", "seconds": 0.001, "text": "prompt: too short"},
        {"event": "done"},
    ):
        report.tell(json.loads(json.dumps(event)))
    assert report.end(0, 5.0) == 0
    assert capsys.readouterr().out.splitlines() == [
        "m loaded in 1.00 s",
        "  refused       1.0 ms  def f() -> str:",
        "                       prompt: too short",
    ]
    assert _Report(Path("m")).end(-signal.SIGKILL, 5.0) == 1
