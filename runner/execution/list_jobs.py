"""Several inputs that were read together and run in one batch: one entry of the policy, with a row for each."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from runner.batching.entries import Entry
from runner.batching.jobs import Fate, Job
from runner.context import CallContext
from runner.errors import CallError
from runner.execution.rows import BatchedJob, Row
from runner.wire.call import AlikeCalls


class ReadInput(NamedTuple):
    """An input whose arguments are there."""

    place: int
    """Among those that came together."""
    arguments: Mapping[str, Any]
    old_style: bool
    key: Hashable
    cost: float


class ListOwner(Protocol):
    """Whose the inputs are."""

    def calls(self, job: ListJob) -> Sequence[int]:
        """Return the numbers of the calls that a job belongs to."""
        ...

    def contexts(self, job: ListJob) -> Collection[CallContext]:
        """Return the context of each of these calls."""
        ...

    def gone(self, job: ListJob) -> Collection[int]:
        """Return the places of a job's inputs for which nobody waits. From any thread."""
        ...

    def divided(self, job: ListJob, rest: ListJob) -> None:
        """Some inputs of a job go to the device, and the rest waits in its place."""

    def rows(self, job: ListJob, arguments: Iterable[Mapping[str, Any]]) -> Sequence[Row]:
        """Return a row for each of a job's inputs, with these arguments."""
        ...

    def finished(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of an input as a method takes them."""
        ...

    def delivered(self, job: ListJob, results: Sequence[Any], fate: Fate) -> None:
        """A job has run: a result or an exception for each of its inputs."""

    def refused(self, job: ListJob, error: CallError) -> None:
        """A job was never run."""


class ListJob(BatchedJob):
    """Inputs that run in one batch.

    Attributes:
        places: where they stand among those that came together.
        old_style: the places of those whose output has to be of that style.
    """

    __slots__ = ("_arguments", "_owner", "old_style", "places")

    def __init__(self, owner: ListOwner, entry: Entry, members: Sequence[ReadInput]) -> None:
        self.entry = entry
        self.places: Sequence[int] = [each.place for each in members]
        self.old_style = frozenset([each.place for each in members if each.old_style])
        self._arguments = [each.arguments for each in members]
        self._owner = owner

    @property
    def calls(self) -> Sequence[int]:
        """See `BatchedJob`."""
        return self._owner.calls(self)

    @property
    def contexts(self) -> Collection[CallContext]:
        """See `BatchedJob`."""
        return self._owner.contexts(self)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """See `BatchedJob`."""
        return self._arguments[0]

    @property
    def rows(self) -> Sequence[Row]:
        """See `BatchedJob`."""
        return self._owner.rows(self, self._arguments)

    def members(self) -> list[ReadInput]:
        """Return its inputs, each with arguments of its own."""
        key, cost = self.entry.key, self.entry.cost / len(self.places)
        pairs = zip(self.places, self._arguments, strict=True)
        return [ReadInput(place, arguments, place in self.old_style, key, cost) for place, arguments in pairs]

    def values(self, name: str) -> Sequence[Any]:
        """See `BatchedJob`."""
        return [arguments[name] for arguments in self._arguments]

    @property
    def wanted(self) -> bool:
        """See `Job`."""
        return len(self._owner.gone(self)) < len(self.places)

    def parted(self) -> tuple[Job | None, Job | None]:
        """See `Job`."""
        gone = self._owner.gone(self)
        if not gone:
            return self, None
        if len(gone) == len(self.places):
            return None, self
        members = self.members()
        return (
            self._of([each for each in members if each.place not in gone]),
            self._of([each for each in members if each.place in gone]),
        )

    def divided(self, inputs: int) -> tuple[Job, Job]:
        """See `Job`."""
        members = self.members()
        first, rest = self._of(members[:inputs]), self._of(members[inputs:])
        self._owner.divided(self, rest)
        return first, rest

    def _of(self, members: Sequence[ReadInput]) -> ListJob:
        entry = self.entry._replace(size=len(members), cost=sum(each.cost for each in members))
        job = ListJob(self._owner, entry, members)
        job.offered = self.offered
        return job

    def deliver(self, result: Any, fate: Fate) -> None:
        """See `Job`."""
        if isinstance(result, BaseException) or len(self.places) == 1:
            result = [result] * len(self.places)
        self._owner.delivered(self, result, fate)

    def refuse(self, error: CallError) -> None:
        """See `Job`."""
        self._owner.refused(self, error)


class AlikeJob(ListJob):
    """Inputs that differ in one argument alone, and came one after the other."""

    __slots__ = ("_alike",)

    def __init__(self, owner: ListOwner, entry: Entry, alike: AlikeCalls, first: int = 0) -> None:
        self.entry = entry
        self.places = range(first, first + entry.size)
        self.old_style = frozenset[int]()
        self._alike = alike
        self._owner = owner

    @property
    def arguments(self) -> Mapping[str, Any]:
        """See `BatchedJob`."""
        return self._alike.arguments

    @property
    def rows(self) -> Sequence[Row]:
        """See `BatchedJob`."""
        return self._owner.rows(self, [read.arguments for read in self.members()])

    def members(self) -> list[ReadInput]:
        """Return its inputs, each with arguments of its own."""
        arguments, name, values, _ = self._alike
        if hasattr(values, "dtype"):
            values = cast(Any, values).copy()
        key = self.entry.key
        return [
            ReadInput(place, self._owner.finished({**arguments, name: value}), False, key, 1.0)
            for place, value in zip(self.places, values, strict=True)
        ]

    def divided(self, inputs: int) -> tuple[Job, Job]:
        """See `Job`."""
        alike, entry, first = self._alike, self.entry, self.places[0]
        parts: list[AlikeJob] = []
        for start, end in ((0, inputs), (inputs, entry.size)):
            part = entry._replace(size=end - start, cost=float(end - start))
            job = AlikeJob(self._owner, part, alike._replace(values=alike.values[start:end]), first + start)
            job.offered = self.offered
            parts.append(job)
        self._owner.divided(self, parts[1])
        return parts[0], parts[1]

    def values(self, name: str) -> Sequence[Any]:
        """See `BatchedJob`."""
        alike = self._alike
        return alike.values if name == alike.name else [alike.arguments[name]] * len(self.places)
