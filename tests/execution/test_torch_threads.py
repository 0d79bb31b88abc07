"""What `load_model` says of torch holds where methods run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner import Batch, ModelClass, Pad
from tests.execution.stage import Stage
from tests.running import on_loop

torch = pytest.importorskip("torch")


def seen() -> str:
    return f"{torch.is_grad_enabled()} {torch.zeros(1).device}"


class Seeing(ModelClass):
    """Every answer tells how torch computes there."""

    @ModelClass.method
    def together(self, number: Batch[int]) -> Batch[str]:
        return [seen()] * len(number)

    @ModelClass.method
    def plain(self) -> str:
        return seen()

    @ModelClass.method
    def stream(self) -> Iterator[str]:
        yield seen()

    @ModelClass.method
    async def coroutine(self) -> str:
        return seen()

    @ModelClass.method(pad=Pad(0, mask="real"))
    def padded(self, row: Batch[torch.Tensor], real: torch.Tensor | None = None) -> Batch[list[float]]:
        assert real is not None
        assert real.device == row.device
        return [each[mask].tolist() for each, mask in zip(row, real, strict=True)]


@on_loop
async def all_see(what: str) -> None:
    async with Stage(Seeing) as stage:
        assert await stage.end(stage.call("together", number=1)) == what
        assert await stage.end(stage.call("plain")) == what
        assert await stage.items(stage.call("stream"), 1) == [what]
        assert await stage.end(stage.call("coroutine")) == what
        calls = [stage.call("padded", row=torch.ones(length, device="cpu")) for length in (1, 2, 3)]
        assert [await stage.end(call) for call in calls] == [[1], [1, 1], [1, 1, 1]]


def test_methods_compute_as_load_model_wants_it():
    all_see("True cpu")
    with torch.set_grad_enabled(False):
        all_see("False cpu")
    torch.set_default_device("meta")
    try:
        all_see("True meta")
    finally:
        torch.set_default_device(None)
    all_see("True cpu")
