from __future__ import annotations

import pytest

from runner.client import Model
from runner.testing import serve
from tests.client.served import Served


@pytest.fixture(scope="session")
def server():
    """A real server with a worker process: the client that it was handed out with."""
    with serve(Served, workers=True) as model:
        yield model


@pytest.fixture(params=["memory", "grpc"])
def model(request) -> Model:
    """The same surface over both transports."""
    return request.getfixturevalue("server" if request.param == "grpc" else "in_memory")


@pytest.fixture(scope="session")
def in_memory():
    with serve(Served) as model:
        yield model
