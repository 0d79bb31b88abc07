"""Lists of arrays for a method that takes tensors."""

from __future__ import annotations

import numpy as np
import pytest

from runner import Batch, ModelClass
from runner.errors import InvalidInput
from tests.execution.stage import Stage
from tests.running import on_loop

torch = pytest.importorskip("torch")


class Model(ModelClass):
    @ModelClass.method(max_batch_size=8)
    def double(self, row: Batch[torch.Tensor]) -> Batch[torch.Tensor]:
        return row * 2


@on_loop
async def test_numbers_that_torch_does_not_know_are_refused_however_often_they_are_sent():
    async with Stage(Model) as stage:
        for _ in range(3):
            for end in await stage.end(stage.call_list("double", *[{"row": np.ones(4, np.longdouble)}] * 2)):
                assert isinstance(end, InvalidInput)
                assert end.path == "row"
        result = await stage.end(stage.call("double", row=np.ones(4)))
        np.testing.assert_array_equal(result, np.full(4, 2.0))
