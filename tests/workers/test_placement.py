from __future__ import annotations

import pytest

from runner.errors import ConfigError
from runner.workers.gpus import Gpu
from runner.workers.placement import Machine, Placement, Wanted, place

TWO = (Gpu(name="0"), Gpu(name="1"))
GB = 10**9


def machine(*gpus: Gpu, cores: int = 8) -> Machine:
    return Machine(gpus=gpus, cpus=frozenset(range(cores)), cores=cores)


def labels(*devices: str, replicas: int, gpus: tuple[Gpu, ...] = TWO) -> list[str]:
    return [placement.label for placement in place([Wanted(devices=devices, replicas=replicas)], machine(*gpus))]


def test_auto_takes_every_gpu_in_turn_or_the_cpu():
    assert labels("auto", replicas=3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert labels("auto", replicas=2, gpus=()) == ["cpu", "cpu"]


def test_named_devices_are_taken_in_turn():
    assert labels("cuda:1", "cpu", replicas=3) == ["cuda:1", "cpu", "cuda:1"]


def test_deployments_share_the_gpus_evenly():
    wanted = [
        Wanted(devices=["cuda:0"], replicas=1, group="a"),
        Wanted(devices=["auto"], replicas=2, group="b"),
        Wanted(devices=["auto"], replicas=1, group="c"),
    ]
    placed = place(wanted, machine(*TWO, cores=13))
    found = [(each.group, each.label) for each in placed]
    assert found == [("a", "cuda:0"), ("b", "cuda:1"), ("b", "cuda:0"), ("c", "cuda:1")]
    assert {each.environment["OMP_NUM_THREADS"] for each in placed} == {"3"}


def test_a_worker_sees_its_gpu_alone():
    (placement,) = place(
        [Wanted(devices=["cuda:1"], replicas=1)], machine(Gpu(name="GPU-a"), Gpu(name="GPU-b"), cores=8)
    )
    assert placement == Placement("cuda:0", "cuda:1", {"OMP_NUM_THREADS": "7", "CUDA_VISIBLE_DEVICES": "GPU-b"})


@pytest.mark.parametrize(("replicas", "threads"), [(1, "7"), (3, "2"), (20, "1")])
@pytest.mark.parametrize("gpus", [(), TWO])
def test_workers_share_the_cores(replicas, threads, gpus):
    placements = place([Wanted(devices=["auto"], replicas=replicas)], machine(*gpus))
    assert {placement.environment["OMP_NUM_THREADS"] for placement in placements} == {threads}


def test_a_limit_on_cores_counts_and_not_the_cpus():
    limited = Machine(cpus=frozenset(range(64)), cores=7)
    placements = place([Wanted(devices=["cpu"], replicas=2)], limited)
    assert {placement.environment["OMP_NUM_THREADS"] for placement in placements} == {"3"}


def test_workers_keep_to_the_cpus_near_their_gpu():
    two_sides = Machine(
        gpus=[Gpu(name="a", near=frozenset({0, 1, 2, 3, 8, 9})), Gpu(name="b", near=frozenset({4, 5, 6, 7}))],
        cpus=frozenset(range(8)),  # 8 and 9 are there, but not for us
        cores=8,
    )
    placed = place([Wanted(devices=["cuda:0", "cuda:1", "cuda:0", "cpu"], replicas=4)], two_sides)
    assert [each.cpus for each in placed] == ["0-3", "4-7", "0-3", ""]
    assert [each.environment["OMP_NUM_THREADS"] for each in placed] == ["1", "1", "1", "1"]
    (alone,) = place([Wanted(devices=["cuda:1"], replicas=1)], two_sides)
    assert (alone.cpus, alone.environment["OMP_NUM_THREADS"]) == ("4-7", "4")


@pytest.mark.parametrize("near", [frozenset(), frozenset(range(8)), frozenset({100})])
def test_workers_may_run_anywhere_if_no_cpu_is_nearer(near):
    (placement,) = place([Wanted(devices=["auto"], replicas=1)], machine(Gpu(name="0", near=near)))
    assert (placement.cpus, placement.environment["OMP_NUM_THREADS"]) == ("", "7")


def test_memory_is_checked_for_all_replicas_of_a_gpu():
    gpus = machine(Gpu(name="0", free_bytes=16 * GB), Gpu(name="1", free_bytes=8 * GB), Gpu(name="2"))
    fits = [Wanted(devices=["cuda:0", "cuda:0", "cuda:1", "cuda:2", "cpu"], replicas=5)]
    assert len(place(fits, gpus, gpu_memory_bytes=8 * GB)) == 5
    too_many = [*fits, Wanted(devices=["cuda:1"], replicas=1, group="more")]
    with pytest.raises(ConfigError) as caught:
        place(too_many, gpus, gpu_memory_bytes=8 * GB)
    assert str(caught.value) == (
        "gpu_memory_bytes: cuda:1 has 8000000000 bytes free, and 2 x 8000000000 are needed for its replicas; have "
        "fewer there, or free memory"
    )
    assert len(place(too_many, gpus)) == 6


@pytest.mark.parametrize("name", ["cuda", "gpu:0", "cuda:-1", "CPU", "auto"])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(ConfigError, match=r"devices: got .*, needs auto, cpu or cuda:N"):
        place([Wanted(devices=[name, "cpu"], replicas=1)], machine(*TWO))


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"devices: got 'cuda:2', but this machine shows 2 GPUs"):
        labels("cuda:2", replicas=1)
    with pytest.raises(
        ConfigError, match=r"^devices of deployment 'fast': got 'cuda:2', but this machine shows 2 GPUs"
    ):
        place([Wanted(devices=["cuda:2"], replicas=1, group="fast")], machine(*TWO))
