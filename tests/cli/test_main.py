"""What all subcommands share: how they write, and how their errors are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runner.testing import serve

HELLO = Path(__file__).parents[2] / "examples" / "models" / "hello"


def test_a_terminal_that_knows_ascii_alone_is_written_to_all_the_same(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [sys.executable, "-m", "runner", "init", str(tmp_path / "mödel")], capture_output=True, env=environment
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"runner serve '" in ended.stdout
    assert b"m\\xf6del" in ended.stdout


def test_who_has_no_key_is_told_how_to_give_one(runner):
    with serve(HELLO, workers=True, keys=["secret"]) as model:
        code, _, err = runner("methods", "--url", str(model._settings.address))
        assert code == 1
        assert err.endswith("the call has none or a wrong one; --pat or RUNNER_PAT gives it one\n")
