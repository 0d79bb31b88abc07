"""Batch sizes that were left to us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runner import Batch, ModelClass
from runner.errors import LoadError
from runner.execution.batch_sizes import settle
from runner.execution.method import load_methods
from runner.execution.model_device import ModelDevice
from runner.model import instantiate


class Auto(ModelClass):
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.shapes: list[tuple[int, ...]] = []

    @ModelClass.method(max_batch_size="auto", example={"row": np.zeros(5, np.float32)})
    def predict(self, row: Batch[np.ndarray], scale: float = 2.0) -> Batch[np.ndarray]:
        self.sizes.append(len(row))
        self.shapes.append(row.shape)
        if len(row) > 8:
            raise MemoryError("too many")
        return row * scale

    @ModelClass.method
    def fixed(self, text: Batch[str]) -> Batch[str]:
        return list(text)


class Sized(ModelClass):
    def __init__(self) -> None:
        self.sizes: list[int] = []

    @ModelClass.method(max_batch_size=8, batch_sizes=(2, 8))
    def predict(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        self.sizes.append(len(row))
        if len(row) > 4:
            raise ValueError("too many")
        return row


class Broken(ModelClass):
    @ModelClass.method(max_batch_size="auto")
    def predict(self, text: Batch[str]) -> Batch[str]:
        raise ValueError("not today")


@pytest.fixture
def device() -> Iterator[ModelDevice]:
    device = ModelDevice("cpu", print)
    yield device
    device.close()


def test_sizes_are_measured_once_for_a_machine(tmp_path: Path, device: ModelDevice) -> None:
    memory = tmp_path / "runner" / "sizes.json"
    model = instantiate(Auto, "cpu")
    (auto, fixed), (told, _) = settle(model, *load_methods(model), device, memory=memory)
    assert auto.plan is not None
    assert fixed.plan is not None
    assert 1 <= auto.plan.limits.max_size == told.max_batch_size <= 8
    assert fixed.plan.limits.max_size == 32
    assert set(model.shapes) <= {(size, 5) for size in (1, 2, 4, 8, 16)}
    again = instantiate(Auto, "cpu")
    (same, _), _ = settle(again, *load_methods(again), device, memory=memory)
    assert same.plan == auto.plan
    assert not again.sizes
    assert list(json.loads(memory.read_text()).values()) == [told.max_batch_size]


def test_sizes_that_were_named_are_run_once(tmp_path: Path, device: ModelDevice) -> None:
    model = instantiate(Sized, "cpu")
    with pytest.raises(LoadError, match="predict: it raised on a batch of 8 at warm-up: ValueError: too many"):
        settle(model, *load_methods(model), device, memory=tmp_path / "none")
    assert model.sizes == [2, 8]


def test_a_memory_that_is_none_of_ours_is_no_harm(tmp_path: Path, device: ModelDevice) -> None:
    memory = tmp_path / "sizes.json"
    for text in ("not json", "[1]", '{"a": "b"}'):
        memory.write_text(text)
        model = instantiate(Auto, "cpu")
        settle(model, *load_methods(model), device, memory=memory)
        assert model.sizes


def _example(given: dict[str, object]) -> type[ModelClass]:
    class Model(ModelClass):
        @ModelClass.method(max_batch_size="auto", example=given)
        def predict(self, row: Batch[np.ndarray], scale: float = 2.0) -> Batch[np.ndarray]:
            return row * scale

    return Model


def test_an_example_that_does_not_fit_is_told(tmp_path: Path, device: ModelDevice) -> None:
    model = instantiate(_example({"row": "x"}), "cpu")
    said = "predict: its example does not fit, row: needs an array, got str 'x'; give it another"
    with pytest.raises(LoadError, match=said):
        settle(model, *load_methods(model), device, memory=tmp_path / "sizes.json")


def test_a_method_that_fails_on_its_example_is_told(tmp_path: Path, device: ModelDevice) -> None:
    model = instantiate(Broken, "cpu")
    with pytest.raises(LoadError, match=r"predict: its batch size cannot be found out.*ValueError: not today"):
        settle(model, *load_methods(model), device, memory=tmp_path / "sizes.json")
