"""What a second replica adds where the device is what counts: a model that sleeps, in batches of 16.

python benchmarks/replicas.py [--rounds 5] [--seconds 2]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from pathlib import Path

from batching import batches
from bench import machine, request, runner_job
from load import client_name, measure
from processes import running

from runner.wire.pb import inference_pb2 as pb

MODEL = Path(__file__).parent / "models" / "sleep"
REPLICAS = (1, 2)
IN_FLIGHT = 128


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server, in turn (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="aimed length of one run (default 2)")
    options = parser.parse_args()
    command = [sys.executable, "-m", "runner", "serve", str(MODEL), "--port", "0", "--devices", "cpu", "--replicas"]
    message = request("predict", text=pb.Data(string_value="x"))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running([*command, str(count)])) for count in REPLICAS]
        jobs = [runner_job(server, "PostModelOutputs", message) for server in servers]
        calls = [int(800 * count * options.seconds) for count in REPLICAS]
        before = [batches(server, "predict") for server in servers]
        rates: list[list[float]] = [[] for _ in servers]
        for _ in range(options.rounds):
            for index, server in enumerate(servers):
                done = measure(server.port, jobs[index], calls=calls[index], in_flight=IN_FLIGHT)
                rates[index].append(done.calls_per_second)
        after = [batches(server, "predict") for server in servers]
    print(f"{machine()}; load from {client_name()}, {IN_FLIGHT} in flight; medians of {options.rounds} rounds\n")
    print("| replicas | calls/s | of one | mean batch |\n| ---: | ---: | ---: | ---: |")
    for index, count in enumerate(REPLICAS):
        ratio = statistics.median(one / other for one, other in zip(rates[index], rates[0], strict=True))
        size = (after[index][1] - before[index][1]) / max(after[index][0] - before[index][0], 1)
        print(f"| {count} | {statistics.median(rates[index]):,.0f} | {ratio:.2f} | {size:.1f} |")


if __name__ == "__main__":
    main()
