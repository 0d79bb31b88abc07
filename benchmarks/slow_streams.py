"""A thousand slow streams at once, and what they cost in memory: resident sizes of the server and its worker.

They are of three kinds: server-streams that give an item now and then; bidi streams on which the client sends an item
and reads its echo; and server-streams that give as fast as they are let, while their clients have stopped reading, so
that all their windows are full. All stay open. Once the windows are full, at the end of the first round, memory has to
be flat.

    python benchmarks/slow_streams.py [--streams 1000] [--rounds 5] [--seconds 10] [--size 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import grpc.aio
from bench import machine, request
from processes import Server, family, running

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
CHANNELS = 10
SERVICE = "/runner.v1.Inference/"


def resident(pid: int) -> float:
    """Return a process's resident size in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no size")


class Sizes:
    """Prints a line of the table for each moment."""

    def __init__(self, server: Server) -> None:
        self._pids = family(server.pid)
        self._began = time.monotonic()
        print(f"| moment | s | server MiB | {'worker MiB':10} |\n| --- | ---: | ---: | ---: |")

    def say(self, moment: str) -> list[float]:
        """Print the sizes now, and return them."""
        sizes = [resident(pid) for pid in self._pids]
        cells = " | ".join(f"{size:,.1f}" for size in sizes)
        print(f"| {moment} | {time.monotonic() - self._began:,.0f} | {cells} |", flush=True)
        return sizes


def item(payload: bytes) -> bytes:
    """Return one more input of a bidi call."""
    data = pb.Data(parts=[pb.Part(id="items", data=pb.Data(bytes_value=payload))])
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()


async def hold(server: Server, options: argparse.Namespace) -> None:
    """Open the streams, and say sizes as they go on."""
    sizes = Sizes(server)
    sizes.say("no stream yet")
    settings = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=settings) for _ in range(CHANNELS)]
    ticks = request("tick", every=pb.Data(float_value=options.seconds / 10), size=pb.Data(int_value=options.size))
    flood = request("tick", every=pb.Data(float_value=0.0), size=pb.Data(int_value=options.size))
    opening, input_ = request("echo"), item(bytes(options.size))
    reading, talking, stuck = [], [], []
    for number in range(options.streams):
        channel = channels[number % CHANNELS]
        if number % 3:
            kind, message = (reading, ticks) if number % 3 == 1 else (stuck, flood)
            kind.append(channel.unary_stream(SERVICE + "GenerateModelOutputs")(message))
        else:
            call = channel.stream_stream(SERVICE + "StreamModelOutputs")()
            await call.write(opening)
            talking.append(call)

    async def exchange(call: grpc.aio.StreamStreamCall) -> None:
        await call.write(input_)
        await call.read()

    async def once() -> None:
        await asyncio.gather(*(call.read() for call in reading), *map(exchange, talking))

    await asyncio.gather(once(), *(call.read() for call in stuck))
    sizes.say(f"{options.streams} streams open, one item on each")
    items, each_round = 1, list[list[float]]()
    for number in range(1, options.rounds + 1):
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            await once()
            items += 1
        each_round.append(sizes.say(f"round {number}: {items} items on each"))
    for call in (*reading, *talking, *stuck):
        call.cancel()
    for channel in channels:
        await channel.close()
    sizes.say("all gone")
    grown = [f"{after - before:+.1f}" for before, after in zip(each_round[0], each_round[-1], strict=True)]
    print(f"\nFrom the first round to the last: {' and '.join(grown)} MiB.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="a third of each kind (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="lines of the table (default 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round (default 10)")
    parser.add_argument("--size", type=int, default=1000, help="bytes of an item (default 1000)")
    options = parser.parse_args()
    print(f"{machine()}; items of {options.size} bytes\n")
    command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "slow"), "--port", "0"]
    with running(command) as server:
        asyncio.run(hold(server, options))


if __name__ == "__main__":
    main()
