"""Load from a process that costs the servers little: h2load where there is one, else a bare grpc.aio client.

h2load knows nothing of gRPC. It is given the request with its five-byte frame, and since a gRPC failure has no body, an
answer of the right length is a right answer: the bytes received are counted and compared.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import prepared

TIMEOUT = 60.0  # seconds for one run, whatever the server does


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One RPC, called over and over; or an HTTP/1.1 POST, if it has a content type.

    `request`: the message without its frame. `reply_bytes`: length of all reply messages of one call, frames included.
    `blocks`: makes the header blocks of its calls for a path, if they are not all to be the same. `scheme`: `https`
    for TLS, which needs h2load.
    """

    path: str
    request: bytes
    reply_bytes: int
    streamed: bool = False
    content_type: str = ""
    blocks: Callable[[bytes], Iterator[bytes]] | None = None
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run showed. Times in seconds."""

    calls_per_second: float
    p50: float
    p99: float


def measure(port: int, job: Job, *, calls: int, in_flight: int, connections: int = 1, threads: int = 1) -> Measured:
    """Send `calls` calls, and raise RuntimeError unless every answer is right.

    Args:
        port: of the server, on this machine.
        job: what is called.
        calls: how many.
        in_flight: how many at any time.
        connections: over which they are spread evenly. HTTP/1.1 has one for each call in flight, and needs h2load.
        threads: of h2load, for loads that one core cannot make; no more than connections.
    """
    if job.scheme != "http" and not shutil.which("h2load"):
        raise RuntimeError("TLS needs h2load")
    if job.blocks is None and shutil.which("h2load"):
        seconds, latencies = _h2load(port, job, calls, in_flight, connections, threads)
    else:
        send = _prepared if job.blocks else _own_client
        seconds, latencies = send(port, job, calls, in_flight, connections)
    latencies.sort()
    return Measured(calls / seconds, statistics.median(latencies), latencies[min(calls - 1, calls * 99 // 100)])


def client_name() -> str:
    """Return which client `measure` uses, for the report."""
    return "h2load" if shutil.which("h2load") else "a grpc.aio client (no h2load on this machine: it costs more CPU)"


def _prepared(port: int, job: Job, calls: int, in_flight: int, connections: int) -> tuple[float, list[float]]:
    assert job.blocks is not None
    assert connections == 1
    return prepared.send(port, job.blocks(job.path.encode()), job.request, job.reply_bytes, calls, in_flight)


def _h2load(
    port: int, job: Job, calls: int, in_flight: int, connections: int, threads: int
) -> tuple[float, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        command = ["h2load", f"--requests={calls}", f"--data={body}", f"--log-file={log}", f"--threads={threads}"]
        if job.content_type:
            body.write_bytes(job.request)
            command += ["--h1", f"--clients={in_flight}", f"--header=content-type: {job.content_type}"]
        else:
            body.write_bytes(b"\0" + len(job.request).to_bytes(4, "big") + job.request)
            command += [f"--clients={connections}", f"--max-concurrent-streams={in_flight // connections}"]
            command += ["--header=content-type: application/grpc", "--header=te: trailers"]
        command += [f"{job.scheme}://127.0.0.1:{port}{job.path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        # start in µs since the epoch, HTTP status, duration in µs
        lines = [line.split() for line in log.read_text().splitlines()]
    received = re.search(r"\((\d+)\) data", done.stdout)
    if f"{calls} 2xx" not in done.stdout or received is None or int(received[1]) != calls * job.reply_bytes:
        raise RuntimeError(f"wrong answers from {job.path}, expected {job.reply_bytes} bytes each:\n{done.stdout}")
    begin = min(int(line[0]) for line in lines)
    end = max(int(line[0]) + int(line[2]) for line in lines)
    return (end - begin) / 1e6, [int(line[2]) / 1e6 for line in lines]


def _own_client(port: int, job: Job, calls: int, in_flight: int, connections: int) -> tuple[float, list[float]]:
    with tempfile.NamedTemporaryFile() as body:
        body.write(job.request)
        body.flush()
        kind = "stream" if job.streamed else "unary"
        arguments = [str(port), job.path, kind, str(job.reply_bytes), str(calls), str(in_flight), str(connections)]
        arguments.append(body.name)
        command = [sys.executable, __file__, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    report = json.loads(done.stdout)
    return report["seconds"], report["latencies"]


async def _drive(port: int, job: Job, calls: int, in_flight: int, connections: int) -> dict[str, object]:
    import grpc

    latencies: list[float] = []
    left = iter(range(calls))

    async with AsyncExitStack() as stack:
        # Channels with the same options share a connection, unless told not to.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options))
            for _ in range(connections)
        ]

        async def lane(channel: grpc.aio.Channel) -> None:
            unary, stream = channel.unary_unary(job.path), channel.unary_stream(job.path)
            for _ in left:
                started = time.perf_counter()
                if job.streamed:
                    received = sum([5 + len(message) async for message in stream(job.request)])
                else:
                    received = 5 + len(await unary(job.request))
                latencies.append(time.perf_counter() - started)
                if received != job.reply_bytes:
                    raise RuntimeError(f"{received} bytes from {job.path}, expected {job.reply_bytes}")

        started = time.perf_counter()
        await asyncio.gather(*[lane(channels[number % connections]) for number in range(in_flight)])
        return {"seconds": time.perf_counter() - started, "latencies": latencies}


def _main(
    port: str, path: str, kind: str, reply_bytes: str, calls: str, in_flight: str, connections: str, body: str
) -> None:
    request = Path(body).read_bytes()
    job = Job(path=path, request=request, reply_bytes=int(reply_bytes), streamed=kind == "stream")
    print(json.dumps(asyncio.run(_drive(int(port), job, int(calls), int(in_flight), int(connections)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
