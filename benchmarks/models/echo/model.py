"""Methods that cost nothing: what is measured is the way to them and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import numpy as np

from runner import ModelClass


class Echo(ModelClass):
    """One echo per way of writing a method, one with an array, and streams."""

    @ModelClass.method
    async def echo(self, text: str) -> str:
        return text

    @ModelClass.method
    def plain_echo(self, text: str) -> str:
        return text

    @ModelClass.method
    async def echo_array(self, array: np.ndarray) -> np.ndarray:
        return array

    @ModelClass.method
    async def repeat(self, text: str, times: int) -> AsyncIterator[str]:
        for _ in range(times):
            yield text

    @ModelClass.method
    async def chat(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for text in texts:
            yield text

    @ModelClass.method
    def plain_chat(self, texts: Iterator[str]) -> Iterator[str]:
        yield from texts
