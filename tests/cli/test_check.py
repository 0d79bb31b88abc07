from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

from runner.cli.check import _events, _Report, _Silence
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
import os, signal, time
from runner import ModelClass

class Deadly(ModelClass):
    @ModelClass.method
    def kill(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)

    @ModelClass.method
    def leave(self) -> str:
        os._exit(7)

    @ModelClass.method
    def good(self) -> str:
        return "good"

    @ModelClass.method
    def bad(self, text: str, times: int) -> str:
        raise ValueError(times)
"""


def test_what_takes_its_process_along_does_not_take_the_others(runner, tmp_path):
    (tmp_path / "model.py").write_text(DEADLY)
    code, out, _ = runner("check", str(tmp_path))
    assert code == 1
    assert re.fullmatch(
        r""".* loaded in .* s
  failed                def kill\(\) -> str:
                       the process was killed, for want of memory perhaps
  failed                def leave\(\) -> str:
                       the process exited with code 7
  ok .* ms  def good\(\) -> str:
  failed .* ms  def bad\(text: str, times: int\) -> str:
                       ValueError: 1
                       called with text='What is the future of AI\?', times=1
""",
        out,
    )


def test_a_model_that_takes_its_process_along_while_it_loads(runner, tmp_path):
    (tmp_path / "model.py").write_text("import os\nos._exit(7)\n")
    code, _, err = runner("check", str(tmp_path))
    assert (code, err) == (1, "runner: the process exited with code 7 while loading the model\n")


def test_examples_take_the_place_of_generated_inputs(runner, tmp_path):
    (tmp_path / "model.py").write_text(
        """
from runner import ModelClass

class Chat(ModelClass):
    @ModelClass.method(example={"messages": [{"role": "user", "content": "Hi"}]})
    def chat(self, messages: list[dict], times: int) -> str:
        return messages[0]["content"] * times
"""
    )
    code, out, _ = runner("check", str(tmp_path))
    assert (code, lines(out)) == (0, {"chat": "ok"})


def test_a_silent_child_is_killed():
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    silence = _Silence(child, 0.1)
    with child.stdin:
        assert list(_events(child.stdout, silence)) == []
        assert child.wait() == -signal.SIGKILL
    assert silence.broken


def test_events_are_printed_as_they_come(capsys):
    report = _Report(Path("m"))
    for event in (
        {"event": "loaded", "seconds": 1.0},
        {"event": "calling", "method": "f", "signature": "def f() -> str:"},
        {"event": "called", "outcome": "refused", "seconds": 0.001, "text": "prompt: too short", "inputs": "a=1"},
        {"event": "done"},
    ):
        report.tell(json.loads(json.dumps(event)))
    report.end("exited with code 0")
    assert (report.failed, report.unfinished, report.tried) == (False, False, ["f"])
    assert capsys.readouterr().out.splitlines() == [
        "m loaded in 1.00 s",
        "  refused       1.0 ms  def f() -> str:",
        "                       prompt: too short",
        "                       called with a=1",
    ]
