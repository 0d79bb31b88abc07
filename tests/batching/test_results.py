"""What a batched function returned comes to the host, where nobody else writes to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner import NamedFields
from runner.batching.results import to_host, to_host_each


@pytest.mark.parametrize("take", [to_host, to_host_each])
def test_results_come_as_arrays_where_each_is_one(take: Any) -> None:
    torch = pytest.importorskip("torch")
    results = torch.ones((2, 3), requires_grad=True)
    assert isinstance(take(results, arrays=True), np.ndarray)
    assert isinstance(take(results), torch.Tensor)
    assert isinstance(take(torch.ones(2), arrays=True), torch.Tensor)
    assert isinstance(take(torch.ones((2, 3), dtype=torch.bfloat16), arrays=True), torch.Tensor)
    assert np.asarray(take(torch.full((2, 3), 1j).conj(), arrays=True)).tolist() == [[-1j] * 3] * 2
    assert take([1, 2], arrays=True) == [1, 2]


def test_arrays_and_tensors_are_copied() -> None:
    torch = pytest.importorskip("torch")
    for buffer in (np.zeros((4, 2)), torch.zeros((4, 2)), np.zeros(4), torch.zeros(4)):
        for taken in (to_host(buffer[:3]), to_host(buffer[:3], arrays=True), to_host_each(buffer[1:])):
            buffer[:] = 1
            assert float(taken.sum()) == 0
            buffer[:] = 0


def test_so_are_those_within_results_at_any_depth() -> None:
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image")
    numbers, tensor, pixels = np.zeros(3), torch.zeros(3), np.zeros((2, 2), np.uint8)
    failed = ValueError("its own caller's")
    results = [
        None,
        numbers,
        (tensor, [numbers]),
        NamedFields(label="a", mask=numbers),
        {"x": tensor},
        image.fromarray(pixels),
        failed,
        list(tensor),
    ]
    taken = to_host_each(results)
    numbers[:] = tensor[:] = pixels[:] = 1
    assert taken[0] is None
    assert (
        taken[1].sum() == taken[2][0].sum() == taken[2][1][0].sum() == taken[3].mask.sum() == taken[4]["x"].sum() == 0
    )
    assert (type(taken[2]), taken[3].label) == (tuple, "a")
    assert np.array(taken[5]).sum() == 0
    assert taken[6] is failed
    assert sum(taken[7]) == 0


def test_what_nobody_can_write_to_stays_what_it_is() -> None:
    texts, rows = ["a", "b"], [[1.0, 2.0], [3.0, 4.0]]
    assert to_host_each(texts) is texts
    assert to_host_each(rows)[0] is rows[0]
    assert to_host_each(5) == 5
    assert to_host(rows) is rows  # of a step: what is in a list is the author's affair


@pytest.mark.gpu
def test_a_gpus_results_come_to_the_host():
    import torch

    results = torch.ones(2, 3, device="cuda:0")
    for taken in (to_host(results), to_host_each(results), to_host_each(list(results))[0]):
        assert taken.device == torch.device("cpu")
