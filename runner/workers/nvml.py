"""What the machine tells of its GPUs: by NVML if its package is there, else by the names of device files."""

# NVML names its functions, and describes them in its own manual.
# ruff: noqa: D102, N802

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from runner.workers.cpu_list import CpuSet, read_cpus
from runner.workers.gpus import Board, Gpu, visible

_DEVICE = re.compile(r"nvidia(\d+)")


class _Memory(Protocol):
    @property
    def free(self) -> int: ...


class _PciAddress(Protocol):
    @property
    def domain(self) -> int: ...

    @property
    def bus(self) -> int: ...

    @property
    def device(self) -> int: ...


class Nvml(Protocol):
    """What we use of the module `pynvml`, which the package nvidia-ml-py brings."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...
    def nvmlDeviceGetUUID(self, device: object) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, device: object) -> _Memory: ...
    def nvmlDeviceGetPciInfo(self, device: object) -> _PciAddress: ...
    def nvmlDeviceGetMigMode(self, device: object) -> list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, device: object) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: object, index: int) -> object: ...


def find_nvml() -> Nvml | None:
    """Return the module; None if it is not installed."""
    try:
        return cast(Nvml, cast(object, importlib.import_module("pynvml")))
    except ImportError:
        return None


def find_gpus(
    nvml: Nvml | None, allowed: str | None, *, devices: Path = Path("/dev"), system: Path = Path("/sys")
) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in the order in which `cuda:0`, `cuda:1` ... count them.

    Args:
        nvml: see `find_nvml`.
        allowed: the value of `CUDA_VISIBLE_DEVICES`; None if it is not set.
        devices: where the driver puts its device files, which tell little, but are there without NVML.
        system: where the kernel tells of PCI devices.
    """
    boards = None if nvml is None else _boards(nvml, system)
    if boards is None and allowed is None:
        return _by_device_files(devices)
    return visible(boards, allowed)


def _boards(nvml: Nvml, system: Path) -> list[Board] | None:
    """Return the machine's boards, in the order of their indexes; None if they are not known."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or one that does not answer
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return [_board(nvml, handle, system) for handle in handles]
    except nvml.NVMLError:  # a GPU is lost: which indexes the others have, only CUDA knows
        return None
    finally:
        nvml.nvmlShutdown()


def _by_device_files(devices: Path) -> tuple[Gpu, ...]:
    found = (_DEVICE.fullmatch(entry.name) for entry in devices.glob("nvidia*"))
    return tuple(Gpu(name=name) for name in sorted((match[1] for match in found if match), key=int))


def _board(nvml: Nvml, handle: object, system: Path) -> Board:
    near = _near(nvml, handle, system)
    parts = None
    if _is_cut(nvml, handle):
        parts = tuple(_gpu(nvml, part, near) for part in _parts(nvml, handle))
    return Board(whole=_gpu(nvml, handle, near), parts=parts)


def _gpu(nvml: Nvml, handle: object, near: CpuSet) -> Gpu:
    try:
        free = nvml.nvmlDeviceGetMemoryInfo(handle).free
    except nvml.NVMLError:  # where it shares the memory of the CPU, or in a container without the right to ask
        free = None
    return Gpu(name=nvml.nvmlDeviceGetUUID(handle), free_bytes=free, near=near)


def _is_cut(nvml: Nvml, handle: object) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # a kind of GPU that cannot be cut
        return False
    return current == 1


def _parts(nvml: Nvml, handle: object) -> Iterator[object]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:  # places for parts may be empty
            continue


def _near(nvml: Nvml, handle: object, system: Path) -> CpuSet:
    """Return the CPUs that the kernel says are local to a GPU; none if it does not say."""
    try:
        pci = nvml.nvmlDeviceGetPciInfo(handle)
        address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"
        return read_cpus((system / "bus/pci/devices" / address / "local_cpulist").read_text())
    except (nvml.NVMLError, OSError):
        return frozenset()
