"""Which device each replica runs on. Pure, and without torch: the server process never imports it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.errors import ConfigError

_CUDA = re.compile(r"cuda:(\d+)")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one replica runs.

    Attributes:
        device: what the model sees as `self.device`.
        label: the device's name for people, which differs where the process sees only one of several GPUs.
        environment: variables to set in the worker process.
    """

    device: str
    label: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def place(devices: Sequence[str], replicas: int, *, visible: Sequence[str], cores: int) -> tuple[Placement, ...]:
    """Return a place for each replica, the devices taken in turn.

    A worker on a GPU sees that GPU alone, as `cuda:0`: code that says just "cuda" then lands on the right one. Workers
    on the CPU share its cores evenly.

    Args:
        devices: `auto` alone, or any of `cpu` and `cuda:N`.
        replicas: how many replicas to place.
        visible: names of the GPUs this process may use, as `CUDA_VISIBLE_DEVICES` would list them.
        cores: CPU cores to share.

    Raises:
        ConfigError: `devices` names something that is not there.
    """
    names = _names(devices, visible)
    return tuple(_placement(names[index % len(names)], visible, max(cores // replicas, 1)) for index in range(replicas))


def _names(devices: Sequence[str], visible: Sequence[str]) -> Sequence[str]:
    if tuple(devices) == ("auto",):
        return [f"cuda:{index}" for index in range(len(visible))] or ["cpu"]
    for name in devices:
        match = _CUDA.fullmatch(name)
        if name != "cpu" and match is None:
            raise ConfigError(f"devices: got {name!r}, needs auto, cpu or cuda:N, or several with commas between")
        if match is not None and int(match[1]) >= len(visible):
            raise ConfigError(f"devices: got {name!r}, but this machine shows {len(visible)} GPUs")
    return devices


def _placement(name: str, visible: Sequence[str], threads: int) -> Placement:
    if name == "cpu":
        return Placement("cpu", "cpu", {"OMP_NUM_THREADS": str(threads)})
    index = int(name.removeprefix("cuda:"))
    return Placement("cuda:0", name, {"CUDA_VISIBLE_DEVICES": visible[index]})
