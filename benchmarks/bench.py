"""What the way through the server costs beside grpc.aio alone: a Markdown table for `docs/performance.md`.

Each row is measured in rounds, and in each round the servers take turns, so that a slow minute of the machine falls on
all of them. Figures are medians over the rounds; `of raw` is the median of the rounds' own ratios.

    python benchmarks/bench.py [--rounds 5] [--seconds 2] [--only echo,connections,blocks,arrays,streams]
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import grpc
from blocks import of_go, of_grpcio
from load import Job, Measured, client_name, measure
from processes import Server, running
from raw_echo import REPEATS

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
CALLS_BOUNDS = 100, 60_000  # per run: enough for a p99, and never more than a log file of a few megabytes
SUCCESS = 10000


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server's way of doing a row's work."""

    name: str
    server: Server
    job: Job


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured together: the first contestant is the one that the others are compared with."""

    title: str
    in_flight: int
    contestants: Sequence[Contestant]
    connections: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. `cpu`: seconds of server CPU per call, all its processes together."""

    measured: Measured
    cpu: float


def request(method: str, inputs: int = 1, /, **arguments: pb.Data) -> bytes:
    """Return a serialized call, with so many inputs of the same arguments."""
    data = pb.Data(parts=[pb.Part(id=name, data=value) for name, value in arguments.items()])
    data.metadata["_method_name"] = method
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)] * inputs).SerializeToString()


def runner_job(server: Server, rpc: str, message: bytes) -> Job:
    """Return a job whose reply's length is learned from one call, which has to succeed."""
    path = f"/clarifai.api.V2/{rpc}"
    streamed = rpc == "GenerateModelOutputs"
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        if streamed:
            replies: list[bytes] = list(channel.unary_stream(path)(message, timeout=10))
        else:
            replies = [channel.unary_unary(path)(message, timeout=10)]
    for reply in replies:
        response = pb.MultiOutputResponse.FromString(reply)
        if response.status.code != SUCCESS:
            raise RuntimeError(f"{rpc} answered {response.status}")
    return Job(path=path, request=message, reply_bytes=sum(5 + len(reply) for reply in replies), streamed=streamed)


def raw_job(message: bytes, *, repeat: bool = False) -> Job:
    """Return the same message for the raw server."""
    rpc, times = ("Repeat", REPEATS) if repeat else ("Echo", 1)
    return Job(path=f"/bench.Raw/{rpc}", request=message, reply_bytes=times * (5 + len(message)), streamed=repeat)


def rows(raw: Server, ours: Server, native: Server, only: Sequence[str]) -> list[Row]:
    """Return the rows of the table.

    Args:
        raw: grpc.aio with nothing behind it.
        ours: the model behind the grpcio transport.
        native: the same behind our own.
        only: which groups of rows.
    """
    text = pb.Data(string_value="hello")
    table: list[Row] = []
    if "echo" in only:
        echo, plain = request("echo", text=text), request("plain_echo", text=text)
        contestants = [
            Contestant("raw grpc.aio", raw, raw_job(echo)),
            Contestant("on grpcio, async def", ours, runner_job(ours, "PostModelOutputs", echo)),
            Contestant("on grpcio, def", ours, runner_job(ours, "PostModelOutputs", plain)),
            Contestant("runner, async def", native, runner_job(native, "PostModelOutputs", echo)),
            Contestant("runner, def", native, runner_job(native, "PostModelOutputs", plain)),
        ]
        table += [Row("echo, 5 characters", in_flight, contestants) for in_flight in (1, 16, 64)]
    if "connections" in only:
        echo = request("echo", text=text)
        contestants = [
            Contestant("raw grpc.aio", raw, raw_job(echo)),
            Contestant("on grpcio, async def", ours, runner_job(ours, "PostModelOutputs", echo)),
            Contestant("runner, async def", native, runner_job(native, "PostModelOutputs", echo)),
        ]
        table.append(Row("echo over 64 connections", 64, contestants, connections=64))
    if "blocks" in only:
        echo = request("echo", text=text)
        for who, blocks in (("grpcio", of_grpcio), ("grpc-go", of_go)):
            contestants = [
                Contestant("raw grpc.aio", raw, raw_job(echo)),
                Contestant("on grpcio, async def", ours, runner_job(ours, "PostModelOutputs", echo)),
                Contestant("runner, async def", native, runner_job(native, "PostModelOutputs", echo)),
            ]
            contestants = [replace(each, job=replace(each.job, blocks=blocks)) for each in contestants]
            table.append(Row(f"echo, header blocks of {who} that never repeat", 64, contestants))
    if "arrays" in only:
        array = pb.Data(ndarray=pb.NDArray(buffer=bytes(150_000), shape=[37_500], dtype="float32"))
        message = request("echo_array", array=array)
        contestants = [
            Contestant("raw grpc.aio", raw, raw_job(message)),
            Contestant("on grpcio, async def", ours, runner_job(ours, "PostModelOutputs", message)),
            Contestant("runner, async def", native, runner_job(native, "PostModelOutputs", message)),
        ]
        table += [Row("echo, array of 150 KB", in_flight, contestants) for in_flight in (1, 16)]
    if "streams" in only:
        message = request("repeat", text=text, times=pb.Data(int_value=REPEATS))
        contestants = [
            Contestant("raw grpc.aio", raw, raw_job(message, repeat=True)),
            Contestant("on grpcio, async def", ours, runner_job(ours, "GenerateModelOutputs", message)),
            Contestant("runner, async def", native, runner_job(native, "GenerateModelOutputs", message)),
        ]
        table += [Row(f"stream of {REPEATS} chunks", in_flight, contestants) for in_flight in (1, 16)]
    return table


def run(contestant: Contestant, row: Row, calls: int) -> Sample:
    """Measure once."""
    before = contestant.server.cpu_seconds()
    measured = measure(
        contestant.server.port, contestant.job, calls=calls, in_flight=row.in_flight, connections=row.connections
    )
    return Sample(measured, (contestant.server.cpu_seconds() - before) / calls)


def measure_row(row: Row, *, rounds: int, seconds: float) -> list[list[Sample]]:
    """Return each contestant's samples, one per round."""
    low, high = CALLS_BOUNDS
    calls: list[int] = []
    for contestant in row.contestants:
        warm_up = run(contestant, row, low)
        calls.append(int(min(high, max(low, warm_up.measured.calls_per_second * seconds))))
    samples: list[list[Sample]] = [[] for _ in row.contestants]
    for _ in range(rounds):
        for index, contestant in enumerate(row.contestants):
            samples[index].append(run(contestant, row, calls[index]))
    return samples


def lines(row: Row, samples: list[list[Sample]]) -> list[str]:
    """Return the row as lines of the table, one per contestant."""
    text: list[str] = []
    for contestant, its in zip(row.contestants, samples, strict=True):
        ratio = statistics.median(
            sample.measured.calls_per_second / raw.measured.calls_per_second
            for sample, raw in zip(its, samples[0], strict=True)
        )
        rate = statistics.median(sample.measured.calls_per_second for sample in its)
        p50 = statistics.median(sample.measured.p50 for sample in its) * 1e3
        p99 = statistics.median(sample.measured.p99 for sample in its) * 1e3
        cpu = statistics.median(sample.cpu for sample in its) * 1e6
        text.append(
            f"| {row.title} | {row.in_flight} | {contestant.name} "
            f"| {rate:,.0f} | {ratio:.0%} | {p50:.2f} | {p99:.2f} | {cpu:,.0f} |"
        )
    return text


def machine() -> str:
    """Return one line about where and when this was measured."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    software = f"Python {platform.python_version()}, grpcio {version('grpcio')}, uvloop {version('uvloop')}"
    return f"{name}, {os.cpu_count()} cores; {software}; {datetime.date.today()}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant in each row (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="aimed length of one run (default 2)")
    parser.add_argument(
        "--only", default="echo,connections,blocks,arrays,streams", help="comma-separated groups of rows"
    )
    options = parser.parse_args()
    raw_command = [sys.executable, str(HERE / "raw_echo.py")]
    command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "echo"), "--port", "0", "--transport"]
    our_command, native_command = [*command, "grpcio"], [*command, "native"]
    with running(raw_command) as raw, running(our_command) as ours, running(native_command) as native:
        print(f"{machine()}; load from {client_name()}; medians of {options.rounds} rounds\n")
        print("| calls | in flight | server | calls/s | of raw | p50 ms | p99 ms | CPU µs/call |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        servers = {"raw grpc.aio": raw, "on grpcio": ours, "runner": native}
        began = {name: server.resident_bytes() for name, server in servers.items()}
        for row in rows(raw, ours, native, options.only.split(",")):
            for line in lines(row, measure_row(row, rounds=options.rounds, seconds=options.seconds)):
                print(line, flush=True)
        print("\n| server process, without its workers | MB when it began to serve | MB after all rows | MB at most |")
        print("| --- | ---: | ---: | ---: |")
        for name, server in servers.items():
            now, most = server.resident_bytes(), server.resident_bytes(most=True)
            print(f"| {name} | {began[name] / 1e6:.0f} | {now / 1e6:.0f} | {most / 1e6:.0f} |")


if __name__ == "__main__":
    main()
