"""Values of a batch become one array."""

from __future__ import annotations

import numpy as np
import pytest

from runner import Pad
from runner.batch import Stacking
from runner.batching.staging import Stager, padded
from runner.errors import InvalidInput


def test_lists_stay_lists_and_arrays_are_stacked() -> None:
    stager = Stager("cpu")
    assert stager.stage(("a", "b"), Stacking.LIST, None).take() == ["a", "b"]
    stacked = stager.stage([np.zeros(2), np.ones(2)], Stacking.NUMPY, None).take()
    np.testing.assert_array_equal(stacked, [[0, 0], [1, 1]])
    with pytest.raises(InvalidInput, match="do not fit into one array"):
        stager.stage([np.zeros(2), np.zeros(3)], Stacking.NUMPY, None)


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
