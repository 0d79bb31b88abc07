"""What a configuration becomes: which replicas there are, and what each is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config import load_server_config
from runner.engine import Place
from runner.errors import ConfigError
from runner.server import assembly
from runner.workers.gpus import Gpu
from runner.workers.link import Receiver
from runner.workers.placement import Machine, Placement

MACHINE = Machine(
    gpus=[Gpu(name="GPU-a", free_bytes=100, near=frozenset({0, 1})), Gpu(name="GPU-b", free_bytes=50)],
    cpus=frozenset(range(4)),
    cores=4,
)


async def nobody(receiver: Receiver) -> None:
    raise AssertionError("nothing is started before the engine is entered")


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assembly, "_machine", lambda: MACHINE)

    def build(**config: object) -> list[Place]:
        placed: list[Placement] = []

        def host_for(placement: Placement):
            placed.append(placement)
            return nobody

        engine = assembly.build_engine(load_server_config(None, config), Path("models/m"), host_for)
        found = engine.places
        assert [place.label for place in found] == [placement.label for placement in placed]
        return found

    return build


def test_replicas_of_no_deployment(places) -> None:
    found = places(replicas=3, deployments=["a", "b"], methods={"embed": {"max_batch_size": 4}}, num_threads=5)
    assert [(place.label, place.group, place.load.cpus) for place in found] == [
        ("cuda:0", "", "0-1"),
        ("cuda:1", "", ""),
        ("cuda:0", "", "0-1"),
    ]
    (load,) = {(place.load.model_dir, place.load.device, place.load.num_threads) for place in found}
    assert load == (str(Path("models/m").resolve()), "cuda:0", 5)
    assert all(place.load.options == {"embed": {"max_batch_size": 4}} for place in found)


def test_deployments_with_replicas_are_all_there_are(places) -> None:
    fast = {"id": "fast", "devices": "cuda:1"}
    slow = {"id": "slow", "devices": "cpu", "replicas": 2}
    found = places(replicas=7, deployments=["any", fast, slow])
    assert [(place.label, place.group) for place in found] == [("cuda:1", "fast"), ("cpu", "slow"), ("cpu", "slow")]


def test_memory_is_checked_before_anything_starts(places) -> None:
    assert len(places(replicas=2, gpu_memory_bytes=50)) == 2
    with pytest.raises(ConfigError, match="cuda:0 has 100 bytes free, and 2 x 51 are needed"):
        places(replicas=2, devices="cuda:0", gpu_memory_bytes=51)


def test_this_machine_has_something() -> None:
    machine = assembly._machine()
    assert 1 <= machine.cores <= len(machine.cpus)
