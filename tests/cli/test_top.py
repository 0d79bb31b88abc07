"""What `runner top` shows of two looks at a server."""

from __future__ import annotations

from dataclasses import replace

from runner.cli.top import render
from tests.looks import BEFORE, NOW


def test_rates_are_of_the_time_between_two_looks():
    assert render(BEFORE, NOW) == [
        "7 calls wait in the server (1,234 bytes)",
        "  batches of embed: 7, the oldest for 0.25 s",
        "12 running calls were told to stop, and had after 2.0 ms (p50), 31.2 ms (p99)",
        "15 calls cancelled, 4 run again, 0 poison; 1 workers restarted",
        "",
        "METHOD  CALLS/S  FAILED/S  P50 MS  P99 MS  CALLS  FAILED  REFUSED",
        "embed   160.0    10.0      ≤10     >60000  420    20      9",
        "new     1.0      0.0       -       -       2      0       0",
        "",
        "BATCHES OF  BATCHES/S  MEAN SIZE  MEAN MS  LEFT BECAUSE   SIZES SO FAR",
        "embed       5.0        32.0       150.0    idle 2 full 8  ≤16:10 ≤32:10",
        "",
        "REPLICA  DEVICE  STATE  CALLS  DEVICE USE",
        "1        cuda:0  ready  64     75%",
    ]


def test_a_server_that_has_done_nothing():
    nothing = replace(BEFORE, methods=(), points=(), replicas=())
    assert render(nothing, nothing)[0] == "0 calls wait in the server (0 bytes)"


def test_a_real_server(runner, served):
    code, out, err = runner("top", "--url", served, "--once", "--interval", "0.1")
    assert (code, err) == (0, "")
    assert "REPLICA  DEVICE" in out


def test_timing_of_a_call(runner, served):
    code, out, err = runner("call", "--url", served, "--timing", "named", "--arg", "timeout=5")
    assert code == 0
    assert out
    assert [part.split(" ")[0] for part in err.strip().split("  ")] == [
        "queue",
        "wait",
        "decode",
        "run",
        "encode",
        "batch",
    ]


def test_timing_of_a_call_that_failed(runner, served):
    code, out, err = runner("call", "--url", served, "--timing", "picky", "--prompt", "x")
    assert (code, out) == (1, "")
    times, error = err.splitlines()
    assert [part.split(" ")[0] for part in times.split("  ")] == ["queue", "wait", "decode", "run", "encode", "batch"]
    assert error == "runner: RuntimeError: not today"
