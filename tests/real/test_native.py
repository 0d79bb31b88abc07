"""What only the native transport does, in a real server.

With RUNNER_TEST_TRANSPORT=grpcio in the environment all other tests of this folder are on grpcio.
"""

from __future__ import annotations

import socket

import grpc
import pytest

from runner.client import Model
from tests.official import require_sdk
from tests.real.conftest import MODEL_URL, PAT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def native(serve):
    return serve("confiding", "--transport", "native")


def test_a_call_of_ours(native) -> None:
    with Model(base_url=native.base_url, timeout=20) as model:
        assert model.pid() > 0


def test_official_client_whose_base_has_no_scheme(native) -> None:
    """It tries TLS first, and must be refused at once to try without."""
    require_sdk()
    from clarifai.client import Model as OfficialModel

    assert OfficialModel(url=MODEL_URL, base_url=native.address, pat=PAT).pid() > 0


def test_probes_on_the_same_port(native) -> None:
    with socket.create_connection(("127.0.0.1", native.port), timeout=20) as opened:
        opened.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: opened.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_socket_in_the_file_system(launch, config_file, tmp_path) -> None:
    server = launch("confiding", "--transport", "native", "--host", f"unix:{tmp_path}/s")
    with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
    assert server.terminate() == 0
