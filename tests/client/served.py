"""The model that the client's tests call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np

from runner import Image, ModelClass, Param, Text


class Served(ModelClass):
    @ModelClass.method
    def predict(self, prompt: str = "world", n: int = Param(1, "how often", min_value=0, max_value=9)) -> str:
        """Greet `prompt`."""
        if prompt == "boom":
            raise ValueError("boom")
        return f"Hello {prompt}" * n

    @ModelClass.method
    def negate(self, pixels: np.ndarray, picture: Image | None = None) -> np.ndarray:
        return -pixels

    @ModelClass.method
    def chat(self, messages: list[dict]) -> dict:
        return {"answer": messages[-1].get("content", ""), "count": len(messages)}

    @ModelClass.method
    def close(self, prompt: str) -> str:
        """Has the name of an attribute of the client's."""
        return f"closed {prompt}"

    @ModelClass.method
    def tenant(self) -> str:
        return self.context.metadata.get("x-tenant", "")

    @ModelClass.method
    def generate(self, prompt: str, count: int = 3) -> Iterator[str]:
        for number in range(count):
            if prompt == "boom" and number == 1:
                raise ValueError("boom")
            yield f"{prompt}{number}"

    @ModelClass.method
    def stream(self, input_iterator: Iterator[str], suffix: str = "") -> Iterator[str]:
        for text in input_iterator:
            yield text + suffix

    @ModelClass.method
    def first(self, items: Iterator[int]) -> Iterator[int]:
        yield next(iter(items))

    @ModelClass.method
    def total(self, items: Iterator[int]) -> int:
        numbers = list(items)
        if any(number < 0 for number in numbers):
            raise ValueError("below zero")
        return sum(numbers)

    @ModelClass.method
    def texts(self, audio: Iterator[Text]) -> Iterator[Text]:
        for text in audio:
            yield Text(text.text.upper())

    @ModelClass.method
    async def sleep(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @ModelClass.method
    async def tick(self, seconds: float, count: int = 1_000_000) -> AsyncIterator[float]:
        for _ in range(count):
            yield seconds
            await asyncio.sleep(seconds)
