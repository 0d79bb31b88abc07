"""What waits for a batch, and what batches do: the two things that a coalescer is given by those who use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from runner.batching.device import Device, Prepared
from runner.batching.entries import Entry
from runner.errors import CallError


class Fate(NamedTuple):
    """How the batch of an entry went, for the entry."""

    started: float
    """Instant on the `time.monotonic` clock."""
    seconds: float
    size: int
    """Inputs in the batch."""


class Job:
    """One entry: what waits for a batch, and who is told how it went."""

    __slots__ = ("entry", "offered")

    entry: Entry
    offered: float

    @property
    def wanted(self) -> bool:
        """False once nobody waits for it any more. Asked on the loop, and by the device before it begins."""
        return True

    def divided(self, inputs: int) -> tuple[Job, Job]:
        """Return a job of its first inputs, and one of the others with the same id. Of one that is divisible."""
        raise NotImplementedError

    def parted(self) -> tuple[Job | None, Job | None]:
        """Return what of it somebody waits for, and what nobody does. From the device's threads."""
        return (self, None) if self.wanted else (None, self)

    def deliver(self, result: Any, fate: Fate) -> None:
        """Take the result, an exception if this entry failed. Called on the loop; must not raise."""
        raise NotImplementedError

    def refuse(self, error: CallError) -> None:
        """It was never run. Called on the loop; must not raise."""
        raise NotImplementedError

    def forgotten(self, device: Device) -> None:
        """It is never run, since the worker stops, and nobody is told. What has to be done is left to the device."""


Jobs: TypeAlias = Sequence[Any]
"""Of one point: each kind of work knows which kind of job it is given."""


class Work(Protocol):
    """What the batches of one point do."""

    exhausted: int | None
    """The smallest number of inputs that the device had too little memory for, since this was last set to None."""

    splits: int
    """Runs that were split for want of memory, since this was last set to 0."""

    def preparation(self, jobs: Jobs) -> Prepared:
        """Tell where these jobs are best prepared while the device is busy."""
        ...

    def prepare(self, jobs: Jobs) -> Any:
        """Bring the arguments of these jobs into place."""

    def run(self, prepared: Any, jobs: Jobs) -> Any:
        """Do the work; return one result for each job, an exception in the place of each that failed."""
