"""The life of the process: how soon it listens, what it weighs, how it refuses a model, how it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runner.client import Model, Unreachable
from runner.errors import DeadlineExceeded
from runner.wire.pb import inference_pb2 as pb
from tests.real.conftest import INGRESS

pytestmark = pytest.mark.real

MODEL_LOADING = 21351
IDLE_BYTES = 60e6


def free_port() -> int:
    """Return a port that was free a moment ago: a server that is still loading does not say which it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def request(method: str, **arguments: pb.Data) -> bytes:
    data = pb.Data(parts=[pb.Part(id=name, data=value) for name, value in arguments.items()])
    data.metadata["_method_name"] = method
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_idle_weight(launch):
    server = launch("chat")
    server.wait_ready()
    assert resident_bytes(server.pid) < IDLE_BYTES


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch_stays_in_the_worker(launch):
    server = launch("with_torch")
    server.wait_ready()
    with grpc.insecure_channel(server.address) as channel:
        reply = channel.unary_unary("/clarifai.api.V2/PostModelOutputs")(
            request("predict", size=pb.Data(int_value=3)), timeout=10
        )
    (output,) = pb.MultiOutputResponse.FromString(reply).outputs
    assert output.data.parts[0].data.float_value == 3.0
    assert "libtorch" not in Path(f"/proc/{server.pid}/maps").read_text()


def test_while_loading(launch, config_file):
    port = free_port()
    started = time.monotonic()
    server = launch("slow_to_load", "--config", config_file("max_loading_wait_ms: 100\n"), "--port", str(port))
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        listening_after = time.monotonic() - started
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        message = request("predict", text=pb.Data(string_value="hi"))
        reply = channel.unary_unary("/clarifai.api.V2/PostModelOutputs")(message, timeout=2)
        assert pb.MultiOutputResponse.FromString(reply).status.code == MODEL_LOADING
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/runner.v1.Inference/PostModelOutputs")(message, timeout=2)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert f"loading slow_to_load on cpu; calls to 127.0.0.1:{port} wait for it" in server.stderr
    asked = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - asked < 2.0
    assert listening_after < 3.0  # a second on a machine with nothing else to do


@pytest.mark.parametrize("model", ["unimportable", "unloadable", "no_such_directory"])
def test_a_model_that_cannot_be_served(launch, model):
    server = launch(model)
    assert server.wait(timeout=20) not in (0, -signal.SIGKILL)
    expected = {
        "unimportable": "a_package_that_does_not_exist",
        "unloadable": "weights.bin",
        "no_such_directory": model,
    }
    assert expected[model] in server.stderr
    # The model's own line may be shown, none of ours.
    assert "runner/workers" not in server.stderr
    assert "runner/execution" not in server.stderr
    assert "importlib" not in server.stderr


@pytest.mark.parametrize("to_the_group", [False, True], ids=["to the server", "to its group"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_finished(launch, how, to_the_group):
    """Ctrl-C in a terminal and many supervisors signal the whole group, workers included."""
    server = launch("misbehaving")
    server.wait_ready()
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/clarifai.api.V2/PostModelOutputs")
        pending = call.future(request("sleep", seconds=pb.Data(float_value=0.7)))
        # These answer only when both have arrived, and they come after `sleep` on this connection.
        meet = request("meet", parties=pb.Data(int_value=2))
        for each in [call.future(meet), call.future(meet)]:
            each.result()
        if to_the_group:
            os.killpg(server.pid, how)
        else:
            os.kill(server.pid, how)
        (output,) = pb.MultiOutputResponse.FromString(pending.result()).outputs
        assert output.data.parts[0].data.string_value == "awake"
    assert server.wait() == 0
    assert "Traceback" not in server.stderr
    assert "stopping: 1 calls in flight have 30 s to end" in server.stderr


def worker_of(server) -> int:
    """Return the process id of a server's worker."""
    with Model(base_url=server.base_url, timeout=20) as model:
        return model.pid()


def ends(descriptor: int) -> bool:
    """Wait for a process to end, by its descriptor."""
    return bool(select.select([descriptor], [], [], 10)[0])


def test_a_killed_server_takes_its_workers_along_and_leaves_the_port(launch):
    port = free_port()
    server = launch("confiding", "--port", str(port))
    server.wait_ready()
    worker = os.pidfd_open(worker_of(server))
    try:
        server.process.kill()
        assert ends(worker)
    finally:
        os.close(worker)
    again = launch("confiding", "--port", str(port))
    again.wait_ready()
    assert again.port == port
    assert worker_of(again) > 0
    assert again.terminate() == 0


def test_the_next_server_has_the_port_at_once(launch):
    first = launch("confiding", "--port", str(free_port()))
    first.wait_ready()
    with Model(base_url=first.base_url, timeout=20) as model:
        model.pid()
        assert first.terminate() == 0
        # The client's connection was open until then: its port lingers in TIME_WAIT.
        second = launch("confiding", "--port", str(first.port))
        second.wait_ready()
        assert second.port == first.port
    assert second.terminate() == 0


def test_a_second_signal_ends_it_there_and_then(launch):
    server = launch("misbehaving")
    server.wait_ready()
    with Model(base_url=server.base_url) as model, contextlib.ExitStack() as stack:
        calls = stack.enter_context(ThreadPoolExecutor())
        pending = calls.submit(model.sleep, 60.0)
        meeting = [calls.submit(model.meet, 2) for _ in range(2)]  # answers when both are there, after `sleep`
        assert sorted(each.result() for each in meeting) == [0, 1]
        worker = server.worker_pids()[0]
        descriptor = os.pidfd_open(worker)
        with grpc.insecure_channel(server.address) as channel:
            # Open before the signal: a channel that first connects to a server that is closing may hear nothing at all.
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            server.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 130
        assert ends(descriptor)
        os.close(descriptor)
        with pytest.raises(Unreachable):
            pending.result()


def test_a_server_that_drains_replaces_nothing(launch):
    server = launch("confiding")
    server.wait_ready()
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGHUP)
    assert server.wait() == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="changes another process's limits")
@pytest.mark.skipif(bool(INGRESS), reason="the server itself has no connections then")
def test_more_connections_than_descriptors_wait_until_others_have_left(launch):
    server = launch("confiding")
    server.wait_ready()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.ExitStack() as stack:
        for _ in range(128):  # the kernel takes those that the server cannot
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        with Model(base_url=server.base_url, timeout=0.2) as model, pytest.raises((Unreachable, DeadlineExceeded)):
            model.pid()
    assert worker_of(server) > 0
    assert server.terminate() == 0
