"""What the kernel says of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from runner.workers.vitals import Vitals, read_vitals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_this_process_computes_and_has_memory() -> None:
    vitals = read_vitals(os.getpid())
    assert not vitals.stopped
    assert vitals.cpu_seconds is not None
    assert vitals.cpu_seconds > 0
    assert vitals.resident_bytes is not None
    assert vitals.resident_bytes > 1 << 20


def test_a_stopped_process_is_seen() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            assert read_vitals(process.pid).stopped
        finally:
            process.kill()


def test_nothing_is_known_of_one_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert read_vitals(process.pid) == Vitals(stopped=False, cpu_seconds=None)
