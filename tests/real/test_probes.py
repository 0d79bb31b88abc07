"""Probes over HTTP and gRPC while a server starts, serves and drains."""

from __future__ import annotations

import re
import socket
import time
import urllib.error
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runner.client import Model
from tests.real.test_server_process import free_port

pytestmark = pytest.mark.real

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def probe(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def probes(port: int) -> list[int]:
    return [probe(port, path)[0] for path in ("/livez", "/startupz", "/readyz")]


def http_port(server) -> int:
    deadline = time.monotonic() + 20
    while not (found := re.search(r"/metrics are on http://127\.0\.0\.1:(\d+)", server.stderr)):
        assert time.monotonic() < deadline, server.stderr
        time.sleep(0.01)
    return int(found[1])


def test_while_loading(launch):
    grpc_port = free_port()
    server = launch("slow_to_load", "--port", str(grpc_port), "--http-port", "0")
    port = http_port(server)
    assert probes(port) == [200, 503, 503]
    assert probe(port, "/readyz") == (503, "the model is loading")
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        names = {name: check(health_pb2.HealthCheckRequest(service=name), timeout=10).status for name in NAMES}
    assert names == {"": NOT_SERVING, "ready": NOT_SERVING, "live": SERVING, "started": NOT_SERVING}
    assert server.terminate() == 0


NAMES = ("", "ready", "live", "started")


def test_while_serving_and_draining(launch, config_file):
    server = launch("confiding", "--http-port", "0", "--config", config_file("drain_delay_ms: 60000\n"))
    server.wait_ready()
    port = http_port(server)
    assert probes(port) == [200, 200, 200]
    status, metrics = probe(port, "/metrics")
    assert status == 200
    assert 'runner_replica_running_calls{replica="1",device="cpu",state="ready"} 0' in metrics.splitlines()
    server.process.terminate()
    while probe(port, "/readyz")[0] == 200:
        pass
    assert probes(port) == [200, 200, 503]
    assert probe(port, "/readyz") == (503, "the server is shutting down")
    with Model(base_url=server.base_url, timeout=20) as model:  # taken all the same, for `drain_delay_ms`
        assert model.pid() > 0
    server.process.terminate()
    assert server.wait() == 130


def test_a_taken_port(launch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = launch("confiding", "--http-port", str(taken.getsockname()[1]))
        assert server.wait(20) == 4
    assert "cannot listen for HTTP on 127.0.0.1" in server.stderr
