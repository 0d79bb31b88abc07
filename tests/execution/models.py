"""Models whose batches several files of tests look at."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np

from runner import Batch, ModelClass
from tests.execution.stage import Stage


class Gated(ModelClass):
    """Notes what each run was given. `gate` holds up the device until the test opens it."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.ids: list[list[str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    @ModelClass.method(max_batch_size=4, idempotent=True)
    def shout(self, text: Batch[str], mark: str = "!") -> Batch[str]:
        self.entered.set()
        self.gate.wait()
        self.runs.append(list(text))
        self.ids.append([entry.request_id for entry in self.context.entries])
        if "raise" in text:
            raise ValueError("raised")
        self.set_output_context(prompt_tokens=[len(each) for each in text])
        return [ValueError(f"no {each}") if each == "bad" else each.upper() + mark for each in text]

    @ModelClass.method(max_batch_size=8)
    def double(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        self.gate.wait()
        self.runs.append(row.shape)
        return row * 2

    @ModelClass.method(max_batch_size=8)
    def counted(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        self.set_output_context(prompt_tokens=[int(each[0]) for each in row])
        return row

    @ModelClass.method
    def alone(self, text: str) -> str:
        return text


class Roots(ModelClass):
    """Fails for what is below zero, and may be run again."""

    @ModelClass.method(max_batch_size=8, idempotent=True)
    def root(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        if (row < 0).any():
            raise ValueError("below zero")
        return np.sqrt(row)

    @ModelClass.method(max_batch_size=8, idempotent=True)
    async def root_later(self, row: Batch[np.ndarray]) -> Batch[np.ndarray]:
        return self.root(row)


def texts(*given: str) -> list[dict[str, str]]:
    """Return the arguments of calls with these texts."""
    return [{"text": each} for each in given]


async def occupied(stage: Stage) -> int:
    """Have the device of a `Gated` model run something until the gate is opened, the first run that it notes.

    Returns:
        The call.
    """
    stage.model.gate.clear()
    stage.model.entered.clear()
    stage.model.runs.clear()
    call = stage.call("shout", text="first")
    await asyncio.to_thread(stage.model.entered.wait, 10)
    return call
