"""Unary calls without a coroutine each: what most of them want needs no waiting on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from runner.engine import Engine, Request
from runner.engine.calls import NOT_YET, Outcome, UnaryCall
from runner.errors import CallError
from runner.execution.times import Times
from runner.server.access import Access
from runner.server.reader import Reader
from runner.server.replies import Replies
from runner.server.requests import GET_SIGNATURES, Requests
from runner.server.rpcs import Arrival
from runner.server.timing import slowest, tell_times
from runner.signature.dialect import Dialect
from runner.wire import reply
from runner.wire.envelope import Envelope
from runner.wire.payload import VIEW_FROM, Payload


class UnaryCalls:
    """Begins unary calls, and tells how each ended."""

    def __init__(self, engine: Engine, access: Access, requests: Requests, replies: Replies) -> None:
        self.abandon = engine.abandon
        self._engine = engine
        self._access = access
        self._requests = requests
        self._replies = replies

    def begin(self, dialect: Dialect, rpc: str, arrivals: Sequence[Arrival]) -> None:
        """Answer as `Service.unary` does; see `BeginUnary`."""
        if rpc != "PostModelOutputs" or not self._requests.known:
            return
        reader = Reader(self._requests, self._access, dialect)
        calls: list[UnaryCall] = []
        for arrival in arrivals:
            try:
                envelope = reader.envelope(arrival.request, arrival.info)
            except CallError:
                continue  # `Service.unary` words it
            if not envelope.inputs or envelope.method == GET_SIGNATURES:
                continue
            try:
                request = reader.request(envelope, arrival.info)
                if len(envelope.inputs) > 1:
                    arrival.stop = self._begin_list(request, envelope, arrival)
                else:
                    call = _Answered(self, dialect, request, arrival)
                    arrival.stop = call.cancel
                    calls.append(call)
            except CallError as exc:
                self.tell(dialect, arrival, exc)
        if calls:
            self._engine.begin_all(calls)

    def _begin_list(self, request: Request, envelope: Envelope, arrival: Arrival) -> Callable[[], None]:
        tell = partial(self._tell_list, arrival)
        return partial(self._abandon, self._engine.begin_list(request, envelope.inputs, envelope.run, tell))

    def _tell_list(self, arrival: Arrival, parts: Sequence[UnaryCall], outcomes: Sequence[Outcome]) -> None:
        tell_times(arrival.info, slowest(outcomes))
        arrival.told(self._replies.of_parts(parts, outcomes))

    def _abandon(self, parts: Sequence[UnaryCall]) -> None:
        for part in parts:
            self.abandon(part)

    def tell(self, dialect: Dialect, arrival: Arrival, end: Payload | CallError) -> None:
        """Answer a call of one input."""
        try:
            if isinstance(end, CallError):
                arrival.told(self._replies.refusal(dialect, end))
            elif len(end) < VIEW_FROM:
                arrival.told(reply.success((end,)))
            else:
                arrival.told(reply.long_success(end))
        except CallError as exc:
            arrival.told(exc)


class _Answered(UnaryCall):
    """A call of one input as the engine has it, of which a transport is told."""

    __slots__ = ("_arrival", "_calls", "_dialect")

    def __init__(self, calls: UnaryCalls, dialect: Dialect, request: Request, arrival: Arrival) -> None:
        super().__init__(NOT_YET, request, 0.0)
        self._calls = calls
        self._dialect = dialect
        self._arrival: Arrival | None = arrival

    def cancel(self) -> None:
        """See `Arrival`."""
        self._calls.abandon(self)

    @property
    def over(self) -> bool:
        """See `EngineCall`."""
        return self._arrival is None

    def forget(self) -> None:
        """See `UnaryCall`."""
        self._arrival = None

    def tell(self, outcome: Outcome) -> None:
        """See `UnaryCall`."""
        arrival = self._arrival
        if arrival is not None:
            self._arrival = None
            tell_times(arrival.info, outcome)
            self._calls.tell(self._dialect, arrival, outcome.end)

    def finish(self, payload: Payload, times: Times) -> None:
        """See `EngineCall`. As `tell`, for the end that nearly all calls have."""
        arrival = self._arrival
        if arrival is None or arrival.info.trailers is not None or len(payload) >= VIEW_FROM:
            super().finish(payload, times)
        else:
            self._arrival = None
            arrival.told(reply.success((payload,)))
