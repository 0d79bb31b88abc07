"""Image and text networks on a GPU: items per second through the server, over those of a bare loop, in bf16.

EfficientNet-Lite0 and MiniLM with their weights, and a network of ResNet-50's size without: for speed it need not
know anything. Images are uint8 arrays (224, 224, 3). Without CUDA it says so and exits with 0.

    python benchmarks/gpu.py [--rounds 5] [--seconds 5] [--only efficientnet,resnet,minilm]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from batching import batches
from bench import machine, request, runner_job
from load import client_name, measure
from processes import running

from runner.client import Model
from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
CASES = ("efficientnet", "resnet", "minilm")
IN_FLIGHT = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of loop and server (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="aimed length of one run (default 5)")
    parser.add_argument("--only", default=",".join(CASES), help="comma-separated cases")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device on this machine")
        return
    print(f"{torch.cuda.get_device_name()}; {machine()}; load from {client_name()}, {IN_FLIGHT} in flight\n")
    print("| network | loop, items/s | served, items/s | efficiency | mean batch | device idle between batches |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in options.only.split(","):
        print(_case(name, options.rounds, options.seconds), flush=True)


def _case(name: str, rounds: int, seconds: float) -> str:
    directory = HERE / "models" / "gpu" / name
    command = [sys.executable, "-m", "runner", "serve", str(directory), "--port", "0", "--devices", "cuda:0"]
    text = pb.Data(
        string_value="A sentence of about twenty words, as one finds them in the middle of an ordinary text."
    )
    image = pb.Data(ndarray=pb.NDArray(buffer=bytes(224 * 224 * 3), shape=[224, 224, 3], dtype="uint8"))
    message = request("predict", item=text if name == "minilm" else image)
    loops: list[float] = []
    rates: list[float] = []
    idle: list[float] = []
    with running(command) as server:
        job = runner_job(server, "PostModelOutputs", message)
        warm_up = measure(server.port, job, calls=8 * IN_FLIGHT, in_flight=IN_FLIGHT)
        calls = max(8 * IN_FLIGHT, int(warm_up.calls_per_second * seconds))
        before = batches(server, "predict")
        for _ in range(rounds):
            bare = subprocess.run(
                [sys.executable, str(directory / "model.py"), str(seconds)], capture_output=True, text=True, check=True
            )
            loops.append(float(json.loads(bare.stdout)))
            used = _device_seconds(server.port)
            done = measure(server.port, job, calls=calls, in_flight=IN_FLIGHT)
            rates.append(done.calls_per_second)
            idle.append(1 - (_device_seconds(server.port) - used) / (calls / done.calls_per_second))
        after = batches(server, "predict")
    size = (after[1] - before[1]) / max(after[0] - before[0], 1)
    ratio = statistics.median(rate / loop for rate, loop in zip(rates, loops, strict=True))
    return (
        f"| {name} | {statistics.median(loops):,.0f} | {statistics.median(rates):,.0f} | {ratio:.2f} | {size:.1f} "
        f"| {statistics.median(idle):.0%} |"
    )


def _device_seconds(port: int) -> float:
    with Model(base_url=f"127.0.0.1:{port}") as model:
        return sum(point.device_seconds for point in model.statistics().points)


if __name__ == "__main__":
    main()
