"""How much of a model is left when it is served: items per second through the server, over those of a bare loop.

The loop calls the model in a process of its own with full batches, one after the other. Rounds alternate loop and
server. `efficiency` is the median of the rounds' ratios; the batch sizes are what the server says about itself. The row
of bare grpc.aio is a server that hands back the same messages and has no model at all: what grpc.aio alone leaves.

    python benchmarks/batching.py [--rounds 5] [--seconds 3] [--only mlp,embedder] [--transports grpcio,native]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import machine, raw_job, request, runner_job
from load import Job, client_name, measure
from processes import Server, running

from runner.client import Model
from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
TEXT = "A model that answers many small calls has to gather them, or its device waits for work most of the time."


@dataclass(frozen=True, slots=True)
class Case:
    """A model, and what it is asked. `alone`: a method that does the same without a batch."""

    name: str
    directory: Path
    method: str
    alone: str
    argument: str
    data: pb.Data


CASES = (
    Case(
        "mlp",
        HERE / "models" / "mlp",
        "predict",
        "alone",
        "row",
        pb.Data(ndarray=pb.NDArray(buffer=np.ones(512, np.float32).tobytes(), shape=[512], dtype="float32")),
    ),
    Case(
        "embedder",
        HERE.parent / "examples" / "models" / "sentence-embedder",
        "embed",
        "",
        "text",
        pb.Data(string_value=TEXT),
    ),
)


def offline(case: Case, seconds: float) -> float:
    """Return the items per second of the bare loop, in a process of its own."""
    command = [sys.executable, str(HERE / "offline.py"), case.name, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["items_per_second"])


def batches(server: Server, name: str) -> tuple[int, int]:
    """Return how many batches a method has run, and how many calls were in them."""
    with Model(base_url=f"127.0.0.1:{server.port}") as model:
        for point in model.statistics().points:
            if point.name == name:
                return point.batches, point.entries
    return 0, 0


def measure_case(case: Case, transport: str, rounds: int, seconds: float, in_flight: int) -> str:
    """Return a line of the table."""
    command = [sys.executable, "-m", "runner", "serve", str(case.directory), "--port", "0", "--transport", transport]
    rates: list[float] = []
    loops: list[float] = []
    p50s: list[float] = []
    p99s: list[float] = []
    singles: list[float] = []
    alones: list[float] = []
    with running(command) as server:
        job = runner_job(server, "PostModelOutputs", request(case.method, **{case.argument: case.data}))
        warm_up = measure(server.port, job, calls=4 * in_flight, in_flight=in_flight)
        calls = max(4 * in_flight, int(warm_up.calls_per_second * seconds))
        before = batches(server, case.method)
        for _ in range(rounds):
            loops.append(offline(case, seconds))
            measured = measure(server.port, job, calls=calls, in_flight=in_flight)
            rates.append(measured.calls_per_second)
            p50s.append(measured.p50)
            p99s.append(measured.p99)
        after = batches(server, case.method)
        few = max(50, int(min(500, 0.2 * calls)))
        plain = (
            None
            if not case.alone
            else runner_job(server, "PostModelOutputs", request(case.alone, **{case.argument: case.data}))
        )
        for _ in range(rounds):
            singles.append(_p50(server, job, few))
            if plain is not None:
                alones.append(_p50(server, plain, few))
    size = (after[1] - before[1]) / max(after[0] - before[0], 1)
    ratio = statistics.median(rate / loop for rate, loop in zip(rates, loops, strict=True))
    beside = f"{statistics.median(alones) * 1e3:.2f}" if alones else "-"
    return (
        f"| {case.name} | {transport} | {statistics.median(loops):,.0f} | {statistics.median(rates):,.0f} "
        f"| {ratio:.2f} | {size:.1f} | {statistics.median(p50s) * 1e3:.1f} | {statistics.median(p99s) * 1e3:.1f} "
        f"| {statistics.median(singles) * 1e3:.2f} | {beside} |"
    )


def measure_bare(case: Case, rounds: int, seconds: float, in_flight: int) -> str:
    """Return the line of a server that does nothing."""
    ratios: list[float] = []
    rates: list[float] = []
    loops: list[float] = []
    with running([sys.executable, str(HERE / "raw_echo.py")]) as server:
        job = raw_job(request(case.method, **{case.argument: case.data}))
        warm_up = measure(server.port, job, calls=4 * in_flight, in_flight=in_flight)
        calls = max(4 * in_flight, int(warm_up.calls_per_second * seconds))
        for _ in range(rounds):
            loops.append(offline(case, seconds))
            rates.append(measure(server.port, job, calls=calls, in_flight=in_flight).calls_per_second)
            ratios.append(rates[-1] / loops[-1])
    return (
        f"| no model | bare grpc.aio | {statistics.median(loops):,.0f} | {statistics.median(rates):,.0f} "
        f"| {statistics.median(ratios):.2f} | - | - | - | - | - |"
    )


def _p50(server: Server, job: Job, calls: int) -> float:
    return measure(server.port, job, calls=calls, in_flight=1).p50


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of loop and server (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="aimed length of one run (default 3)")
    parser.add_argument("--in-flight", type=int, default=64, help="calls in flight (default 64)")
    parser.add_argument("--only", default="mlp,embedder", help="comma-separated cases")
    parser.add_argument("--transports", default="grpcio,native", help="comma-separated; what the servers speak with")
    options = parser.parse_args(argv)
    print(
        f"{machine()}; load from {client_name()} over one connection, {options.in_flight} in flight; "
        f"medians of {options.rounds} pairs\n"
    )
    print(
        "| model | transport | loop, items/s | served, items/s | efficiency | mean batch | p50 ms | p99 ms "
        "| p50 ms, 1 in flight | same, not batched |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in CASES:
        if case.name in options.only.split(","):
            if "grpcio" in options.transports.split(","):
                print(measure_bare(case, options.rounds, options.seconds, options.in_flight), flush=True)
            for transport in options.transports.split(","):
                print(measure_case(case, transport, options.rounds, options.seconds, options.in_flight), flush=True)


if __name__ == "__main__":
    main()
