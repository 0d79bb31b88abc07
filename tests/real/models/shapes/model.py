"""Every shape of a method, as each kind of function that can be one.

`fail_at` and `stop_at` count items: the method raises or returns when it has got to that one; -1 means never. What is
under way is counted, so that tests can wait until `finally` has run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

from runner import ModelClass


class Shapes(ModelClass):
    """Words in, words out."""

    def load_model(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0

    # One in, one out.

    @ModelClass.method
    def unary_plain(self, word: str, fail: bool = False) -> str:
        with self._counted():
            return _said(word, 0, 0 if fail else -1)

    @ModelClass.method
    async def unary_async(self, word: str, fail: bool = False) -> str:
        with self._counted():
            return _said(word, 0, 0 if fail else -1)

    # One in, many out.

    @ModelClass.method
    def served_plain(self, word: str, count: int, fail_at: int = -1) -> Iterator[str]:
        return self._words(word, count, fail_at)

    @ModelClass.method
    def served_generator(self, word: str, count: int, fail_at: int = -1) -> Iterator[str]:
        yield from self._words(word, count, fail_at)

    @ModelClass.method
    async def served_async(self, word: str, count: int, fail_at: int = -1) -> AsyncIterator[str]:
        with self._counted():
            for place in range(count):
                yield _said(word, place, fail_at)
            _said(word, count, fail_at)

    # Many in, one out.

    @ModelClass.method
    def collected_plain(self, words: Iterator[str], fail_at: int = -1, stop_at: int = -1) -> list[str]:
        return list(self._replies(words, fail_at, stop_at))

    @ModelClass.method
    async def collected_async(self, words: AsyncIterator[str], fail_at: int = -1, stop_at: int = -1) -> list[str]:
        return [word async for word in self._async_replies(words, fail_at, stop_at)]

    # Many in, many out.

    @ModelClass.method
    def bidi_plain(self, words: Iterator[str], fail_at: int = -1, stop_at: int = -1) -> Iterator[str]:
        return self._replies(words, fail_at, stop_at)

    @ModelClass.method
    def bidi_generator(self, words: Iterator[str], fail_at: int = -1, stop_at: int = -1) -> Iterator[str]:
        yield from self._replies(words, fail_at, stop_at)

    @ModelClass.method
    async def bidi_async(self, words: AsyncIterator[str], fail_at: int = -1, stop_at: int = -1) -> AsyncIterator[str]:
        async with contextlib.aclosing(self._async_replies(words, fail_at, stop_at)) as replies:
            async for word in replies:
                yield word

    @ModelClass.method
    def wait_under_way(self, count: int) -> bool:
        """Return True once exactly `count` calls are under way, False after 10 seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == count, timeout=10)

    def _words(self, word: str, count: int, fail_at: int) -> Iterator[str]:
        with self._counted():
            for place in range(count):
                yield _said(word, place, fail_at)
            _said(word, count, fail_at)

    def _replies(self, words: Iterator[str], fail_at: int, stop_at: int) -> Iterator[str]:
        with self._counted():
            place = 0
            while place != stop_at:
                try:
                    word = next(words)
                except StopIteration:
                    break
                yield _said(word, place, fail_at)
                place += 1
            _said("", place, fail_at)

    async def _async_replies(self, words: AsyncIterator[str], fail_at: int, stop_at: int) -> AsyncIterator[str]:
        with self._counted():
            place = 0
            while place != stop_at:
                try:
                    word = await anext(words)
                except StopAsyncIteration:
                    break
                yield _said(word, place, fail_at)
                place += 1
            _said("", place, fail_at)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            self._changed.notify_all()


def _said(word: str, place: int, fail_at: int) -> str:
    if place == fail_at:
        raise ValueError(f"no item {place}")
    return word.upper()
