"""Unary calls without a coroutine each: what most of them want needs no waiting on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from runner.engine import Engine
from runner.engine.calls import Outcome, UnaryCall
from runner.errors import CallError
from runner.server.access import Access
from runner.server.replies import Replies
from runner.server.requests import GET_SIGNATURES, Requests
from runner.server.rpcs import CallInfo, TellReply
from runner.server.timing import slowest, tell_times
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.wire import reply
from runner.wire.payload import VIEW_FROM, Payload


class UnaryCalls:
    """Begins unary calls, and tells how each ended."""

    def __init__(self, engine: Engine, access: Access, requests: Requests, replies: Replies) -> None:
        self._engine = engine
        self._access = access
        self._requests = requests
        self._replies = replies

    def begin(
        self, dialect: Dialect, rpc: str, request: Payload, call: CallInfo, tell: TellReply
    ) -> Callable[[], None] | None:
        """Answer as `Service.unary` does.

        Returns:
            How to cancel the call; None if it cannot be answered like this, and nobody is told.
        """
        if rpc != "PostModelOutputs" or not self._requests.known:
            return None
        try:
            caller = self._access.check(call.metadata)
            envelope = self._requests.scan(request)
        except CallError:
            return None  # `Service.unary` words it
        try:
            if not envelope.inputs or envelope.method == GET_SIGNATURES:
                return None
            wanted = self._requests.of(dialect, envelope, Cardinality.UNARY, call, caller)
            if len(envelope.inputs) > 1:
                tell_all = partial(self._tell_list, call, tell)
                parts = self._engine.begin_list(wanted, envelope.inputs, envelope.run, tell_all)
                return partial(self._abandon, parts)
            running = self._engine.begin_unary(wanted, partial(self._tell, dialect, call, tell))
        except CallError as exc:
            self._tell_end(dialect, tell, exc)
            return _nothing
        return partial(self._engine.abandon, running)

    def _tell(self, dialect: Dialect, call: CallInfo, tell: TellReply, outcome: Outcome) -> None:
        tell_times(call, outcome)
        self._tell_end(dialect, tell, outcome.end)

    def _tell_list(
        self, call: CallInfo, tell: TellReply, parts: Sequence[UnaryCall], outcomes: Sequence[Outcome]
    ) -> None:
        tell_times(call, slowest(outcomes))
        tell(self._replies.of_parts(parts, outcomes))

    def _abandon(self, parts: Sequence[UnaryCall]) -> None:
        for part in parts:
            self._engine.abandon(part)

    def _tell_end(self, dialect: Dialect, tell: TellReply, end: Payload | CallError) -> None:
        try:
            if isinstance(end, CallError):
                tell(self._replies.refusal(dialect, end))
            elif len(end) < VIEW_FROM:
                tell(reply.success((end,)))
            else:
                tell(reply.long_success(end))
        except CallError as exc:
            tell(exc)


def _nothing() -> None:
    """Cancel a call that is over."""
