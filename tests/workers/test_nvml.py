from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from runner.workers import nvml
from runner.workers.gpus import Gpu


@dataclass
class Device:
    uuid: str
    free: int | None = None
    bus: int = 0
    parts: list[Device | None] | None = None


class Refused(Exception):
    """What the driver does not want to tell."""


@dataclass
class Driver:
    """Stands for the module `pynvml`: answers as a driver with these devices would."""

    devices: list[Device | None]
    starts: bool = True
    open: int = field(default=0, init=False)
    NVMLError = Refused

    def nvmlInit(self) -> None:
        if not self.starts:
            raise Refused
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        return self._given(self.devices[index])

    def nvmlDeviceGetUUID(self, device: Any) -> str:
        return device.uuid

    def nvmlDeviceGetMemoryInfo(self, device: Any) -> Any:
        return SimpleNamespace(free=self._given(device.free))

    def nvmlDeviceGetPciInfo(self, device: Any) -> Any:
        return SimpleNamespace(domain=0, bus=self._given(device.bus), device=0)

    def nvmlDeviceGetMigMode(self, device: Any) -> list[int]:
        return [1, 1] if self._given(device.parts) is not None else [0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any) -> int:
        return len(device.parts)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Device:
        return self._given(device.parts[index])

    def _given(self, answer: Any) -> Any:
        assert self.open == 1
        if answer is None:
            raise Refused
        return answer


@pytest.fixture
def system(tmp_path):
    """A machine with the GPU at bus 3b near the upper CPUs."""
    directory = tmp_path / "sys/bus/pci/devices/0000:3b:00.0"
    directory.mkdir(parents=True)
    (directory / "local_cpulist").write_text("4-5,7\n")
    return tmp_path / "sys"


def test_the_driver_tells_memory_and_the_kernel_what_is_near(system):
    driver = Driver([Device("GPU-a", 80, bus=0x3B), Device("GPU-b", None, bus=0x5E)])
    assert nvml.find_gpus(driver, None, system=system) == (
        Gpu(name="GPU-a", free_bytes=80, near=frozenset({4, 5, 7})),
        Gpu(name="GPU-b"),
    )
    assert nvml.find_gpus(driver, "1", system=system) == (Gpu(name="1"),)
    assert driver.open == 0


def test_parts_of_a_gpu_are_found_between_empty_places(system):
    cut = Device("GPU-a", 80, bus=0x3B, parts=[None, Device("MIG-x", 10), None, Device("MIG-y", 20), None])
    near = frozenset({4, 5, 7})
    assert nvml.find_gpus(Driver([cut]), None, system=system) == (
        Gpu(name="MIG-x", free_bytes=10, near=near),
        Gpu(name="MIG-y", free_bytes=20, near=near),
    )


@pytest.fixture
def devices(tmp_path):
    directory = tmp_path / "dev"
    directory.mkdir()
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (directory / name).touch()
    return directory


@pytest.mark.parametrize("driver", [None, Driver([], starts=False), Driver([Device("GPU-a"), None])])
def test_without_a_driver_that_answers_device_files_are_counted(driver, devices):
    assert nvml.find_gpus(driver, None, devices=devices) == (Gpu(name="2"), Gpu(name="10"))
    assert nvml.find_gpus(driver, "GPU-x,1", devices=devices) == (Gpu(name="GPU-x"), Gpu(name="1"))
    assert nvml.find_gpus(driver, "-1", devices=devices) == ()
    assert driver is None or driver.open == 0


def test_a_machine_without_gpus(tmp_path):
    assert nvml.find_gpus(None, None, devices=tmp_path) == ()
    assert nvml.find_gpus(Driver([]), None, devices=tmp_path) == ()


def test_the_module_has_what_is_used_of_it():
    module = nvml.find_nvml()
    if module is None:
        pytest.skip("nvidia-ml-py is not installed")
    used = [name for name in vars(nvml.Nvml) if name.startswith("nvml")]
    assert len(used) == 10
    assert [name for name in used if not callable(getattr(module, name))] == []
    assert issubclass(module.NVMLError, Exception)
