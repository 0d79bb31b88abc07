"""A call as the engine holds it, from admission to its end: what is asked, where it runs, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from runner.dispatch.dispatcher import CallId
from runner.errors import CallError
from runner.execution.times import Times
from runner.limits import CallerLimits
from runner.signature.published import Published
from runner.wire.payload import Payload
from runner.workers.messages import Call, Credit, EndInput, Item


class Request(NamedTuple):
    """What is to be run."""

    method: Published
    """The method, as the engine knew it when the call came. A replica finds its own number for it by the name."""
    payload: Payload
    """One serialized input, or a run of several."""
    params: bytes = b""
    """Old-style parameters, a serialized struct; usually empty."""
    deadline: float | None = None
    """Instant on the `time.monotonic` clock; None without one."""
    request_id: str = ""
    """The id under which logs speak of the call."""
    metadata: bytes = b""
    """Packed by `pairs.pack_pairs`."""
    caller: str = ""
    """Who shares the replicas with whom."""
    group: str = ""
    """The deployment that has to run it; empty: any."""
    limits: CallerLimits | None = None
    """What the caller may have here at once; None: no bounds of its own."""
    inputs: int = 1
    """How many inputs the payload has. Several go together to one replica, and have an output each."""


End: TypeAlias = Payload | CallError
"""Of one input: the serialized output, or why there is none."""


class Outcome(NamedTuple):
    """How a call of one output for each input ended."""

    end: End
    """The serialized output, or a run of them if it had several inputs; or why there is none, of the first one."""
    waited: float
    """Seconds in the server's queue."""
    times: Times | None
    """What its worker says; None: nothing."""
    ends: tuple[End, ...] = ()
    """Of each of several inputs, if it did not go well for all or for none."""

    @property
    def payload(self) -> Payload:
        """The output, or the run of them.

        Raises:
            CallError: there is none.
        """
        if isinstance(self.end, CallError):
            raise self.end
        return self.end


Tell: TypeAlias = Callable[[Outcome], None]
"""Told how a call of one output for each input ended. Must not raise."""


TellAll: TypeAlias = "Callable[[Sequence[UnaryCall], Sequence[Outcome]], None]"
"""Told how the parts of a list ended: the parts, and the outcome of each. Must not raise."""


NOT_YET: Final = CallId(0)
"""The number of a call that the engine has not seen."""


class Wire(Protocol):
    """Where a dispatched call sends: the link of the replica that runs it."""

    def send(self, message: Item | EndInput | Credit) -> None:
        """Send a message."""


class EngineCall:
    """What both kinds of call share. The engine writes the fields; the event methods are called on the loop."""

    __slots__ = ("abandoned", "arrived", "deaths", "id", "request", "sent", "timer", "wire", "wire_id")

    first_item: float | None = None
    """When the first item of its answer came, of a call that streams one."""

    def __init__(self, call_id: CallId, request: Request, now: float) -> None:
        self.id = call_id
        self.arrived = self.sent = now
        self.request = request
        self.abandoned: float | None = None  # when it was told to stop
        self.timer: asyncio.TimerHandle | None = None
        self.wire: Wire | None = None  # set when a replica was chosen
        self.wire_id = 0  # the call's number on that replica's link
        self.deaths = 0  # of workers that had begun it

    @property
    def over(self) -> bool:
        """True if nobody waits for it: it has ended, or was told to."""
        raise NotImplementedError

    @property
    def waited(self) -> float:
        """Seconds in the server's queue, until a replica was chosen or the call ended there."""
        return self.sent - self.arrived

    @property
    def repeatable(self) -> bool:
        """True if the method may run from its beginning again, on the same input: nothing of the answer has left."""
        return self.request.method.idempotent

    def rewind(self) -> None:
        """The worker is gone, and the call waits for another one to run it from the beginning."""
        self.wire = None

    def first_message(self, method: int, now: float) -> Call:
        """Return the message that starts the call on a replica, where its method has this number."""
        request = self.request
        payload = request.payload
        if self.repeatable and type(payload) is memoryview:
            payload = payload.toreadonly()  # the worker gets a copy: the method may write to it, and die
        self.sent = now
        left = None if request.deadline is None else request.deadline - now
        return Call(
            self.wire_id,
            method,
            payload,
            request.params,
            left,
            request.request_id,
            request.metadata,
            request.inputs,
        )

    def dispatched(self, wire: Wire) -> None:
        """The call's first message was sent over `wire`."""
        self.wire = wire

    def item(self, payload: Payload) -> None:
        """One element of the output stream arrived."""

    def grant(self, items: int, size: int) -> None:
        """The worker takes so many more inputs, and so many more bytes of them."""

    def finish(self, payload: Payload, times: Times) -> None:
        """The call ended well."""
        raise NotImplementedError

    def fail(self, error: CallError, times: Times | None = None) -> None:
        """The call ended badly. `times`: what its worker says."""
        raise NotImplementedError

    def mixed(self, ends: tuple[End, ...], times: Times) -> None:
        """The call had several inputs, and ended badly for some."""
        raise NotImplementedError


class UnaryCall(EngineCall):
    """One output for each input, of which there may be several. Its caller is told how it ended, once.

    Attributes:
        singles: the calls that a call of several inputs was taken apart to, when its worker had died.
    """

    __slots__ = ("singles",)

    def __init__(self, call_id: CallId, request: Request, now: float) -> None:
        super().__init__(call_id, request, now)
        self.singles: Sequence[UnaryCall] = ()

    def forget(self) -> None:
        """Nobody is to be told any more."""
        raise NotImplementedError

    def tell(self, outcome: Outcome) -> None:
        """Say how it ended, unless that was said, or nobody is to be told."""
        raise NotImplementedError

    def finish(self, payload: Payload, times: Times) -> None:
        """See `EngineCall`."""
        self.tell(Outcome(payload, self.waited, times))

    def fail(self, error: CallError, times: Times | None = None) -> None:
        """See `EngineCall`."""
        self.tell(Outcome(error, self.waited, times))

    def mixed(self, ends: tuple[End, ...], times: Times) -> None:
        """See `EngineCall`."""
        error = next(end for end in ends if isinstance(end, CallError))
        self.tell(Outcome(error, self.waited, times, ends))


class ToldCall(UnaryCall):
    """One whose caller is a function."""

    __slots__ = ("_tell",)

    def __init__(self, call_id: CallId, request: Request, now: float, tell: Tell) -> None:
        super().__init__(call_id, request, now)
        self._tell: Tell | None = tell

    @property
    def over(self) -> bool:
        """See `EngineCall`."""
        return self._tell is None

    def forget(self) -> None:
        """See `UnaryCall`."""
        self._tell = None

    def tell(self, outcome: Outcome) -> None:
        """See `UnaryCall`."""
        tell = self._tell
        if tell is not None:
            self._tell = None
            tell(outcome)
