"""Image and text networks on a GPU: items per second through the server, over those of a bare loop, in bf16.

EfficientNet-Lite0 and MiniLM with their weights, and a network of ResNet-50's size without: for speed it need not
know anything. Images are uint8 arrays (224, 224, 3). A request holds one input, or a list of them: the price of the
transport is paid for each request. Without CUDA it says so and exits with 0.

    python benchmarks/gpu.py [--rounds 5] [--seconds 5] [--only efficientnet,resnet,minilm] [--lists 1,16]
        [--connections 8]
    python benchmarks/gpu.py -- --transport grpcio
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from batching import batches
from bench import machine, request, runner_job
from load import client_name, measure
from processes import Server, running

from runner.client import Model
from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
CASES = ("efficientnet", "resnet", "minilm")
IN_FLIGHT = 256
"""inputs at any time: the batch that runs, the next one, and two on their way."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of loop and server (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="aimed length of one run (default 5)")
    parser.add_argument("--only", default=",".join(CASES), help="comma-separated cases")
    parser.add_argument("--lists", default="1,16", help="inputs in one request, comma-separated (default 1,16)")
    parser.add_argument("--connections", type=int, default=8, help="of the load, with a thread each (default 8)")
    parser.add_argument("flags", nargs="*", help="flags of `runner serve`, behind --")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device on this machine")
        return
    print(f"{torch.cuda.get_device_name()}; {machine()}; load from {client_name()}, {IN_FLIGHT} inputs in flight over")
    print(f"{options.connections} connections; `runner serve {' '.join(options.flags)}`", end="; ")
    print(f"medians of {options.rounds} pairs\n")
    print(
        "| network | inputs in a request | loop, items/s | served, items/s | efficiency | mean batch "
        "| device idle between batches | server, CPU µs an item | worker |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in options.only.split(","):
        for line in _case(name, options):
            print(line, flush=True)


def _case(name: str, options: argparse.Namespace) -> Iterator[str]:
    directory = HERE / "models" / "gpu" / name
    command = [sys.executable, "-m", "runner", "serve", str(directory), "--port", "0", "--devices", "cuda:0"]
    command += options.flags
    text = pb.Data(
        string_value="A sentence of about twenty words, as one finds them in the middle of an ordinary text."
    )
    image = pb.Data(ndarray=pb.NDArray(buffer=bytes(224 * 224 * 3), shape=[224, 224, 3], dtype="uint8"))
    with running(command) as server:
        for size in map(int, options.lists.split(",")):
            message = request("predict", size, item=text if name == "minilm" else image)
            yield f"| {name} | {size} | {_measure(directory, server, message, size, options)} |"


def _measure(directory: Path, server: Server, message: bytes, size: int, options: argparse.Namespace) -> str:
    loops: list[float] = []
    rates: list[float] = []
    idle: list[float] = []
    job = runner_job(server, "PostModelOutputs", message)
    in_flight = max(1, IN_FLIGHT // size)
    load = {
        "in_flight": in_flight,
        "connections": min(options.connections, in_flight),
        "threads": min(options.connections, in_flight),
    }
    warm_up = measure(server.port, job, calls=8 * in_flight, **load)
    calls = max(8 * in_flight, int(warm_up.calls_per_second * options.seconds))
    before = batches(server, "predict")
    cpu = [0.0, 0.0]
    for _ in range(options.rounds):
        bare = subprocess.run(
            [sys.executable, str(directory / "model.py"), str(options.seconds)],
            capture_output=True,
            text=True,
            check=True,
        )
        loops.append(float(json.loads(bare.stdout)))
        used = _device_seconds(server.port)
        server_cpu, worker_cpu = server.cpu_seconds_apart()
        done = measure(server.port, job, calls=calls, **load)
        after_server, after_worker = server.cpu_seconds_apart()
        cpu[0] += after_server - server_cpu
        cpu[1] += after_worker - worker_cpu
        rates.append(done.calls_per_second * size)
        idle.append(1 - (_device_seconds(server.port) - used) / (calls / done.calls_per_second))
    after = batches(server, "predict")
    batch = (after[1] - before[1]) / max(after[0] - before[0], 1)
    ratio = statistics.median(rate / loop for rate, loop in zip(rates, loops, strict=True))
    items = options.rounds * calls * size
    return (
        f"{statistics.median(loops):,.0f} | {statistics.median(rates):,.0f} | {ratio:.2f} | {batch:.1f} "
        f"| {statistics.median(idle):.0%} | {cpu[0] / items * 1e6:.0f} | {cpu[1] / items * 1e6:.0f}"
    )


def _device_seconds(port: int) -> float:
    with Model(base_url=f"127.0.0.1:{port}") as model:
        return sum(point.device_seconds for point in model.statistics().points)


if __name__ == "__main__":
    main()
