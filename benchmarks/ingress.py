"""What ingress processes take off the server's own process, and what they cost: CPU by process, and calls a second.

The server's own process is what cannot be made more of: one over its CPU time for a call is the most calls a second
that it can decide about, however many cores there are. On a machine of few cores calls a second say little, since load,
ingress processes, server and worker share them.

    python benchmarks/ingress.py [--rounds 3] [--seconds 2] [--only echo,arrays,streams,tls]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import CALLS_BOUNDS, HERE, machine, request, runner_job
from load import Job, client_name, measure
from processes import Server, family, running, spent
from raw_echo import REPEATS

from runner.wire.pb import inference_pb2 as pb

ROLES = {"ingress": "runner.server.ingress.child", "worker": "runner.workers.child"}
CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of load, and how many calls of it are in flight."""

    title: str
    in_flight: int
    job: Job


def by_role(server: Server) -> dict[str, float]:
    """Return seconds of CPU so far, of the server's own process and of its children of each kind."""
    found = {"server": spent(server.pid), **dict.fromkeys(ROLES, 0.0)}
    for pid in family(server.pid)[1:]:
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        for role, module in ROLES.items():
            if module in command:
                found[role] += spent(pid)
    return found


def rows(server: Server, only: Sequence[str]) -> list[Row]:
    """Return what is measured, learned from a server without TLS."""
    text = pb.Data(string_value="hello")
    echo = runner_job(server, "PostModelOutputs", request("echo", text=text))
    found: list[Row] = []
    if "echo" in only:
        found.append(Row("echo, 5 characters", 64, echo))
    if "tls" in only:
        found.append(Row("echo, 5 characters, TLS", 64, replace(echo, scheme="https")))
    if "arrays" in only or "tls" in only:
        array = pb.Data(ndarray=pb.NDArray(buffer=bytes(150_000), shape=[37_500], dtype="float32"))
        job = runner_job(server, "PostModelOutputs", request("echo_array", array=array))
        if "arrays" in only:
            found.append(Row("echo, array of 150 KB", 16, job))
        if "tls" in only:
            found.append(Row("echo, array of 150 KB, TLS", 16, replace(job, scheme="https")))
    if "streams" in only:
        message = request("repeat", text=text, times=pb.Data(int_value=REPEATS))
        found.append(Row(f"stream of {REPEATS} chunks", 16, runner_job(server, "GenerateModelOutputs", message)))
    return found


@contextlib.contextmanager
def certificates() -> Iterator[list[str]]:
    """Yield the flags that name a certificate of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key.pem", f"{folder}/cert.pem"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
        command = ["openssl", "req", "-x509", *kind, "-days", "2", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        yield ["--tls-certificate", certificate, "--tls-key", key]


def run(server: Server, row: Row, calls: int) -> tuple[float, float, dict[str, float]]:
    """Measure once; return calls a second, the median time, and CPU seconds for a call by role."""
    before = by_role(server)
    measured = measure(server.port, row.job, calls=calls, in_flight=row.in_flight, connections=CONNECTIONS)
    after = by_role(server)
    return (
        measured.calls_per_second,
        measured.p50,
        {role: (after[role] - before[role]) / calls for role in after},
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server in each row (default 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="aimed length of one run (default 2)")
    parser.add_argument("--only", default="echo,arrays,streams,tls", help="comma-separated groups of rows")
    parser.add_argument("--counts", default="0,1,2", help="numbers of ingress processes (default 0,1,2)")
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    low, high = CALLS_BOUNDS
    command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "echo"), "--port", "0"]
    with contextlib.ExitStack() as stack:
        flags = stack.enter_context(certificates()) if "tls" in options.only else []
        servers = {
            (count, scheme): stack.enter_context(running([*command, "--ingress", str(count), *more]))
            for count in counts
            for scheme, more in (("http", []), ("https", flags))
            if scheme == "http" or flags
        }
        print(f"{machine()}; load from {client_name()} over {CONNECTIONS} connections; medians of {options.rounds}\n")
        print("| calls | in flight | ingress | calls/s | p50 ms | CPU µs/call: server | ingress | worker |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for row in rows(servers[counts[0], "http"], options.only.split(",")):
            its = [servers[count, row.job.scheme] for count in counts]
            calls = [int(min(high, max(low, run(each, row, low)[0] * options.seconds))) for each in its]
            samples = [[run(each, row, of) for each, of in zip(its, calls, strict=True)] for _ in range(options.rounds)]
            for number, count in enumerate(counts):
                mine = [sample[number] for sample in samples]
                rate, p50 = (statistics.median(each[index] for each in mine) for index in (0, 1))
                cpu = [f"{statistics.median(each[2][role] for each in mine) * 1e6:,.1f}" for role in mine[0][2]]
                print(
                    f"| {row.title} | {row.in_flight} | {count} | {rate:,.0f} | {p50 * 1e3:.2f} | {' | '.join(cpu)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
