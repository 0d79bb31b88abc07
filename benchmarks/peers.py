"""The same work in other servers: a Markdown table of what each makes of two cores.

An echo of a short string, and the network of models/mlp with its batches. Each peer is configured as its documentation
advises (peers/NAME/ says how), at the versions of its requirements.txt, in an environment of its own in .cache/peers.
One server runs at a time, and they take turns in rounds; figures are medians over the rounds. gRPC has one connection,
HTTP/1.1 has as many as there are calls in flight. Needs h2load.

    python benchmarks/peers.py [--rounds 3] [--seconds 1] [--work echo,mlp] [--only runner,mosec,...]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from batching import batches
from bench import machine, request, runner_job
from load import Job, Measured, measure
from processes import Server

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
PEERS = HERE / "peers"
CACHE = HERE.parent / ".cache" / "peers"
WORKS = ("echo", "mlp")
OURS = ("runner", "runner-2-replicas")
IN_FLIGHT = (1, 16, 64)
CALLS_BOUNDS = 100, 60_000  # per run: enough for a p99, and never more than a log file of a few megabytes
STARTED_WITHIN = 60.0  # seconds; importing torch takes most of them
STOPPED_WITHIN = 10.0
TEXT = "hello"
ROW = np.ones(512, np.float32)

Answer = str | np.ndarray


@dataclass(frozen=True, slots=True)
class Peer:
    """A server beside ours, or ours.

    Attributes:
        name: as in the table, and of its folder.
        command: what starts it, for a work and a port, with the interpreter of its environment.
        job: its call, for a work and a port, once it answers. It raises if the server does not.
        answer: what a reply of such a call says.
        batches: how many batches it has run so far, and calls in them; None if it does not tell.
    """

    name: str
    command: Callable[[str, str, int], Sequence[str]]
    job: Callable[[str, int], tuple[Job, Answer]]
    batches: Callable[[Server], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. `cpu`: seconds of CPU per call, all processes together. `batch`: mean size, if it is told."""

    measured: Measured
    cpu: float
    batch: float | None


# --- How each is called -----------------------------------------------------------------------------------------------


def grpc_job(work: str, port: int) -> tuple[Job, Answer]:
    """Call one of the two servers that speak Clarifai's protocol."""
    if work == "echo":
        message = request("echo", text=pb.Data(string_value=TEXT))
    else:
        row = pb.Data(ndarray=pb.NDArray(buffer=ROW.tobytes(), shape=[512], dtype="float32"))
        message = request("predict", row=row)
    job = runner_job(Server(0, port), "PostModelOutputs", message)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reply = pb.MultiOutputResponse.FromString(channel.unary_unary(job.path)(message, timeout=10))
    data = reply.outputs[0].data.parts[0].data
    return job, data.string_value if work == "echo" else np.frombuffer(data.ndarray.buffer, np.float32)


def http_job(path: str, content_type: str, body: bytes, port: int) -> tuple[Job, bytes]:
    """Call a server over HTTP/1.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, {"content-type": content_type})
        response = connection.getresponse()
        reply = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionError(f"{path} answered {response.status}: {reply[:200]!r}")
    return Job(path=path, request=body, reply_bytes=len(reply), content_type=content_type), reply


def json_job(path: str, value: object, port: int) -> tuple[Job, object]:
    job, reply = http_job(path, "application/json", json.dumps(value).encode(), port)
    return job, json.loads(reply)


def row_as_text() -> str:
    return base64.b64encode(ROW.tobytes()).decode()


def row_of(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.float32)


def mosec_job(work: str, port: int) -> tuple[Job, Answer]:
    if work == "echo":
        job, value = json_job("/inference", TEXT, port)
        return job, str(value)
    head = 3  # of bytes in msgpack, up to 64 KiB: a tag and the length
    message = struct.pack(">BH", 0xC5, ROW.nbytes) + ROW.tobytes()
    job, reply = http_job("/inference", "application/msgpack", message, port)
    return job, np.frombuffer(reply[head:], np.float32)


def litserve_job(work: str, port: int) -> tuple[Job, Answer]:
    job, value = json_job("/predict", {"input": TEXT if work == "echo" else row_as_text()}, port)
    assert isinstance(value, dict)
    return job, value["output"] if work == "echo" else row_of(value["output"])


def bentoml_job(work: str, port: int) -> tuple[Job, Answer]:
    if work == "echo":
        job, reply = http_job("/echo", "application/json", json.dumps({"text": TEXT}).encode(), port)
        return job, reply.decode()
    job, value = json_job("/predict", {"rows": [row_as_text()]}, port)
    assert isinstance(value, list)
    return job, row_of(value[0])


def batch_metric(name: str, server: Server) -> tuple[float, float]:
    """Read a histogram of batch sizes from a page of Prometheus."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()

    def total(suffix: str) -> float:
        return sum(float(value) for value in re.findall(rf"^{name}_{suffix}(?:{{.*}})? (\S+)$", page, re.MULTILINE))

    return total("count"), total("sum")


# --- How each is started ----------------------------------------------------------------------------------------------


def runner_command(python: str, work: str, port: int) -> Sequence[str]:
    return [sys.executable, "-m", "runner", "serve", str(HERE / "models" / work), "--port", str(port)]


def two_runners_command(python: str, work: str, port: int) -> Sequence[str]:
    return [*runner_command(python, work, port), "--replicas", "2"]


def mosec_command(python: str, work: str, port: int) -> Sequence[str]:
    return [python, str(PEERS / "mosec" / f"{work}.py"), "--address", "127.0.0.1", "--port", str(port)]


def litserve_command(python: str, work: str, port: int) -> Sequence[str]:
    return [python, str(PEERS / "litserve" / f"{work}.py"), str(port)]


def bentoml_command(python: str, work: str, port: int) -> Sequence[str]:
    command = [python, "-m", "bentoml", "serve", f"service:{work.capitalize()}", "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--working-dir", str(PEERS / "bentoml")]


def clarifai_command(python: str, work: str, port: int) -> Sequence[str]:
    # By default it has 32 threads and turns away what is more than ten above: too little for 64 in flight.
    command = [python, "-m", "clarifai.runners.server", "--grpc", "--port", str(port), "--pool_size", "64"]
    return [*command, "--max_queue_size", "20", "--model_path", str(PEERS / "clarifai" / work)]


ALL = (
    Peer("runner", runner_command, grpc_job, functools.partial(batches, name="predict")),
    # As the others have two workers where their documentation advises one for each core.
    Peer("runner-2-replicas", two_runners_command, grpc_job, functools.partial(batches, name="predict")),
    Peer("mosec", mosec_command, mosec_job, functools.partial(batch_metric, "mosec_service_batch_size")),
    Peer("litserve", litserve_command, litserve_job),
    Peer(
        "bentoml", bentoml_command, bentoml_job, functools.partial(batch_metric, "bentoml_service_adaptive_batch_size")
    ),
    Peer("clarifai", clarifai_command, grpc_job),
)


def installed(name: str) -> str:
    """Return the interpreter of a peer's environment, which is made if its requirements have changed.

    Raises:
        RuntimeError: if pip cannot install it.
    """
    requirements = PEERS / name / "requirements.txt"
    home = CACHE / name
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name} into {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
        command = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--requirement", requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pip could not install it: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted)
    return str(python)


def version(name: str) -> str:
    """Return the version that is pinned, or nothing for our own."""
    if name in OURS:
        return ""
    found = re.search(rf"^{name}==(\S+)$", (PEERS / name / "requirements.txt").read_text(), re.MULTILINE)
    assert found is not None
    return f" {found[1]}"


@contextlib.contextmanager
def serving(peer: Peer, python: str, work: str) -> Iterator[tuple[Server, Job, Answer]]:
    """Run a server until the block ends, with all its processes. It has begun when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(PEERS / "task"), "BENTOML_DO_NOT_TRACK": "True"}
    if peer.name in OURS:
        environment = None
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            peer.command(python, work, port), stdout=log, stderr=log, env=environment, process_group=0
        )
        try:
            deadline = time.monotonic() + STARTED_WITHIN
            while True:
                try:
                    job, answer = peer.job(work, port)
                    break
                except (OSError, grpc.RpcError, http.client.HTTPException, RuntimeError) as error:
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise RuntimeError(f"{peer.name} does not serve {work}: {error}\n{log.read()}") from error
                    time.sleep(0.2)
            yield Server(process.pid, port), job, answer
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOPPED_WITHIN)
            with contextlib.suppress(ProcessLookupError):  # some leave children behind
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- What is measured -------------------------------------------------------------------------------------------------


def turn(peer: Peer, python: str, work: str, seconds: float, expected: Answer) -> list[Sample]:
    """Start a server, check an answer, measure once for each number of calls in flight, and stop it."""
    samples: list[Sample] = []
    with serving(peer, python, work) as (server, job, answer):
        if not np.allclose(answer, expected, atol=1e-5) if work == "mlp" else answer != expected:
            raise RuntimeError(f"{peer.name} answers {answer!r}")
        low, high = CALLS_BOUNDS
        tell = peer.batches if work == "mlp" else None
        for in_flight in IN_FLIGHT:
            # What warms up here does not count. Twice, as the first few calls tell little of the rate.
            rate = measure(server.port, job, calls=low, in_flight=in_flight).calls_per_second
            calls = int(min(high, max(low, rate * seconds / 4)))
            rate = measure(server.port, job, calls=calls, in_flight=in_flight).calls_per_second
            calls = int(min(high, max(low, rate * seconds)))
            cpu, told = server.cpu_seconds(), tell(server) if tell else (0.0, 0.0)
            measured = measure(server.port, job, calls=calls, in_flight=in_flight)
            cpu = server.cpu_seconds() - cpu
            batch = None
            if tell:
                count, total = (after - before for after, before in zip(tell(server), told, strict=True))
                batch = total / count if count else None
            samples.append(Sample(measured, cpu / calls, batch))
    return samples


def expected_answer(work: str) -> Answer:
    """Return what is right: for the network, by the model itself."""
    if work == "echo":
        return TEXT
    code = "import sys, numpy; sys.path.insert(0, sys.argv[1]); from network import Network; "
    code += "sys.stdout.buffer.write(Network()(numpy.ones((1, 512), numpy.float32)).tobytes())"
    command = [sys.executable, "-c", code, str(PEERS / "task")]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


def lines(work: str, measured: dict[str, list[list[Sample]]], missing: dict[str, str]) -> Iterator[str]:
    """Yield the rows of a work's table."""

    def median(samples: Sequence[Sample], figure: Callable[[Sample], float | None]) -> float | None:
        figures = [value for sample in samples if (value := figure(sample)) is not None]
        return statistics.median(figures) if figures else None

    title = {"echo": "echo, 5 characters", "mlp": "MLP, a row of 2 KiB"}[work]
    for place, in_flight in enumerate(IN_FLIGHT):
        first: float | None = None
        for name, rounds in measured.items():
            samples = [samples[place] for samples in rounds]
            rate = median(samples, lambda sample: sample.measured.calls_per_second)
            assert rate is not None
            first = first or rate
            p50, p99, cpu = (
                (median(samples, figure) or 0.0)
                for figure in (lambda each: each.measured.p50, lambda each: each.measured.p99, lambda each: each.cpu)
            )
            batch = median(samples, lambda sample: sample.batch)
            yield (
                f"| {title} | {in_flight} | {name}{version(name)} | {rate:,.0f} | {rate / first:.0%} | {p50 * 1e3:.2f} "
                f"| {p99 * 1e3:.2f} | {cpu * 1e6:,.0f} | {'-' if batch is None else f'{batch:.1f}'} |"
            )
    for name, reason in missing.items():
        yield f"| {title} | | {name}{version(name)} | left out: {reason} | | | | | |"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server (default 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="aimed length of one run (default 1)")
    parser.add_argument("--work", default=",".join(WORKS), help="comma-separated; what the servers do")
    parser.add_argument("--only", default=",".join(peer.name for peer in ALL), help="comma-separated servers")
    options = parser.parse_args(argv)
    if shutil.which("h2load") is None:
        parser.error("h2load is not installed (Debian: nghttp2-client)")
    peers = [peer for peer in ALL if peer.name in options.only.split(",")]
    pythons: dict[str, str] = {}
    missing: dict[str, str] = {}
    for peer in peers:
        try:
            pythons[peer.name] = sys.executable if peer.name in OURS else installed(peer.name)
        except RuntimeError as error:
            missing[peer.name] = str(error)
    print(f"{machine()}; load from h2load; medians of {options.rounds} rounds\n")
    print(f"| calls | in flight | server | calls/s | of {peers[0].name} | p50 ms | p99 ms | CPU µs/call | mean batch |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for work in options.work.split(","):
        expected = expected_answer(work)
        measured: dict[str, list[list[Sample]]] = {name: [] for name in pythons}
        for _ in range(options.rounds):
            for peer in peers:
                if peer.name in pythons:
                    samples = turn(peer, pythons[peer.name], work, options.seconds, expected)
                    measured[peer.name].append(samples)
        for line in lines(work, measured, missing):
            print(line, flush=True)


if __name__ == "__main__":
    main()
