"""Freed memory is kept for the next message."""

from __future__ import annotations

import subprocess
import sys

import pytest

_COUNT = """
import resource
from runner.allocator import keep_freed_memory
if {keep}:
    keep_freed_memory()
for _ in range(3):
    bytes(200_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    data = bytearray(200_000)
    del data
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(*, keep: bool, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the wishes are to glibc")
def test_no_page_is_cleared_twice() -> None:
    assert _page_faults(keep=True) < 200


def test_who_has_decided_already_is_left_alone() -> None:
    said = {"MALLOC_MMAP_THRESHOLD_": "100000", "MALLOC_TRIM_THRESHOLD_": "100000"}
    assert _page_faults(keep=True, **said) > 200 * 10
