"""Everything a method can do wrong, or slowly, on request."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from runner import ModelClass


class Misbehaving(ModelClass):
    """Counts its calls and its open streams, so that tests can wait for facts and not for time."""

    def load_model(self) -> None:
        self._changed = threading.Condition()
        self._open_streams = 0
        self._calls = 0
        self._barriers: dict[int, threading.Barrier] = {}

    @ModelClass.method
    def echo(self, text: str) -> str:
        return text

    @ModelClass.method
    def fail(self, text: str) -> str:
        """Raise, and count that it was tried."""
        self._calls += 1
        raise ValueError(text)

    @ModelClass.method
    def calls(self) -> int:
        """Return how often `fail` has run."""
        return self._calls

    @ModelClass.method
    def fail_if_odd(self, number: int) -> int:
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number

    @ModelClass.method
    def wrong_result(self) -> int:
        return "seven"  # type: ignore[return-value]

    @ModelClass.method
    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"

    @ModelClass.method
    def meet(self, parties: int) -> int:
        """Return once `parties` calls are here at the same time, each with another number; raise after 5 seconds."""
        with self._changed:
            barrier = self._barriers.setdefault(parties, threading.Barrier(parties))
        return barrier.wait(timeout=5)

    @ModelClass.method
    def die(self) -> str:
        os._exit(3)

    @ModelClass.method
    def fail_first(self, text: str) -> Iterator[str]:
        raise ValueError(text)
        yield text

    @ModelClass.method
    def fail_midway(self, count: int) -> Iterator[int]:
        yield from range(count)
        raise ValueError(f"gave up after {count}")

    @ModelClass.method
    def nothing(self) -> Iterator[str]:
        yield from ()

    @ModelClass.method
    def bidi_fail_first(self, items: Iterator[str]) -> Iterator[str]:
        raise ValueError("not today")
        yield ""

    @ModelClass.method
    def bidi_fail_midway(self, items: Iterator[str]) -> Iterator[str]:
        yield next(items)
        raise ValueError("one was enough")

    @ModelClass.method
    def endless(self) -> Iterator[int]:
        """Count for ever; `open_streams` says how many of these are alive."""
        with self._streaming():
            number = 0
            while True:
                yield number
                number += 1

    @ModelClass.method
    def bidi_endless(self, items: Iterator[str]) -> Iterator[str]:
        """Echo until the caller is gone."""
        with self._streaming():
            yield from items

    @ModelClass.method
    def open_streams(self) -> int:
        return self._open_streams

    @ModelClass.method
    def wait_open_streams(self, count: int) -> bool:
        """Return True once exactly `count` streams are alive, False after 10 seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open_streams == count, timeout=10)

    @ModelClass.method
    def usage(self, text: str) -> str:
        self.set_output_context(prompt_tokens=len(text), completion_tokens=2, cached_tokens=1)
        return text

    @ModelClass.method
    def usage_stream(self, text: str) -> Iterator[str]:
        yield from text
        self.set_output_context(prompt_tokens=len(text), completion_tokens=len(text))
        yield "!"

    def _streaming(self) -> _Counted:
        return _Counted(self)

    def _count_stream(self, change: int) -> None:
        with self._changed:
            self._open_streams += change
            self._changed.notify_all()


class _Counted:
    """One open stream of `Misbehaving`."""

    def __init__(self, model: Misbehaving) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._model._count_stream(+1)

    def __exit__(self, *exc_info: object) -> None:
        self._model._count_stream(-1)
