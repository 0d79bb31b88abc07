"""Messages that are alike in everything but one value, read and written around protobuf.

One call of a method is mostly like another: the same arguments in the same order, another text or other numbers in one
of them. What a whole reading has found out is remembered under the exact bytes before and after the value. Protobuf
looks into no string and no bytes field, so a message of the same length with the same bytes around the value means the
same, but for the value.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from runner.wire.payload import Payload

T = TypeVar("T")

_MAX_AROUND: Final = 4096
"""bytes around a value that are remembered. Around a longer text or file they would hardly be the same again."""

_MAX_REMEMBERED: Final = 1024
"""Messages that one memory holds, a few hundred bytes each: texts of so many lengths. No more are learned then."""

_MAX_OF_A_LENGTH: Final = 4
"""Messages of one length, which are compared one after the other."""


class Known(NamedTuple, Generic[T]):
    """A message that was read before: its value is `[start:end]`."""

    before: bytes
    start: int
    end: int
    after: bytes
    meaning: T
    """What was found out about it."""


class Memory(Generic[T]):
    """Messages of one kind that were read before. Threads may share one: at worst two learn the same."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Known[T], ...]] = {}
        self._size = 0

    def find(self, payload: Payload) -> Known[T] | None:
        """Return the message that is like this one but for its value; None if there was none."""
        for known in self._known.get(len(payload), ()):
            if payload[: known.start] == known.before and payload[known.end :] == known.after:
                return known
        return None

    def learn(self, payload: Payload, value: Payload, meaning: T) -> None:
        """Remember a message if its value's bytes are in it just once: then that is where they lie."""
        if not value or self._size >= _MAX_REMEMBERED or len(payload) - len(value) > _MAX_AROUND:
            return
        message = bytes(payload)
        start = message.find(value)
        if start >= 0 and message.find(value, start + 1) < 0:
            self.learn_at(message, start, start + len(value), meaning)

    def learn_at(self, payload: Payload, start: int, end: int, meaning: T) -> None:
        """Remember a message whose value is known to be `payload[start:end]`."""
        size = len(payload)
        others = self._known.get(size, ())
        if self._size >= _MAX_REMEMBERED or size - (end - start) > _MAX_AROUND or len(others) >= _MAX_OF_A_LENGTH:
            return
        known = Known(bytes(payload[:start]), start, end, bytes(payload[end:]), meaning)
        self._known[size] = (*others, known)
        self._size += 1

    def __repr__(self) -> str:
        return f"<Memory of {self._size} messages>"


class Frames:
    """What to write before and after a value, by what the message depends on beside its bytes."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[bytes, bytes]] = {}

    def get(self, key: Hashable) -> tuple[bytes, bytes] | None:
        """Return what stands before and after the value in a message of this key, if one was written before."""
        return self._known.get(key)

    def learn(self, key: Hashable, message: bytes, value: Payload) -> None:
        """Remember a written message if its value's bytes are in it just once."""
        if not value or len(message) - len(value) > _MAX_AROUND:
            return
        start = message.find(value)
        if start >= 0 and message.find(value, start + 1) < 0:
            self.put(key, message[:start], message[start + len(value) :])

    def put(self, key: Hashable, before: bytes, after: bytes) -> None:
        """Remember what stands before and after the value."""
        if len(self._known) < _MAX_REMEMBERED and len(before) + len(after) <= _MAX_AROUND:
            self._known[key] = before, after

    def __repr__(self) -> str:
        return f"<Frames of {len(self._known)} kinds of messages>"
