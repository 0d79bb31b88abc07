"""Streams in both directions, with functions and with coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from runner import Audio, ModelClass, Text


class Streams(ModelClass):
    """The page's two bidi methods, and the shapes around them."""

    @ModelClass.method
    def stream(self, input_iterator: Iterator[str]) -> Iterator[str]:
        """Answer each text as it comes."""
        for number, item in enumerate(input_iterator, start=1):
            yield f"{number}: {item}"

    @ModelClass.method
    def transcribe_audio(self, audio: Iterator[Audio]) -> Iterator[Text]:
        """Say how many bytes each piece has."""
        for piece in audio:
            yield Text(f"{len(piece.bytes or b'')} bytes ")

    @ModelClass.method
    async def stream_async(self, items: AsyncIterator[str], prefix: str = "> ") -> AsyncIterator[str]:
        """Answer each text as it comes, from a coroutine."""
        async for item in items:
            yield prefix + item

    @ModelClass.method
    def first(self, items: Iterator[str], count: int) -> Iterator[str]:
        """Answer the first `count` items, then end however many there are."""
        for _, item in zip(range(count), items):  # noqa: B905  ends with the shorter, that is the point
            yield item

    @ModelClass.method
    def pairs(self, items: Iterator[int]) -> Iterator[int]:
        """Answer every second item with the sum of two: replies need not match requests one to one."""
        for item in items:
            yield item + next(items, 0)

    @ModelClass.method
    def count(self, until: int) -> Iterator[int]:
        """Count from zero."""
        yield from range(until)

    @ModelClass.method
    def total(self, items: Iterator[int]) -> int:
        """Add up a stream: a kind of call the Clarifai service has no word for."""
        return sum(items)
