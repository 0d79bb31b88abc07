"""The calls that are under way: admitted, sent to replicas, told their ends, and saved from workers that die.

The order of things is decided by `dispatch`, which is pure; this is its shell. It owns the calls, and one timer for
each that has a deadline. Of the replicas it knows those that take calls, or still have some; `fleet.py` is about their
lives.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from runner.dispatch.dispatcher import CallId, Dispatcher, ReplicaId, Ticket
from runner.engine.calls import EngineCall, Request, UnaryCall
from runner.engine.fate import fate_of, lost_with, without_worker
from runner.engine.fleet import Fleet
from runner.engine.line import Line
from runner.engine.methods import Methods, gone
from runner.engine.parts import take_apart
from runner.engine.replica import Replica
from runner.engine.statistics import Observed
from runner.errors import CallError, Cancelled, DeadlineExceeded, Draining, MethodNotFound, PoisonCall
from runner.signature.published import Published
from runner.statistics import EngineStatistics
from runner.workers.messages import Ran, Room


class Traffic:
    """See the module's text.

    Attributes:
        ids: the next one is the number of no call.
        calls: all that are under way, by their numbers: until the last word of the worker, where one has it.
    """

    def __init__(
        self, dispatcher: Dispatcher, fleet: Fleet, methods: Methods, line: Line, clock: Callable[[], float]
    ) -> None:
        """Prepare for calls.

        Args:
            dispatcher: without replicas, and from now on this object's.
            fleet: asked whether there is any prospect for a call.
            methods: set by what replicas bring.
            line: callers that are let in when there may be room.
            clock: tells instants, in seconds; the loop's timers have to run at its pace.
        """
        self.ids = map(CallId, itertools.count(1))
        self.calls: dict[CallId, EngineCall] = {}
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._methods = methods
        self._line = line
        self._clock = clock
        self._observed = Observed()
        self._replicas: dict[ReplicaId, Replica] = {}
        self._closing = False
        self._over: asyncio.Future[None] | None = None  # somebody waits for the last call to end

    # Admission.

    def admit(self, call: EngineCall) -> None:
        """Run a call, or have it wait for its turn.

        Raises:
            CallError: it is not admitted.
        """
        try:
            self.try_to_admit(call)
        except CallError:
            self._observed.refused(call.request)
            raise

    def try_to_admit(self, call: EngineCall) -> None:
        """As `admit`, of a call that is not refused for good if there is no room: it may be tried again.

        Raises:
            CallError: it is not admitted.
        """
        left = self._time_left(call.request)
        call.request = self._methods.current(call.request)
        self._take(call, left, self._dispatcher.offer(_ticket(call), call.arrived, slo=call.request.method.slo))

    def admit_list(self, calls: Sequence[EngineCall]) -> None:
        """Admit all or none: nothing can come between the first and the last.

        Args:
            calls: of one method and one group.

        Raises:
            CallError: they are not admitted.
        """
        try:
            left = self._time_left(calls[0].request)
            for call in calls:
                call.request = self._methods.current(call.request)
            tickets, slo = [_ticket(call) for call in calls], calls[0].request.method.slo
            replicas = self._dispatcher.offer_list(tickets, calls[0].arrived, slo=slo)
        except CallError:
            for call in calls:
                self._observed.refused(call.request)
            raise
        for call, replica in zip(calls, replicas, strict=True):
            self._take(call, left, replica)

    def given_up(self, request: Request) -> None:
        """A call that was tried to be admitted is not any more."""
        self._observed.refused(request)

    def run_at_once(self, calls: Sequence[UnaryCall], now: float) -> Sequence[UnaryCall]:
        """Run what there is room for, of calls that are admitted alike. Return the others: each has to be admitted.

        Args:
            calls: of one method, one group and one caller.
            now: instant.
        """
        request = calls[0].request
        method = request.method
        if self._closing or self._fleet.broken or request.limits is not None or not self._methods.has(method):
            return calls
        late = [call for call in calls if (deadline := call.request.deadline) is not None and deadline <= now]
        ready = calls
        if late:
            ready = [call for call in calls if (deadline := call.request.deadline) is None or deadline > now]
        ids = [call.id for call in ready]
        position = 0
        for replica, size in self._dispatcher.run_at_once(ids, method.lane, request.group, request.caller, now):
            part = ready[position : position + size]
            position += size
            for call in part:
                deadline = call.request.deadline
                self._take(call, None if deadline is None else deadline - now, None)
            self._run(part, replica)
        return [*late, *ready[position:]]

    def memory_for(self, size: int) -> memoryview | None:
        """Return memory of the worker that the next call is likely to go to; see `Engine.memory_for`."""
        replica = self._dispatcher.idlest()
        return None if replica is None else self._replicas[replica].draft(size)

    def _time_left(self, request: Request) -> float | None:
        """Return the seconds until a new call's deadline; refuse a call that comes too late."""
        if self._closing:
            raise Draining("the server is shutting down; send the call elsewhere or later")
        if self._fleet.broken and (refusal := self._fleet.refusal(request.group)) is not None:
            raise refusal
        if request.deadline is None:
            return None
        left = request.deadline - self._clock()
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed when the call arrived")
        return left

    def _take(self, call: EngineCall, left: float | None, replica: ReplicaId | None) -> None:
        """Keep a call that the dispatcher has taken, and run it if it said where."""
        self.calls[call.id] = call
        if left is not None:
            call.timer = asyncio.get_running_loop().call_later(left, self._expire, call)
        if replica is not None:
            self._run((call,), replica)

    # Running.

    def _run(self, calls: Sequence[EngineCall], replica: ReplicaId) -> None:
        """Run calls of one method, for which the dispatcher has made room."""
        if not self._replicas[replica].run(calls, self._clock()):
            self._dispatcher.release_all([call.id for call in calls], self._clock())
            for call in calls:
                self._end(call, gone(call.request.method))

    def _dispatch(self) -> None:
        """Run what waits, as far as there is room."""
        for assignment in self._dispatcher.assign(self._clock()):
            self._run((self.calls[assignment.call],), assignment.replica)
        self._line.let_in()

    # What replicas say (see `CallWatcher`).

    def call_over(self, call: EngineCall, *, failed: int) -> None:
        """See `CallWatcher`."""
        now = self._clock()
        self._dispatcher.release(call.id, now)
        self._forget(call)
        self._observed.call_over(call, failed, now)
        self._dispatch()

    def calls_over(self, calls: Sequence[EngineCall]) -> None:
        """See `CallWatcher`."""
        now = self._clock()
        self._dispatcher.release_all([call.id for call in calls], now)
        for call in calls:
            self._forget(call)
        self._observed.calls_over(calls, now)
        self._dispatch()

    def batch_ran(self, replica: Replica, ran: Ran) -> None:
        """See `CallWatcher`."""
        self._observed.batch_ran(replica.name, ran)

    def room_changed(self, replica: Replica, room: Room) -> None:
        """See `CallWatcher`."""
        if not replica.trial:
            self._dispatcher.resize(replica.name, room.lane, room.calls)
            self._dispatch()

    # Ends that the worker does not tell.

    def abandon(self, call: EngineCall) -> None:
        """Nobody waits for the call any more: take it out of its queue, or tell the worker to stop."""
        replica = self._dispatcher.withdraw(call.id)
        if replica is None:
            if call.id in self.calls:
                self._observed.abandoned(call)
                self._ended_badly(call)
            self._forget(call)
            self._line.let_in()
        elif replica in self._replicas and call.abandoned is None:  # one that left may also run out of time
            call.abandoned = self._clock()
            self._observed.abandoned(call)
            self._replicas[replica].cancel(call)

    def _expire(self, call: EngineCall) -> None:
        now = self._clock()
        if call.wire is None:
            told = f"waiting for its turn, for {now - call.arrived:.2f} s"
        else:
            told = f"running, for {now - call.sent:.2f} s, after {call.sent - call.arrived:.2f} s of waiting"
        self.abandon(call)
        call.fail(DeadlineExceeded(f"the deadline passed while the call was {told}"))

    def _end(self, call: EngineCall, error: CallError) -> None:
        self._forget(call)
        self._ended_badly(call)
        call.fail(error)

    def _ended_badly(self, call: EngineCall) -> None:
        """A call has ended of which no worker says the last word."""
        now = self._clock()
        if call.wire is None:
            call.sent = now  # so long it has waited
        self._observed.ended_badly(call, now)

    def _forget(self, call: EngineCall) -> None:
        self.calls.pop(call.id, None)
        if call.timer is not None:
            call.timer.cancel()
        if self._over is not None and not self.calls and not self._over.done():
            self._over.set_result(None)

    # What the fleet says (see `User`).

    def replica_joined(self, replica: Replica) -> None:
        """See `User`."""
        room = replica.place.room(replica.methods)
        self._replicas[replica.name] = replica
        self._dispatcher.join(replica.name, dict.fromkeys(room, 1) if replica.trial else room, replica.place.group)
        self._adopt(replica.methods)
        self._dispatch()

    def replica_proven(self, replica: Replica) -> None:
        """See `User`."""
        for lane, room in {**replica.place.room(replica.methods), **replica.rooms}.items():
            self._dispatcher.resize(replica.name, lane, room)

    def replica_retired(self, replica: Replica) -> None:
        """See `User`."""
        self._dispatcher.retire(replica.name)

    def replica_overdue(self, replica: Replica) -> None:
        """See `User`. The calls that are going to be lost are told to stop, and their callers that they are."""
        for call in replica.calls:
            if not call.over and (error := lost_with(call, replica)) is not None:
                self.abandon(call)
                call.fail(error)

    def replica_left(self, replica: Replica) -> None:
        """See `User`. The calls on it run again elsewhere if that does no harm, and fail otherwise."""
        self._replicas.pop(replica.name, None)
        self._dispatcher.leave(replica.name)
        # A worker that was ended on purpose says nothing against the calls that were there, but for the stuck ones.
        died = not replica.on_purpose and not replica.stuck
        for call in reversed(replica.abandon()):  # the oldest last: it goes first then
            if call.over:
                self._forget(call)
                self._ended_badly(call)
            elif self._closing:
                self._end(call, Cancelled("the server is shutting down"))
            else:
                self._save(call, replica, died=died)
        self._dispatch()

    def breaker_opened(self) -> None:
        """See `User`. Calls that nothing else can run are not kept waiting."""
        for call in [call for call in self.calls.values() if call.wire is None]:
            if (refusal := self._fleet.refusal(call.request.group)) is not None:
                self._dispatcher.withdraw(call.id)
                self._end(call, without_worker(call, refusal))
        self._line.let_in()

    def _adopt(self, methods: Sequence[Published]) -> None:
        """The model has these methods now. Calls that wait do so for the new ones of the same names."""
        if tuple(methods) == self._methods.all:
            return
        self._methods.put(methods)
        for call in [call for call in reversed(self.calls.values()) if call.wire is None]:
            try:
                request = self._methods.current(call.request)
            except MethodNotFound as exc:
                self._dispatcher.withdraw(call.id)
                self._end(call, exc)
                continue
            if request is not call.request:
                self._dispatcher.withdraw(call.id)
                call.request = request
                self._restore(call)
        self._methods.publish()

    def _save(self, call: EngineCall, replica: Replica, *, died: bool) -> None:
        """Run a call again whose worker is gone, or end it."""
        fate = fate_of(call, replica, died=died, refusal=self._fleet.refusal(call.request.group))
        if isinstance(fate, CallError):
            if isinstance(fate, PoisonCall):
                self._observed.poisoned()
                replica.poisoned = True
            self._end(call, fate)
            return
        try:
            call.request = self._methods.current(call.request)
        except MethodNotFound as exc:
            self._end(call, exc)
            return
        self._observed.retried(call)
        self._restore(call, alone=fate.alone)

    def _restore(self, call: EngineCall, *, alone: bool = False) -> None:
        """Have a call wait again, or its inputs if it must not go as it is."""
        for each in reversed(self._apart(call)):  # the last that is restored goes first
            self._dispatcher.restore(_ticket(each), call.arrived, alone=alone)

    def _apart(self, call: EngineCall) -> Sequence[EngineCall]:
        """Take a call of several inputs apart, so that one which workers die of does not take the others along.

        Or because its method has no batches any more.
        """
        request = call.request
        if not isinstance(call, UnaryCall) or request.inputs == 1:
            return (call,)
        if not call.deaths and request.method.max_batch_size > 1:
            return (call,)
        left = None if request.deadline is None else max(request.deadline - self._clock(), 0.0)
        singles = take_apart(call, self.ids)
        for single in singles:
            self._take(single, left, None)
        self._forget(call)
        return singles

    # The end.

    async def quiet(self, patience: float) -> bool:
        """Wait until no call waits or runs, for so many seconds at most; return whether it came to that."""
        if not self.calls:
            return True
        self._over = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience):
                await self._over
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take no more calls, and save none whose worker goes."""
        self._closing = True

    def end_all(self) -> None:
        """End what is still under way: there are no replicas any more."""
        for call in list(self.calls.values()):
            self._end(call, Cancelled("the server is shutting down"))

    def statistics(self) -> EngineStatistics:
        """Return how much is where, and what has been done so far."""
        now, fleet = self._clock(), self._fleet
        dispatched = self._dispatcher.statistics(now)
        return self._observed.statistics(now, dispatched, fleet.replicas.values(), fleet.restarts)

    def __repr__(self) -> str:
        return f"<Traffic of {len(self.calls)} calls>"


def _ticket(call: EngineCall) -> Ticket:
    request = call.request
    return Ticket(
        call.id,
        request.method.lane,
        len(request.payload),
        request.caller,
        request.method.priority,
        request.deadline,
        request.group,
        request.limits,
        request.inputs,
    )
