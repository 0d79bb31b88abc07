"""A GPU tells how long it took."""

from __future__ import annotations

import pytest

from runner.batching.gpu_marks import GpuMarks


@pytest.mark.gpu
def test_the_gpu_says_how_long_it_took():
    import torch

    matrix = torch.randn(4096, 4096, device="cuda:0")
    result, seconds = GpuMarks("cuda:0").around(lambda m: m @ m, matrix)
    assert result.shape == (4096, 4096)
    assert 0 < seconds < 10
