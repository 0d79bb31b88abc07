"""The contexts of calls that came together: one is made when somebody asks for it, which mostly nobody does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from runner.context import CallContext

Metadata: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""As `CallContext` takes it."""


class Contexts(Collection[CallContext]):
    """Contexts of calls whose numbers follow each other. Any thread may ask for one, and all get the same.

    Attributes:
        first: the number of the first call.
        deadlines: the instant of each; None if none has one.
        gone: places of calls that were told to stop.
    """

    __slots__ = ("_made", "_metadata", "_request_ids", "deadlines", "first", "gone")

    def __init__(
        self,
        first: int,
        request_ids: Sequence[str],
        deadlines: Sequence[float | None] | None,
        metadata: Sequence[Metadata],
    ) -> None:
        """Take what is known of the calls.

        Args:
            first: the number of the first.
            request_ids: of each.
            deadlines: of each, on the `time.monotonic` clock; None if none has one.
            metadata: of each, or one for all.
        """
        self.first = first
        self.deadlines = deadlines
        self.gone: set[int] = set()
        self._request_ids = request_ids
        self._metadata = metadata
        self._made: dict[int, CallContext] = {}

    def __len__(self) -> int:
        return len(self._request_ids)

    def __getitem__(self, place: int) -> CallContext:
        made = self._made.get(place)
        if made is None:
            context = CallContext(
                request_id=self._request_ids[place],
                deadline=self.deadline(place),
                metadata=self._metadata[place if len(self._metadata) > 1 else 0],
                member=self.first + place,
            )
            made = self._made.setdefault(place, context)  # of two threads the first one's
            if place in self.gone:  # told so before there was a context to say it to
                made.cancel()
        return made

    def __iter__(self) -> Iterator[CallContext]:
        return map(self.__getitem__, range(len(self)))

    def __contains__(self, context: object) -> bool:
        return context in self._made.values()

    def make_all(self) -> list[CallContext]:
        """Return those of all calls, where nobody has asked for one yet: each of them is wanted."""
        count = len(self._request_ids)
        deadlines = [None] * count if self.deadlines is None else self.deadlines
        metadata = self._metadata if len(self._metadata) == count else [self._metadata[0]] * count
        numbers = range(self.first, self.first + count)
        contexts = [
            CallContext(request_id=request_id, deadline=deadline, metadata=each, member=number)
            for request_id, deadline, each, number in zip(self._request_ids, deadlines, metadata, numbers, strict=True)
        ]
        self._made = dict(enumerate(contexts))
        return contexts

    def deadline(self, place: int) -> float | None:
        """Return the deadline of a call; None if it has none."""
        return None if self.deadlines is None else self.deadlines[place]

    def earliest(self, places: Sequence[int]) -> float | None:
        """Return the first deadline of these calls; None if none of them has one."""
        if self.deadlines is None:
            return None
        return min([each for place in places if (each := self.deadlines[place]) is not None], default=None)

    def cancel(self, place: int) -> None:
        """Say that nobody waits for a call any more."""
        self.gone.add(place)
        if (made := self._made.get(place)) is not None:
            made.cancel()

    def made(self, places: Sequence[int]) -> list[CallContext]:
        """Return those of these calls that somebody has asked for."""
        made = self._made
        return [made[place] for place in places if place in made] if made else []

    def of(self, places: Sequence[int]) -> Collection[CallContext]:
        """Return those of these calls, none of them made for that."""
        return _Some(self, places)

    def __repr__(self) -> str:
        return f"<Contexts of {len(self)} calls, {len(self._made)} made>"


class _Some(Collection[CallContext]):
    """Some of them."""

    __slots__ = ("_all", "_places")

    def __init__(self, contexts: Contexts, places: Sequence[int]) -> None:
        self._all = contexts
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[CallContext]:
        return map(self._all.__getitem__, self._places)

    def __contains__(self, context: object) -> bool:
        return context in self._all.made(self._places)
