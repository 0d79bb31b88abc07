"""The engine of one served model: what a server asks of it, in the forms that callers want.

`traffic.py` has the calls that are under way, `fleet.py` the replicas that run them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from runner.dispatch.dispatcher import Dispatcher
from runner.engine.calls import EngineCall, Outcome, Request, Tell, TellAll, ToldCall, UnaryCall
from runner.engine.fleet import Fleet
from runner.engine.keeper import Place
from runner.engine.line import Line
from runner.engine.methods import Methods
from runner.engine.parts import in_parts
from runner.engine.stream_call import StreamCall
from runner.engine.traffic import Traffic
from runner.errors import CallError, InvalidInput
from runner.signature.published import Published
from runner.statistics import EngineStatistics
from runner.wire.payload import Payload


class Engine:
    """One model and its replicas. Use it as an async context manager: leaving it stops the workers."""

    def __init__(
        self,
        places: Sequence[Place],
        *,
        max_queued_calls: int,
        max_queued_bytes: int,
        max_queued_wait: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            places: where the replicas live, one in each.
            max_queued_calls: calls that may wait.
            max_queued_bytes: bytes of payload that may wait.
            max_queued_wait: seconds that a call may be predicted to wait; 0: no such bound.
            clock: tells instants, in seconds; the loop's timers have to run at its pace.
        """
        self.clock = clock
        self._methods = Methods()
        self._line = Line(self._try_to_open, max_queued_calls, clock)
        self._fleet = Fleet(places, clock)
        dispatcher = Dispatcher(
            max_queued_calls=max_queued_calls, max_queued_bytes=max_queued_bytes, max_queued_wait=max_queued_wait
        )
        self._traffic = Traffic(dispatcher, self._fleet, self._methods, self._line, clock)

    async def __aenter__(self) -> Engine:
        self._fleet.start(self._traffic)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._traffic.close()
        await self._fleet.stop()
        self._line.close()
        self._traffic.end_all()

    # The model and its replicas.

    async def started(self) -> None:
        """Wait until every replica has been ready once.

        Raises:
            LoadError: a replica cannot load the model.
        """
        await self._fleet.started()

    async def methods_known(self) -> tuple[Published, ...]:
        """Wait for the first replica to say what the model's methods are, and return them."""
        return await self._methods.known()

    @property
    def methods(self) -> tuple[Published, ...]:
        """The model's methods, in order; empty while the first replica is loading."""
        return self._methods.all

    def follow_methods(self, tell: Callable[[Sequence[Published]], None]) -> None:
        """Have `tell` called with the methods, at every change of them; now too if they are known."""
        self._methods.follow(tell)

    @property
    def places(self) -> list[Place]:
        """Where the replicas live, and what each of them loads."""
        return self._fleet.places

    async def replace(self, places: Sequence[Place] | None = None, *, grace: float) -> None:
        """Put new workers in the place of all there are. No call is dropped, and the old ones serve meanwhile.

        The new workers load side by side, and when all are ready they get the calls in one step. Cancelling the wait
        gives them up.

        Args:
            places: what each loads, and where: one for each of `places`; None: as before.
            grace: seconds that calls on the old workers have to end. What runs longer is as lost as with a worker
                that died.

        Raises:
            LoadError: one of them did not become ready. Nothing has changed.
        """
        await self._fleet.replace(places, grace)

    @property
    def ready(self) -> bool:
        """True if a replica can take calls."""
        return self._fleet.ready

    def follow_ready(self, tell: Callable[[bool], None]) -> None:
        """Have `tell` called with `ready`, now and at every change of it."""
        self._fleet.follow_ready(tell)

    # Calls of one output.

    async def unary(self, request: Request) -> Outcome:
        """Run a call of one input and one output; return its output, and where the time went.

        Cancelling the wait takes the call out of its queue, or tells the worker to stop.

        Raises:
            CallError: as the class says.
        """
        outcome = await self.outcome(request)
        if isinstance(outcome.end, CallError):
            raise outcome.end
        return outcome

    async def outcome(self, request: Request) -> Outcome:
        """Run a call as `unary` does; return how it ended, also if that was badly.

        Raises:
            CallError: the call was not admitted.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call = self.begin_unary(request, partial(_settle, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            self.abandon(call)
            raise

    def begin_unary(self, request: Request, tell: Tell) -> UnaryCall:
        """Run a call as `outcome` does, for a caller that does not wait for it: it is told how the call ended.

        A task and a future for each call would cost more than all the rest of a small one.

        Raises:
            CallError: the call was not admitted; nobody is told.
        """
        call = ToldCall(next(self._traffic.ids), request, self.clock(), tell)
        self._traffic.admit(call)
        return call

    def begin_all(self, calls: Sequence[UnaryCall]) -> None:
        """Run calls as `begin_unary` does with each. One that is not admitted is told so, like any other end.

        Calls that came together mostly have their method and their caller in common, and then are admitted in one step.
        """
        now, traffic = self.clock(), self._traffic
        for call in calls:
            call.id = next(traffic.ids)
            call.arrived = call.sent = now
        begin = 0
        while begin < len(calls):
            end = _end_of_alike(calls, begin)
            for call in traffic.run_at_once(calls[begin:end], now):
                try:
                    traffic.admit(call)
                except CallError as exc:
                    call.fail(exc)
            begin = end

    def abandon(self, call: UnaryCall) -> None:
        """Take a call out of its queue, or tell the worker to stop. Nobody is told how it ended."""
        call.forget()
        for each in call.singles or (call,):
            each.forget()
            self._traffic.abandon(each)

    # Lists.

    def begin_list(
        self, request: Request, inputs: Sequence[Payload], whole: Payload | None, tell: TellAll
    ) -> Sequence[UnaryCall]:
        """Run a method for each input of a list, in parts, for a caller that is told how they ended, in order.

        Args:
            request: of the first input.
            inputs: serialized inputs.
            whole: the run of all of them, if there is one.
            tell: told once, of all parts.

        Returns:
            What to `abandon`.

        Raises:
            CallError: they were not all admitted, and none has run; nobody is told.
        """
        replicas = sum(not request.group or place.group == request.group for place in self.places)
        found: list[Outcome | None] = []
        calls: list[UnaryCall] = []

        def told(place: int, outcome: Outcome) -> None:
            found[place] = outcome
            if None not in found:
                tell(calls, [each for each in found if each is not None])

        for number, part in enumerate(in_parts(request, inputs, whole, replicas)):
            calls.append(ToldCall(next(self._traffic.ids), part, self.clock(), partial(told, number)))
        found += [None] * len(calls)
        try:
            self._traffic.admit_list(calls)
        except CallError:
            for call in calls:
                call.forget()  # which knows of the others, and they of it: the inputs would wait for the collector
            raise
        return calls

    async def unary_list(
        self, request: Request, inputs: Sequence[Payload], whole: Payload | None = None
    ) -> tuple[Sequence[UnaryCall], Sequence[Outcome]]:
        """Run a method for each input of a list as `begin_list` does; return the parts, and how they ended.

        Raises:
            CallError: they were not all admitted, and none has run.
        """
        answer: asyncio.Future[tuple[Sequence[UnaryCall], Sequence[Outcome]]] = (
            asyncio.get_running_loop().create_future()
        )

        def told(calls: Sequence[UnaryCall], outcomes: Sequence[Outcome]) -> None:
            if not answer.done():
                answer.set_result((calls, outcomes))

        calls = self.begin_list(request, inputs, whole, told)
        try:
            return await answer
        except asyncio.CancelledError:
            for call in calls:
                self.abandon(call)
            raise

    def stream_list(self, requests: Sequence[Request]) -> list[StreamCall]:
        """Open several calls of one method with a stream on either side. The caller must `close` each.

        Raises:
            CallError: they were not all admitted; none has run.
        """
        # Their reader goes on in step. One that had to wait for another to end would wait for ever.
        lane, group = requests[0].method.lane, requests[0].group
        places = (place for place in self.places if not group or place.group == group)
        at_once = sum(place.room(self.methods).get(lane, 0) for place in places)
        if len(requests) > at_once:
            raise InvalidInput(f"a list of {len(requests)} streams, and at most {at_once} run at once; send fewer")
        calls = [self._stream_call(request) for request in requests]
        self._traffic.admit_list(calls)
        return calls

    # Streams.

    def stream(self, request: Request) -> StreamCall:
        """Open a call with a stream on either side. The caller must `close` it.

        Raises:
            CallError: the call was not admitted.
        """
        call = self._stream_call(request)
        self._traffic.admit(call)
        return call

    async def stream_in_turn(self, request: Request, patience: float) -> StreamCall:
        """Open a call as `stream` does, but wait for room where that would refuse it.

        Args:
            request: what to run.
            patience: seconds to wait at most.

        Raises:
            CallError: the call was not admitted in time.
        """
        try:
            return await self._line.open(request, patience)
        except CallError:
            self._traffic.given_up(request)
            raise

    def _try_to_open(self, request: Request) -> StreamCall:
        call = self._stream_call(request)
        self._traffic.try_to_admit(call)
        return call

    def _stream_call(self, request: Request) -> StreamCall:
        return StreamCall(next(self._traffic.ids), request, self.clock, self._traffic.abandon)

    # All calls.

    def memory_for(self, size: int) -> memoryview | None:
        """Return memory in which a message of so many bytes can lie: the worker that gets its payload reads it there.

        With several workers this is a guess. One that gets it although it lies with another gets a copy.
        """
        return self._traffic.memory_for(size)

    async def quiet(self, patience: float) -> bool:
        """Wait until no call waits or runs, for so many seconds at most; return whether it came to that."""
        return await self._traffic.quiet(patience)

    def statistics(self) -> EngineStatistics:
        """Return how much is where, and what has been done so far."""
        return self._traffic.statistics()

    def __repr__(self) -> str:
        return f"<Engine {len(self._traffic.calls)} calls, {list(self._fleet.replicas.values())}>"


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _end_of_alike(calls: Sequence[EngineCall], begin: int) -> int:
    """Return where those end that are admitted as the one at `begin` is. All of one caller have the same bounds."""
    first = calls[begin].request
    method, caller, group = first.method, first.caller, first.group
    for place in range(begin + 1, len(calls)):
        request = calls[place].request
        if request.method is not method or request.caller != caller or request.group != group:
            return place
    return len(calls)
