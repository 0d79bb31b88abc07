"""Values of a batch become one array."""

from __future__ import annotations

import numpy as np
import pytest

from runner import Pad
from runner.batch import Stacking
from runner.batching.padding import padded
from runner.batching.staging import Blocks, Stager
from runner.errors import InvalidInput


def test_lists_stay_lists_and_arrays_are_stacked() -> None:
    stager = Stager("cpu")
    assert stager.stage(("a", "b"), Stacking.LIST, None).take() == ["a", "b"]
    stacked = stager.stage([np.zeros(2), np.ones(2)], Stacking.NUMPY, None).take()
    np.testing.assert_array_equal(stacked, [[0, 0], [1, 1]])
    with pytest.raises(InvalidInput, match="do not fit into one array"):
        stager.stage([np.zeros(2), np.zeros(3)], Stacking.NUMPY, None)


@pytest.mark.parametrize("stacking", [Stacking.NUMPY, Stacking.TORCH])
def test_blocks_are_put_together_and_filled_up(stacking: Stacking) -> None:
    if stacking is Stacking.TORCH:
        pytest.importorskip("torch")
    scattered = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]  # of another layout in memory
    blocks = Blocks([scattered, np.ones((1, 3), np.float32)], 5)
    stacked = Stager("cpu").stage(blocks, stacking, None).take()
    assert type(stacked).__module__.startswith("numpy" if stacking is Stacking.NUMPY else "torch")
    np.testing.assert_array_equal(stacked, [[0, 2, 4], [6, 8, 10], [1, 1, 1], [1, 1, 1], [1, 1, 1]])


def test_shorter_arrays_are_filled_and_the_mask_tells_what_is_real() -> None:
    staged = Stager("cpu").stage([np.ones((1, 2)), np.ones((2, 1))], Stacking.NUMPY, Pad(-1, mask="real"))
    np.testing.assert_array_equal(staged.take(), [[[1, 1], [-1, -1]], [[1, -1], [1, -1]]])
    np.testing.assert_array_equal(staged.mask, [[[1, 1], [0, 0]], [[1, 0], [1, 0]]])
    assert padded([np.ones(1), np.ones(2)], Stacking.NUMPY, Pad())[1] is None


def test_tensors_too() -> None:
    torch = pytest.importorskip("torch")
    staged = Stager("cpu").stage([torch.ones(1), torch.ones(3)], Stacking.TORCH, Pad(0, mask="real"))
    assert staged.take().tolist() == [[1, 0, 0], [1, 1, 1]]
    assert staged.mask.tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.gpu
def test_tensors_arrive_on_the_gpu_with_their_mask():
    import torch

    staged = Stager("cuda:0").stage([torch.ones(1), torch.ones(3)], Stacking.TORCH, Pad(0, mask="real"))
    value = staged.take()
    assert value.device == torch.device("cuda:0")
    assert value.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert staged.mask.device == torch.device("cuda:0")
    assert staged.mask.tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.gpu
def test_blocks_arrive_on_the_gpu():
    import torch

    images = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    value = Stager("cuda:0").stage(Blocks([images[::2], images[1:2]], 4), Stacking.TORCH, None).take()
    assert value.device == torch.device("cuda:0")
    assert value.dtype == torch.uint8
    assert torch.equal(value.cpu(), torch.from_numpy(images[[0, 2, 1, 1]]))


@pytest.mark.gpu
def test_many_batches_on_their_way_at_once_keep_their_values():
    """Pinned memory is not written to again before it has been copied, nor the copy freed before its use."""
    import torch

    stager = Stager("cuda:0")
    staged = [stager.stage([torch.full((1 << 20,), float(n))] * 4, Stacking.TORCH, None) for n in range(16)]
    sums = []
    for each in staged:
        value = each.take()
        sums.append(value.sum() / value.numel())
        del value
    assert [number.item() for number in sums] == [float(n) for n in range(16)]
