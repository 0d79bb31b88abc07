"""What a method can learn about the call it is serving, and what it can say about it beside its result.

One `CallContext` per call. The worker makes it, puts it into `current` around the method, and calls `cancel` from its
loop thread while the method may be running in another; the method only reads it and reports usage.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from operator import index
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from runner.errors import Cancelled, DeadlineExceeded

__all__ = ["BatchContext", "CallContext", "LocalContext", "Usage", "current", "current_context"]

Usage: TypeAlias = tuple[int, int, int]
"""Prompt, completion and cached tokens; the cached ones are part of the prompt's."""

Count: TypeAlias = int | Sequence[int]

NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})

_MAX_TOKENS = 2**32 - 1  # the wire counts in uint32


class CallContext:
    """One call, as the method serving it sees it.

    Args:
        request_id: the id under which logs speak of this call.
        deadline: the instant, on the `time.monotonic` clock, after which nobody waits for the answer; None: no limit.
        metadata: what the caller sent beside the arguments, keys in lower case; or a function that returns it: few
            methods ask for it.
        member: the worker's number for the call, under which its steps are known at coalescing points; 0 outside one.
    """

    __slots__ = ("_cancelled", "_deadline", "_metadata", "_request_id", "_state", "_usage", "_watchers", "member")

    def __init__(
        self,
        *,
        request_id: str = "",
        deadline: float | None = None,
        metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] = NO_METADATA,
        member: int = 0,
    ) -> None:
        self._request_id = request_id or uuid.uuid4().hex
        self.member = member
        self._deadline = deadline
        self._metadata = metadata
        # A plain flag that only ever goes from False to True: reading and writing it are atomic, so no lock.
        self._cancelled = False
        self._usage: Usage | None = None
        self._state: dict[str, Any] | None = None
        self._watchers: list[Callable[[], object]] = []

    def alike(self) -> CallContext:
        """Return the context of another input of the same request, which knows the same of its caller."""
        return CallContext(
            request_id=self.request_id, deadline=self.deadline, metadata=self._metadata, member=self.member
        )

    @property
    def request_id(self) -> str:
        """The id under which logs speak of this call."""
        return self._request_id

    @property
    def deadline(self) -> float | None:
        """The instant, on the `time.monotonic` clock, after which nobody waits for the answer; None: no limit."""
        return self._deadline

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the caller sent beside the arguments, keys in lower case."""
        metadata = self._metadata
        if callable(metadata):
            metadata = self._metadata = metadata()
        return metadata

    @property
    def state(self) -> dict[str, Any]:
        """What belongs to this call and ends with it: the place of a stream's own things, for its batched helpers."""
        if self._state is None:
            self._state = {}
        return self._state

    def stopping_criteria(self) -> StopWhenGone:
        """Return what ends a `generate` of the transformers kind once nobody waits for its result."""
        return StopWhenGone(self)

    @property
    def entries(self) -> Sequence[CallContext]:
        """The calls that are served together: this one alone, or all of a batch in the order of their values."""
        return (self,)

    @property
    def cancelled(self) -> bool:
        """True once the caller has left or the call was told to stop. Long loops of plain functions look at it."""
        return self._cancelled

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, negative if it has passed; None if there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def raise_if_cancelled(self) -> None:
        """End the method here if nobody wants its result any more.

        Raises:
            Cancelled: the caller left.
            DeadlineExceeded: the caller's time is up.
        """
        if self._cancelled:
            raise Cancelled("the caller is gone")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded("the caller's deadline has passed")

    def cancel(self) -> None:
        """Say that nobody waits any more. For the worker; may be called from any thread, and more than once."""
        self._cancelled = True
        for tell in tuple(self._watchers):
            tell()

    def watch(self, tell: Callable[[], object]) -> None:
        """Have `tell` called once the call is cancelled: for what blocks a thread and could be woken.

        Look at `cancelled` after this: where it is true already, `tell` may never be called.
        """
        self._watchers.append(tell)

    def unwatch(self, tell: Callable[[], object]) -> None:
        """Take `watch` back."""
        self._watchers.remove(tell)

    @property
    def usage(self) -> Usage | None:
        """The token counts reported since they were last taken."""
        return self._usage

    def report_usage(self, *, prompt_tokens: Count = 0, completion_tokens: Count = 0, cached_tokens: Count = 0) -> None:
        """Attach token counts to the next result. A second report before it replaces the first.

        Raises:
            TypeError: a count is not a whole number.
            ValueError: a count is negative or beyond 32 bits.
        """
        # index() also takes the integers of numpy and torch, which is what tokenizers count in.
        prompt, completion, cached = (index(cast(int, n)) for n in (prompt_tokens, completion_tokens, cached_tokens))
        for count in (prompt, completion, cached):
            if not 0 <= count <= _MAX_TOKENS:
                raise ValueError(f"a token count has to be from 0 to {_MAX_TOKENS}, not {count}")
        self._usage = (prompt, completion, cached)

    def take_usage(self) -> Usage | None:
        """Return the reported counts and forget them, so that a stream's next item does not repeat them."""
        usage, self._usage = self._usage, None
        return usage

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else "live"
        return f"<CallContext {self.request_id} {state}>"


class StopWhenGone:
    """A stopping criterion for transformers' `generate(..., stopping_criteria=[...])`, which asks after each token."""

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Return whether to stop: for each row of `input_ids`, as newer versions want it, where torch is there."""
        left = self._context.time_left
        stop = self._context.cancelled or (left is not None and left <= 0)
        torch: Any = sys.modules.get("torch")
        if torch is None or not hasattr(input_ids, "device"):
            return stop
        return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)


class BatchContext(CallContext):
    """What a method that serves a batch sees as its context.

    Args:
        calls: the contexts of the calls, in the order of their values; or what returns them.
        expand: returns those of all inputs, in order, where calls have several.
        filled: values that the method is given, where they are more than the inputs: the last one is repeated.

    The first two are asked once, when a method wants to know something of its callers: most do not.
    """

    __slots__ = ("_calls", "_entries", "_expand", "_filled")

    def __init__(
        self,
        calls: Sequence[CallContext] | Callable[[], Sequence[CallContext]],
        expand: Callable[[], Sequence[CallContext]] | None = None,
        filled: int = 0,
    ) -> None:
        super().__init__(request_id="several")
        self._filled = filled
        self._calls = calls
        self._expand = expand
        self._entries: Sequence[CallContext] | None = None

    def _all(self) -> Sequence[CallContext]:
        calls = self._calls
        if callable(calls):
            calls = self._calls = calls()
        return calls

    @property
    def request_id(self) -> str:
        """Those of the first eight calls."""
        return ",".join([call.request_id for call in self._all()[:8]])

    @property
    def deadline(self) -> float | None:
        """The last one of the calls. As long as somebody waits without a limit, there is none."""
        deadlines = [call.deadline for call in self._all()]
        known = [deadline for deadline in deadlines if deadline is not None]
        return max(known) if known and len(known) == len(deadlines) else None

    @property
    def entries(self) -> Sequence[CallContext]:
        """See `CallContext`."""
        if self._entries is None:
            self._entries = self._all() if self._expand is None else self._expand()
        return self._entries

    @property
    def cancelled(self) -> bool:
        """True once nobody of the whole batch waits any more."""
        return all(call.cancelled for call in self._all())

    def report_usage(self, *, prompt_tokens: Count = 0, completion_tokens: Count = 0, cached_tokens: Count = 0) -> None:
        """Attach token counts to each call's next result: sequences, one count for each of `entries`.

        In a batch that was filled up there may be one for each value; those of repeated ones are dropped.

        Raises:
            TypeError: a bare number: it would not say whose tokens it counts.
            ValueError: there are more or fewer counts than calls.
        """
        size = len(self.entries)
        columns: list[Sequence[int]] = []
        for name, counts in (("prompt", prompt_tokens), ("completion", completion_tokens), ("cached", cached_tokens)):
            if isinstance(counts, int) and counts == 0:
                counts = [0] * size
            if not hasattr(counts, "__len__"):
                raise TypeError(f"{name}_tokens: got {counts!r}; in a batch it needs one count for each of the calls")
            column = cast(Sequence[int], counts)
            if len(column) == self._filled:
                column = column[:size]
            if len(column) != size:
                raise ValueError(f"{name}_tokens: got {len(column)} counts for a batch of {size} calls")
            columns.append(column)
        for entry, prompt, completion, cached in zip(self.entries, *columns, strict=True):
            entry.report_usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)


class LocalContext(CallContext):
    """What a method sees that is called as a plain function. Nothing says whether that is given a batch."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        super().__init__(request_id="local")
        self._entries: Sequence[CallContext] | None = None

    @property
    def entries(self) -> Sequence[CallContext]:
        """This context alone; after counts were reported for a batch, one for each of them, with its `usage`."""
        return (self,) if self._entries is None else self._entries

    def report_usage(self, *, prompt_tokens: Count = 0, completion_tokens: Count = 0, cached_tokens: Count = 0) -> None:
        """Keep token counts: numbers, or sequences as in a batch.

        Raises:
            TypeError: a count is not a whole number, or only some are sequences.
            ValueError: a count is negative or beyond 32 bits, or the sequences are not equally long.
        """
        counts = (prompt_tokens, completion_tokens, cached_tokens)
        sizes = [len(cast(Sequence[int], column)) for column in counts if hasattr(column, "__len__")]
        self._entries = [CallContext(request_id=self.request_id) for _ in range(sizes[0])] if sizes else None
        context = super() if self._entries is None else BatchContext(self._entries)
        context.report_usage(
            prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, cached_tokens=cached_tokens
        )


current: ContextVar[CallContext] = ContextVar("runner_call_context")
"""The call that this thread or task is serving. Written by the worker only."""


def current_context() -> CallContext:
    """Return the current call's context, or a new one where there is no call.

    A method that is called as a plain function, in a unit test, gets a context without deadline. It stays in place, so
    that the test can look at what the method reported.
    """
    context = current.get(None)
    if context is None:
        context = LocalContext()
        current.set(context)
    return context
