"""The soak, for seconds in place of minutes: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.running import run_on_fresh_loop

pytestmark = [pytest.mark.real, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")]

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def soak() -> Iterator[Any]:
    """Return the benchmark's module."""
    path = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_of_minutes", BENCHMARKS / "soak.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.PAUSES, module.CALLERS = 1, 12
        yield module
    finally:
        sys.path[:] = path
        for name in ("benchmark_of_minutes", "bench", "processes", "items"):
            sys.modules.pop(name, None)


def test_seconds_of_it(soak, launch):
    server = launch(str(soak.MODEL))
    server.wait_ready()
    found = run_on_fresh_loop(soak.soak(soak.Server(server.pid, server.port), minutes=0.03, seed=3, patience=30))
    assert [breach for breach in found if "memory" not in breach] == []  # that takes minutes to settle
    assert server.terminate() == 0
    assert soak.unexpected(server.stderr) == []


def test_what_grows_is_told(soak):
    calm = soak.Reading(**{field.name: 100_000_000 for field in fields(soak.Reading)})
    assert soak.grown([calm] * 9) == []
    more = replace(calm, worker_files=100_000_001, server_threads=100_000_002, worker_memory=109_000_000)
    assert soak.grown([calm] * 6 + [more] * 3) == ["worker files grew from 100,000,000 to 100,000,001"]
    leak = replace(calm, worker_memory=110_000_000, rows=100_000_001)
    assert len(soak.grown([calm] * 6 + [leak] * 3)) == 2
    assert soak.grown([calm] * 6 + [leak, calm, leak]) == []  # it comes down again


def test_a_wrong_item_is_seen(soak):
    data = soak.item(7, 3)
    soak.check(data, 7, 3)
    for wrong, place in ((data[:-1], 3), (b"\0" + data[1:], 3), (data, 4), (b"", 3)):
        with pytest.raises(ValueError, match="item"):
            soak.check(wrong, 7, place)


def test_a_log_is_read(soak):
    log = "INFO runner.server: fine\nERROR runner.model: its own\n1 ERROR runner.engine: ours\nTraceback\n"
    assert soak.unexpected(log) == ["the server's log: 1 ERROR runner.engine: ours\nTraceback"]
