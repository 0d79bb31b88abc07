from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.workers.cpu_list import read_cpus, write_cpus


@given(st.frozensets(st.integers(0, 300)))
def test_there_and_back(cpus):
    assert read_cpus(write_cpus(cpus)) == cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8\n", {0, 1, 2, 3, 8}), ("7", {7}), ("", set()), ("\n", set()), ("a-b", set()), ("-1", set())],
)
def test_lists_of_the_kernel(text, cpus):
    assert read_cpus(text) == cpus


def test_lists_are_short():
    assert write_cpus({5, 0, 1, 2, 9, 8}) == "0-2,5,8-9"


_KEEP = """
import os, threading
from runner.workers.cpu_list import keep_to
started, over = threading.Event(), threading.Event()
found = []
def early():
    started.set()
    over.wait()
    found.append(os.sched_getaffinity(0))
thread = threading.Thread(target=early)
thread.start()
started.wait()
cpu = min(os.sched_getaffinity(0))
keep_to(frozenset({cpu}))
over.set()
thread.join()
assert found == [{cpu}] == [os.sched_getaffinity(0)], found
"""


def test_threads_that_were_there_already_are_kept_too():
    assert len(os.sched_getaffinity(0)) > 0
    subprocess.run([sys.executable, "-c", _KEEP], check=True, timeout=30)
