"""What an input costs by itself, and in a list: inputs per second and CPU, with a batched method that does nothing.

A text gives the vector of an embedder, an image of 150 KB the scores of a classifier.

    python benchmarks/lists.py [--rounds 3] [--seconds 2] [--lists 1,16,64] [-- FLAGS OF runner serve]
"""

from __future__ import annotations

import argparse
import statistics
import sys

from bench import HERE, machine, request, runner_job
from load import client_name, measure
from processes import running

from runner.wire.pb import inference_pb2 as pb

IN_FLIGHT = 128
TEXT = "A sentence of about twenty words, as one finds them in the middle of an ordinary text."
ITEMS = {
    "embed": ("text", pb.Data(string_value=TEXT)),
    "classify": (
        "image, 150 KB",
        pb.Data(ndarray=pb.NDArray(buffer=bytes(224 * 224 * 3), shape=[224, 224, 3], dtype="uint8")),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each row, in turn (default 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="aimed length of one run (default 2)")
    parser.add_argument("--lists", default="1,16,64", help="inputs in one request, comma-separated (default 1,16,64)")
    parser.add_argument("flags", nargs="*", help="flags of `runner serve`, behind --")
    options = parser.parse_args()
    sizes = [int(size) for size in options.lists.split(",")]
    command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "lists"), "--port", "0", *options.flags]
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    with running(command) as server:
        jobs = {
            (method, size): runner_job(server, "PostModelOutputs", request(method, size, item=item))
            for method, (_, item) in ITEMS.items()
            for size in sizes
        }
        calls: dict[tuple[str, int], int] = {}
        for _ in range(options.rounds):
            for key, job in jobs.items():
                size = key[1]
                in_flight = max(1, IN_FLIGHT // size)
                if key not in calls:
                    warm_up = measure(server.port, job, calls=4 * in_flight, in_flight=in_flight)
                    calls[key] = max(4 * in_flight, int(warm_up.calls_per_second * options.seconds))
                before = server.cpu_seconds_apart()
                done = measure(server.port, job, calls=calls[key], in_flight=in_flight)
                after = server.cpu_seconds_apart()
                inputs = calls[key] * size
                cpu = [(later - earlier) / inputs * 1e6 for earlier, later in zip(before, after, strict=True)]
                found.setdefault(key, []).append((done.calls_per_second * size, cpu[0], cpu[1]))
    print(f"{machine()}; load from {client_name()} over one connection, {IN_FLIGHT} inputs in flight; medians of")
    print(f"{options.rounds} rounds\n")
    print("| input | inputs in a request | inputs/s | server, CPU µs an input | worker |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for (method, size), runs in found.items():
        rate, server_cpu, worker_cpu = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| {ITEMS[method][0]} | {size} | {rate:,.0f} | {server_cpu:.1f} | {worker_cpu:.1f} |")


if __name__ == "__main__":
    main()
