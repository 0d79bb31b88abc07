"""What all subcommands share: how they write, and how their errors are told."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_terminal_that_knows_ascii_alone_is_written_to_all_the_same(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [sys.executable, "-m", "runner", "init", str(tmp_path / "mödel")], capture_output=True, env=environment
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"runner serve '" in ended.stdout
    assert b"m\\xf6del" in ended.stdout
