"""What a worker tells the server about a method: enough to route a call and to describe it, and no types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runner.signature.method import Cardinality


class Lane(str):
    """The name of calls that compete for the same room in a worker.

    A backlog in one lane never stands before another's calls. There are three for calls that run by themselves, and one
    for each method whose calls run in batches.
    """

    __slots__ = ()

    THREADS: ClassVar[Lane]
    """Unary plain functions: `num_threads` at once."""
    STREAMS: ClassVar[Lane]
    """Plain functions with a streamed side: a thread each for the stream's life, `max_streams`."""
    COROUTINES: ClassVar[Lane]
    """Async functions and async generators: `max_coroutines`."""

    @classmethod
    def of_batches(cls, method: str) -> Lane:
        """Return the lane of a batched method: two batches' worth of calls at once."""
        return cls(f"batches of {method}")


Lane.THREADS = Lane("threads")
Lane.STREAMS = Lane("streams")
Lane.COROUTINES = Lane("coroutines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One method as the server knows it.

    Attributes:
        name: the published name.
        cardinality: which sides are streams.
        lane: the calls it competes with.
        clarifai: its description on that service, a serialized `MethodSignature`; empty for a client-stream method,
            which that service has no word for.
        native: its description on our own service.
        idempotent: running it twice does no harm.
        max_batch_size: calls that run together at most; 0 if each runs by itself.
        priority: higher ones go first.
        slo: seconds within which its calls should be answered; None without such an objective.
        timeout: seconds that a call gets that brings no deadline; None: as long as it takes.
        max_timeout: seconds that a call gets at most.
        max_run: seconds after which a run is stuck; None: never.
    """

    name: str
    cardinality: Cardinality
    lane: Lane
    clarifai: bytes
    native: bytes
    idempotent: bool = False
    max_batch_size: int = 0
    priority: int = 0
    slo: float | None = None
    timeout: float | None = None
    max_timeout: float | None = None
    max_run: float | None = None
