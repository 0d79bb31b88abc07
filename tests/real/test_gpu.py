"""Batches of tensors on a real GPU, behind a real server. Skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from runner.client import Model

pytestmark = [pytest.mark.real, pytest.mark.gpu]


def test_tensors_are_on_the_device_of_their_replica(serve):
    with Model(base_url=serve("on_gpu").base_url) as model:
        assert model.where(np.ones(3, np.float32)) == "cuda:0 cuda:0"


def test_rows_of_many_calls_come_back_to_their_callers(serve):
    with Model(base_url=serve("on_gpu").base_url) as model:
        rows = [{"row": np.full(5, n, np.float32)} for n in range(64)]
        for n, answer in enumerate(model.double(rows)):
            np.testing.assert_array_equal(answer, np.full(5, 2 * n, np.float32))
        for _ in range(10_000):  # the worker tells of batches ten times a second
            counted = [point for point in model.statistics().points if point.name == "double"]
            if counted and counted[0].entries >= 64:
                break
        assert counted[0].device_seconds > 0


def test_two_replicas_share_a_gpu(serve):
    with Model(base_url=serve("on_gpu", "--replicas", "2", "--devices", "cuda:0").base_url) as model:
        assert set(model.where([{"row": np.ones(3, np.float32)}] * 32)) == {"cuda:0 cuda:0"}
