"""What streams cost beside grpc.aio alone: how long an item takes there and back, how many chunks leave in a second.

Ping-pong: one bidi call, each input sent when the answer to the last is there. Chunks: the rows `streams` of
`bench.py`. Servers take turns in each round, and figures are medians over the rounds.

    python benchmarks/streams.py [--rounds 5] [--items 2000] [--seconds 2] [-- FLAGS of runner serve]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import grpc.aio
from bench import lines, machine, measure_row, request, rows
from load import client_name
from processes import Server, running

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
WARM_UP = 200
"""round trips before those that count."""


def item(text: str) -> bytes:
    """Return one more input of a bidi call."""
    data = pb.Data(parts=[pb.Part(id="texts", data=pb.Data(string_value=text))])
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()


async def ping_pong(server: Server, path: str, first: bytes, message: bytes, items: int) -> list[float]:
    """Return how long each item took there and back, in seconds."""
    times: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.stream_stream(path)()
        if first:
            await call.write(first)
        for _ in range(WARM_UP + items):
            began = time.perf_counter()
            await call.write(message)
            answer = await call.read()
            times.append(time.perf_counter() - began)
            if answer is grpc.aio.EOF or b"hello" not in answer:
                raise RuntimeError(f"{path} answered {answer!r}")
        call.cancel()
    return times[WARM_UP:]


def print_ping_pong(raw: Server, ours: Server, native: Server, *, rounds: int, items: int) -> None:
    """Measure and print the first table."""
    ours_path, message = "/clarifai.api.V2/StreamModelOutputs", item("hello")
    contestants = [
        ("raw grpc.aio", raw, "/bench.Raw/Chat", b""),
        ("on grpcio, async def", ours, ours_path, request("chat")),
        ("on grpcio, def", ours, ours_path, request("plain_chat")),
        ("runner, async def", native, ours_path, request("chat")),
        ("runner, def", native, ours_path, request("plain_chat")),
    ]
    p50: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, server, path, first in contestants:
            times = sorted(asyncio.run(ping_pong(server, path, first, message, items)))
            p50.setdefault(name, []).append(times[len(times) // 2] * 1e3)
            p99.setdefault(name, []).append(times[len(times) * 99 // 100] * 1e3)
    print("| ping-pong | p50 ms | over raw | p99 ms |\n| --- | ---: | ---: | ---: |")
    for name, values in p50.items():
        over = statistics.median(value - raw for value, raw in zip(values, p50["raw grpc.aio"], strict=True))
        print(f"| {name} | {statistics.median(values):.2f} | {over:+.2f} | {statistics.median(p99[name]):.2f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (default 5)")
    parser.add_argument("--items", type=int, default=2000, help="round trips in a run (default 2000)")
    parser.add_argument("--seconds", type=float, default=2.0, help="aimed length of a run of chunks (default 2)")
    parser.add_argument("flags", nargs="*", help="more flags of `runner serve`, behind --")
    options = parser.parse_args()
    raw_command = [sys.executable, str(HERE / "raw_echo.py")]
    command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "echo"), "--port", "0", *options.flags]
    our_command, native_command = [*command, "--transport", "grpcio"], [*command, "--transport", "native"]
    with running(raw_command) as raw, running(our_command) as ours, running(native_command) as native:
        print(f"{machine()}; medians of {options.rounds} rounds\n")
        print_ping_pong(raw, ours, native, rounds=options.rounds, items=options.items)
        print(f"\nLoad from {client_name()} over one connection:\n")
        print("| calls | in flight | server | calls/s | of raw | p50 ms | p99 ms | CPU µs/call |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for row in rows(raw, ours, native, ["streams"]):
            for line in lines(row, measure_row(row, rounds=options.rounds, seconds=options.seconds)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
