"""What is cancelled stops: the benchmark of cancelling, small."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.client import AsyncModel
from tests.running import run_on_fresh_loop

pytestmark = pytest.mark.real

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STREAMS = 24


@pytest.fixture(scope="module")
def cancel() -> Any:
    """Return the benchmark's module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_of_cancelling", BENCHMARKS / "cancel.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.LONGEST = 0.3
        module.READERS = 2
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("benchmark_of_cancelling", "bench", "processes"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def port(serve, cancel) -> int:
    return serve(str(cancel.MODEL)).port


def test_no_step_is_begun_for_who_left_and_every_row_is_back(cancel, port, capsys):
    """By closing, by a deadline, by the client's death, and in the queue."""
    assert run_on_fresh_loop(cancel.measure(port, STREAMS, 1, ("count",))) == []
    assert f"{STREAMS} unary calls were cancelled while they waited in the queue, and 0" in capsys.readouterr().out


def test_a_generator_in_a_thread_lets_go_too(cancel, port):
    async def run() -> Any:
        async with AsyncModel(base_url=f"127.0.0.1:{port}") as model:
            found = await cancel.leave(model, port, "closed", "count_in_thread", STREAMS, random.Random(2))
            return found, await model.statistics()

    found, statistics = run_on_fresh_loop(run())
    assert found.breach == ""
    assert statistics.cancel_latency_seconds.count > 0
    assert [replica.running for replica in statistics.replicas] == [0]
