"""What callers and health see when a worker is killed under a call."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runner.client import Model
from runner.errors import PoisonCall, WorkerLost
from tests.official import require_sdk

pytestmark = pytest.mark.real


@pytest.fixture
def server(serve):
    return serve("mortal")


@pytest.fixture
def model(server):
    with Model(base_url=server.base_url) as model:
        yield model


def test_a_call_on_a_killed_worker_fails_and_the_next_one_is_served_by_its_successor(model):
    before = model.pid()
    with pytest.raises(WorkerLost):
        model.die(timeout=20)
    assert model.pid(timeout=20) != before


def test_the_official_client_is_told_25608(server):
    require_sdk()
    from clarifai.client import Model as OfficialModel

    official = OfficialModel(url="https://clarifai.com/a/b/models/c", base_url=server.base_url, pat="none needed")
    with pytest.raises(Exception, match=r"25608|RUNNER_PROCESSING_FAILED"):
        official.die()


def test_an_idempotent_call_runs_again(model, tmp_path):
    assert model.die_once(traces=str(tmp_path / "died"), timeout=20) == "alive"
    assert (tmp_path / "died").exists()


def test_an_idempotent_call_that_kills_three_workers_is_given_up(model):
    with pytest.raises(PoisonCall):
        model.die_always(timeout=20)
    assert model.pid(timeout=20) > 0


def test_health_follows_the_worker(server, model):
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        serving = health_pb2.HealthCheckResponse.SERVING
        model.pid(timeout=20)
        seen = [next(watch).status]
        with pytest.raises(WorkerLost):
            model.die(timeout=20)
        while len(seen) < 3:
            seen.append(next(watch).status)
        watch.cancel()
    assert seen == [serving, health_pb2.HealthCheckResponse.NOT_SERVING, serving]
