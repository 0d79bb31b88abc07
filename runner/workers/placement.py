"""Which device each replica runs on. Pure, and without torch: the server process never imports it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.errors import ConfigError
from runner.workers.cpu_list import CpuSet, write_cpus
from runner.workers.gpus import Gpu

_CUDA = re.compile(r"cuda:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to share.

    Attributes:
        gpus: those that may be used; `cuda:0` is the first.
        cpus: the numbers of those that may be used.
        cores: how many of them may be busy at once, which a container's limit may make fewer.
    """

    gpus: Sequence[Gpu] = ()
    cpus: CpuSet = frozenset({0})
    cores: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Some replicas to be placed.

    Attributes:
        devices: `auto` alone, or any of `cpu` and `cuda:N`, to be taken in turn.
        replicas: how many, at least 1.
        group: the deployment they belong to; empty: none in particular.
    """

    devices: Sequence[str]
    replicas: int
    group: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one replica runs.

    Attributes:
        device: what the model sees as `self.device`.
        label: the device's name for people, which differs where the process sees only one of several GPUs.
        environment: variables to set in the worker process.
        cpus: the CPUs that it keeps to, as the kernel lists them; empty: any.
        group: the deployment it belongs to; empty: none in particular.
    """

    device: str
    label: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    cpus: str = ""
    group: str = ""


def place(wanted: Sequence[Wanted], machine: Machine, *, gpu_memory_bytes: int = 0) -> tuple[Placement, ...]:
    """Return a place for each replica, those of the first wish first.

    A worker on a GPU sees that GPU alone, as `cuda:0`: code that says just "cuda" then lands on the right one. It keeps
    to the CPUs near its GPU where others are farther away. All workers share the cores evenly, but for one that is
    left to the server.

    Args:
        wanted: replicas and their devices.
        machine: what they share.
        gpu_memory_bytes: what one replica takes of its GPU's memory; 0: not known, and not checked.

    Raises:
        ConfigError: `devices` names something that is not there, or the memory of a GPU is too small.
    """
    names: list[str] = []
    for each in wanted:
        names += _names(each, machine.gpus, Counter(names))
    taken = Counter(names)
    if gpu_memory_bytes:
        _check_memory(taken, machine.gpus, gpu_memory_bytes)
    near = {name: _near(name, machine) for name in taken}
    neighbours = Counter(near[name] for name in names)
    groups = [each.group for each in wanted for _ in range(each.replicas)]
    return tuple(
        _placement(name, group, machine, near[name], neighbours[near[name]], len(names))
        for name, group in zip(names, groups, strict=True)
    )


def _names(wanted: Wanted, gpus: Sequence[Gpu], taken: Counter[str]) -> list[str]:
    """Return the device of each replica; `taken` says how many each one has already, and is used up."""
    devices = wanted.devices
    if tuple(devices) == ("auto",):
        found: list[str] = []
        every = [f"cuda:{index}" for index in range(len(gpus))] or ["cpu"]
        for _ in range(wanted.replicas):
            found.append(min(every, key=lambda name: taken[name]))  # the first one of several
            taken[found[-1]] += 1
        return found
    key = f"devices of deployment {wanted.group!r}" if wanted.group else "devices"
    for name in devices:
        match = _CUDA.fullmatch(name)
        if name != "cpu" and match is None:
            raise ConfigError(f"{key}: got {name!r}, needs auto, cpu or cuda:N, or several with commas between")
        if match is not None and int(match[1]) >= len(gpus):
            raise ConfigError(f"{key}: got {name!r}, but this machine shows {len(gpus)} GPUs")
    return [devices[index % len(devices)] for index in range(wanted.replicas)]


def _check_memory(taken: Counter[str], gpus: Sequence[Gpu], each: int) -> None:
    for name, replicas in taken.items():
        gpu = _gpu(name, gpus)
        if gpu is not None and gpu.free_bytes is not None and replicas * each > gpu.free_bytes:
            raise ConfigError(
                f"gpu_memory_bytes: {name} has {gpu.free_bytes} bytes free, and {replicas} x {each} are needed for its "
                "replicas; have fewer there, or free memory"
            )


def _gpu(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    return None if name == "cpu" else gpus[int(name.removeprefix("cuda:"))]


def _near(name: str, machine: Machine) -> CpuSet:
    """Return the CPUs a replica keeps to; all where no side of the machine is nearer."""
    gpu = _gpu(name, machine.gpus)
    return machine.cpus if gpu is None else gpu.near & machine.cpus or machine.cpus


def _placement(name: str, group: str, machine: Machine, near: CpuSet, neighbours: int, replicas: int) -> Placement:
    # One core is the server's: threads that compute wait for each other spinning, and a loop that takes one of their
    # cores away makes all of them wait.
    threads = max(min((machine.cores - 1) // replicas, len(near) // neighbours), 1)
    # MKL, OpenBLAS and torch go by this one too. It has to be there before the interpreter starts.
    environment = {"OMP_NUM_THREADS": str(threads)}
    cpus = "" if near == machine.cpus else write_cpus(near)
    gpu = _gpu(name, machine.gpus)
    if gpu is None:
        return Placement("cpu", "cpu", environment, cpus, group)
    return Placement("cuda:0", name, {**environment, "CUDA_VISIBLE_DEVICES": gpu.name}, cpus, group)
