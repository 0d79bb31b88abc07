from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("stdout", ["full", "closed at the other end"])
def test_a_server_whose_stdout_takes_nothing_serves_on(stdout):
    program = "from runner.server.announcement import announce; announce('serving x'); print('and serves on')"
    if stdout == "full":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        other_end, target = os.pipe()
        os.close(other_end)
    try:
        ended = subprocess.run([sys.executable, "-c", program], stdout=target, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(target)
    assert ended.returncode == 0
    assert "stdout cannot be written to" in ended.stderr
    assert "serving x" in ended.stderr
    assert "Exception" not in ended.stderr
