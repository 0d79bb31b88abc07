from __future__ import annotations

import pytest

from runner.errors import ConfigError
from runner.workers.gpus import visible_gpus
from runner.workers.placement import Placement, place


def labels(*devices: str, replicas: int, visible: tuple[str, ...] = ("0", "1")) -> list[str]:
    return [placement.label for placement in place(devices, replicas, visible=visible, cores=8)]


def test_auto_takes_every_gpu_in_turn_or_the_cpu():
    assert labels("auto", replicas=3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert labels("auto", replicas=2, visible=()) == ["cpu", "cpu"]


def test_named_devices_are_taken_in_turn():
    assert labels("cuda:1", "cpu", replicas=3) == ["cuda:1", "cpu", "cuda:1"]


def test_a_worker_sees_its_gpu_alone():
    (placement,) = place(("cuda:1",), 1, visible=("GPU-a", "GPU-b"), cores=8)
    assert placement == Placement("cuda:0", "cuda:1", {"CUDA_VISIBLE_DEVICES": "GPU-b"})


@pytest.mark.parametrize(("replicas", "threads"), [(1, "8"), (3, "2"), (20, "1")])
def test_workers_on_the_cpu_share_its_cores(replicas, threads):
    placements = place(("cpu",), replicas, visible=(), cores=8)
    assert {placement.environment["OMP_NUM_THREADS"] for placement in placements} == {threads}


@pytest.mark.parametrize("name", ["cuda", "gpu:0", "cuda:-1", "CPU", "auto"])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(ConfigError, match=r"devices: got .*, needs auto, cpu or cuda:N"):
        place((name, "cpu"), 1, visible=("0",), cores=1)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"devices: got 'cuda:2', but this machine shows 2 GPUs"):
        labels("cuda:2", replicas=1)


def test_gpus_are_found_by_their_device_files(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == ["2", "10"]


@pytest.mark.parametrize(
    ("value", "names"), [("1,0", ["1", "0"]), ("", []), ("-1", []), (" GPU-a , 3", ["GPU-a", "3"])]
)
def test_the_environment_has_the_last_word(value, names, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    (tmp_path / "nvidia0").touch()
    assert visible_gpus(tmp_path) == names
