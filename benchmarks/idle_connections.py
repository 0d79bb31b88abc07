"""Ten thousand connections that say hello and then nothing: what each costs, and whether calls are still answered.

Connections come from a few processes, each from an address of its own in 127.0.0.0/8, since one address has some
28,000 ports only. Each speaks HTTP/2 as far as its settings, and stays. Calls are made one after the other over a
connection of their own, before, while the others are there, and after. In the end every connection has to be there.

    python benchmarks/idle_connections.py [--connections 10000] [--transport native] [--ingress 0] [--calls 500]

Both ends need a descriptor for each connection: see `ulimit -n`. Exits with 1 if a connection was lost.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from bench import machine, request
from processes import Server, family, running

from runner.wire.pb import inference_pb2 as pb

HERE = Path(__file__).parent
PATH = "/runner.v1.Inference/PostModelOutputs"
EACH = 2500
"""connections of one process."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)) + bytes((0, 0, 0, 4, 1, 0, 0, 0, 0))
"""The preface, empty settings, and the word that the server's settings were read."""


def hold(address: str, port: int, count: int) -> None:
    """Open connections, say so, and hold them until a line comes; then say how many are open still."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    connections: list[socket.socket] = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))
        connection.sendall(HELLO)
        assert connection.recv(9)[3:4] == b"\x04", "the first frame is not SETTINGS"
        connections.append(connection)
    print("open", flush=True)
    sys.stdin.readline()
    open_still = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while said := connection.recv(65536):
                pass
        except BlockingIOError:
            said = b"?"
        open_still += bool(said)
    print(open_still, flush=True)
    sys.stdin.readline()


def _holder(address: str, port: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--hold", address, str(port), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _resident(server: Server) -> int:
    """Return the memory of the server and its processes; the worker's does not change."""
    sizes = [Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0] for pid in family(server.pid)]
    return sum(map(int, sizes)) * 1024


def _call(server: Server, count: int) -> list[float]:
    """Make some calls, one after the other; return how long each took."""
    body = request("echo", text=pb.Data(string_value="hello"))
    took: list[float] = []
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        method = channel.unary_unary(PATH)
        method(body, timeout=30, wait_for_ready=True)
        for _ in range(count):
            began = time.perf_counter()
            method(body, timeout=10)
            took.append(time.perf_counter() - began)
    return sorted(took)


def _milliseconds(took: Sequence[float]) -> str:
    return f"{took[len(took) // 2] * 1e3:.2f} | {took[len(took) * 99 // 100] * 1e3:.2f}"


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=500, help="calls before, and while the connections are there")
    parser.add_argument("--transport", default="native", help="native (default) or grpcio")
    parser.add_argument("--ingress", type=int, default=0, help="ingress processes (default 0)")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < options.connections + 200:
        parser.error(f"a server with {options.connections} connections needs more descriptors than {hard}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, options.connections + 200), hard))  # the server inherits it
    counts = [min(EACH, options.connections - start) for start in range(0, options.connections, EACH)]
    holders: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps({"transport": options.transport, "ingress": options.ingress}))
        command = [sys.executable, "-m", "runner", "serve", str(HERE / "models" / "echo"), "--port", "0"]
        with running([*command, "--config", str(config)]) as server:
            before, alone = _call(server, options.calls), _resident(server)
            began, used = time.perf_counter(), server.cpu_seconds()
            try:
                for number, count in enumerate(counts):
                    holders.append(_holder(f"127.0.0.{2 + number}", server.port, count))
                for holder in holders:
                    assert holder.stdout is not None
                    if holder.stdout.readline() != "open\n":
                        raise RuntimeError("a process could not open its connections")
                opening, cpu = time.perf_counter() - began, server.cpu_seconds() - used
                crowded, during = _resident(server), _call(server, options.calls)
                open_still = 0
                for holder in holders:
                    assert holder.stdin is not None
                    assert holder.stdout is not None
                    holder.stdin.write("\n")
                    holder.stdin.flush()
                    open_still += int(holder.stdout.readline())
            finally:
                for holder in holders:
                    holder.kill()
                    holder.communicate()
            after = _call(server, options.calls)
    print(f"{machine()}; {options.connections:,} idle connections\n")
    name = f"{options.transport}, {options.ingress} ingress" if options.ingress else options.transport
    print("| transport | opened in s | server CPU µs each | KiB each | calls | p50 ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: |")
    each = (
        f"{opening:.1f} | {cpu / options.connections * 1e6:.0f} | {(crowded - alone) / options.connections / 1024:.1f}"
    )
    print(f"| {name} | | | | before | {_milliseconds(before)} |")
    print(f"| {name} | {each} | while they are there | {_milliseconds(during)} |")
    print(f"| {name} | | | | after | {_milliseconds(after)} |")
    print(f"\n{open_still:,} of {options.connections:,} were open at the end")
    return 0 if open_still == options.connections else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hold"]:
        hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main())
