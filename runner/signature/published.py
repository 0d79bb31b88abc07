"""What a worker tells the server about a method: enough to route a call and to describe it, and no types."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from runner.signature.method import Cardinality


class Lane(enum.Enum):
    """Calls that compete for the same room in a worker. A backlog in one lane never stands before another's calls."""

    THREADS = "threads"  # unary plain functions: `num_threads` at once
    STREAMS = "streams"  # plain functions with a streamed side: a thread each for the stream's life, `max_streams`
    COROUTINES = "coroutines"  # async functions and async generators, `max_coroutines`

    __hash__ = object.__hash__  # Enum's own hashes the name, in Python; lanes are keys on every call's way


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One method as the server knows it.

    `clarifai` and `native` are serialized `MethodSignature` messages, one for each service; `clarifai` is empty for a
    client-stream method, which that service has no word for.
    """

    name: str
    cardinality: Cardinality
    lane: Lane
    clarifai: bytes
    native: bytes
    idempotent: bool = False
