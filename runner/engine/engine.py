"""The engine of one served model: admits calls, sends them to replicas, answers them.

The order of things is decided by `dispatch`, which is pure; this is its shell. It owns the replicas, the calls under
way, one timer for each call that has a deadline, and the task of each replica's keeper.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial

from runner.dispatch.dispatcher import CallId, Dispatcher, ReplicaId, Ticket
from runner.engine.calls import EngineCall, Outcome, Request, StreamCall, Tell, TellAll, ToldCall, UnaryCall
from runner.engine.fate import failing, fate_of, without_worker
from runner.engine.keeper import Keeper, Place
from runner.engine.line import Line
from runner.engine.methods import Methods, gone
from runner.engine.parts import in_parts, take_apart
from runner.engine.replica import Replica, ReplicaState
from runner.engine.statistics import Observed
from runner.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    Draining,
    InvalidInput,
    LoadError,
    MethodNotFound,
    ModelFailing,
    PoisonCall,
)
from runner.signature.published import Published
from runner.statistics import EngineStatistics
from runner.wire.payload import Payload
from runner.workers.messages import Ran, Room


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
        self._places = places
        self._dispatcher = Dispatcher(
            max_queued_calls=max_queued_calls, max_queued_bytes=max_queued_bytes, max_queued_wait=max_queued_wait
        )
        self._observed = Observed()
        self._replicas: dict[ReplicaId, Replica] = {}
        self._calls: dict[CallId, EngineCall] = {}
        self._ids = map(CallId, itertools.count(1))
        self._last_replica = 0
        self._started = 0  # workers, so far
        self._methods = Methods()
        self._replacing = asyncio.Lock()
        self._keepers: list[Keeper] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._broken = False  # a breaker has opened, and no worker was ready since
        self._tell_ready: Callable[[bool], None] | None = None
        self._line = Line(self.stream, max_queued_calls, clock)
        self._over: asyncio.Future[None] | None = None  # somebody waits for the last call to end

    async def __aenter__(self) -> Engine:
        self._keepers = [Keeper(place, self) for place in self._places]
        self._tasks = [asyncio.get_running_loop().create_task(keeper.run()) for keeper in self._keepers]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._line.close()
        for call in list(self._calls.values()):
            self._end(call, Cancelled("the server is shutting down"))
        for keeper in self._keepers:
            keeper.first.cancel()

    # What the service asks.

    async def started(self) -> None:
        """Wait until every replica has been ready once.

        Raises:
            LoadError: a replica cannot load the model.
        """
        await asyncio.gather(*(keeper.first for keeper in self._keepers))

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
        return [keeper.place for keeper in self._keepers] or list(self._places)

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
        async with self._replacing:
            wanted = self.places if places is None else places
            pairs = list(zip(self._keepers, wanted, strict=True))
            lives = [keeper.prepare(place) for keeper, place in pairs]
            try:
                await asyncio.gather(*(life.ready for life in lives))
                if not all(life.serving for life in lives):  # one was ready first, and has died since
                    raise LoadError("a new worker died while the others were loading")
            except BaseException:
                for keeper in self._keepers:
                    keeper.give_up()
                raise
            # In one step: from one call to the next, all of them meet the new version.
            for name in self._replicas:
                self._dispatcher.retire(name)
            for keeper, life in zip(self._keepers, lives, strict=True):
                keeper.take_over(life, grace)

    @property
    def ready(self) -> bool:
        """True if a replica can take calls."""
        return any(replica.state is ReplicaState.READY for replica in self._replicas.values())

    async def quiet(self, patience: float) -> bool:
        """Wait until no call waits or runs, for so many seconds at most; return whether it came to that."""
        if not self._calls:
            return True
        self._over = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience):
                await self._over
        except TimeoutError:
            return False
        return True

    def follow_ready(self, tell: Callable[[bool], None]) -> None:
        """Have `tell` called with `ready`, now and at every change of it."""
        self._tell_ready = tell
        tell(self.ready)

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
        call = ToldCall(self._next_id(), request, self.clock(), tell)
        self._admit(call)
        return call

    def begin_all(self, calls: Sequence[UnaryCall]) -> None:
        """Run calls as `begin_unary` does with each. One that is not admitted is told so, like any other end.

        Calls that came together mostly have their method and their caller in common, and then are admitted in one step.
        """
        now = self.clock()
        for call in calls:
            call.id = next(self._ids)
            call.arrived = call.sent = now
        begin = 0
        while begin < len(calls):
            end = _end_of_alike(calls, begin)
            for call in self._run_at_once(calls[begin:end], now):
                try:
                    self._admit(call)
                except CallError as exc:
                    call.fail(exc)
            begin = end

    def abandon(self, call: UnaryCall) -> None:
        """Take a call out of its queue, or tell the worker to stop. Nobody is told how it ended."""
        call.forget()
        for each in call.singles or (call,):
            each.forget()
            self._abandon(each)

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
            calls.append(ToldCall(self._next_id(), part, self.clock(), partial(told, number)))
        found += [None] * len(calls)
        try:
            self._admit_list(calls)
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
        calls = [StreamCall(self._next_id(), request, self.clock(), self._abandon) for request in requests]
        self._admit_list(calls)
        return calls

    def stream(self, request: Request) -> StreamCall:
        """Open a call with a stream on either side. The caller must `close` it.

        Raises:
            CallError: the call was not admitted.
        """
        call = StreamCall(self._next_id(), request, self.clock(), self._abandon)
        self._admit(call)
        return call

    async def stream_in_turn(self, request: Request, patience: float) -> StreamCall:
        """Open a call as `stream` does, but wait for room where that would refuse it.

        Args:
            request: what to run.
            patience: seconds to wait at most.

        Raises:
            CallError: the call was not admitted in time.
        """
        return await self._line.open(request, patience)

    def memory_for(self, size: int) -> memoryview | None:
        """Return memory in which a message of so many bytes can lie: the worker that gets its payload reads it there.

        With several workers this is a guess. One that gets it although it lies with another gets a copy.
        """
        replica = self._dispatcher.idlest()
        return None if replica is None else self._replicas[replica].draft(size)

    def statistics(self) -> EngineStatistics:
        """Return how much is where, and what has been done so far."""
        now = self.clock()
        return self._observed.statistics(now, self._dispatcher.statistics(now), self._replicas.values())

    # Calls.

    def _next_id(self) -> CallId:
        return next(self._ids)

    def _admit(self, call: EngineCall) -> None:
        left = self._time_left(call.request)
        call.request = self._methods.current(call.request)
        self._take(call, left, self._dispatcher.offer(_ticket(call), call.arrived, slo=call.request.method.slo))

    def _run_at_once(self, calls: Sequence[UnaryCall], now: float) -> Sequence[UnaryCall]:
        """Run what there is room for, of calls that are admitted alike. Return the others: each has to be admitted."""
        request = calls[0].request
        method = request.method
        if self._closing or self._broken or request.limits is not None or not self._methods.has(method):
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

    def _admit_list(self, calls: Sequence[EngineCall]) -> None:
        """Admit all or none: nothing can come between the first and the last."""
        left = self._time_left(calls[0].request)
        for call in calls:
            call.request = self._methods.current(call.request)
        tickets = [_ticket(call) for call in calls]
        for call, replica in zip(calls, self._dispatcher.offer_list(tickets, calls[0].arrived), strict=True):
            self._take(call, left, replica)

    def _time_left(self, request: Request) -> float | None:
        """Return the seconds until a new call's deadline; refuse a call that comes too late."""
        if self._closing:
            raise Draining("the server is shutting down; send the call elsewhere or later")
        if self._broken and (refusal := self._refusal(request.group)) is not None:
            raise refusal
        if request.deadline is None:
            return None
        left = request.deadline - self.clock()
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed when the call arrived")
        return left

    def _take(self, call: EngineCall, left: float | None, replica: ReplicaId | None) -> None:
        """Keep a call that the dispatcher has taken, and run it if it said where."""
        self._calls[call.id] = call
        if left is not None:
            call.timer = asyncio.get_running_loop().call_later(left, self._expire, call)
        if replica is not None:
            self._run((call,), replica)

    def _run(self, calls: Sequence[EngineCall], replica: ReplicaId) -> None:
        """Run calls of one method, for which the dispatcher has made room."""
        if not self._replicas[replica].run(calls, self.clock()):
            self._dispatcher.release_all([call.id for call in calls], self.clock())
            for call in calls:
                self._end(call, gone(call.request.method))

    def _dispatch(self) -> None:
        for assignment in self._dispatcher.assign(self.clock()):
            self._run((self._calls[assignment.call],), assignment.replica)
        self._line.let_in()

    def _expire(self, call: EngineCall) -> None:
        now = self.clock()
        if call.wire is None:
            told = f"waiting for its turn, for {now - call.arrived:.2f} s"
        else:
            told = f"running, for {now - call.sent:.2f} s, after {call.sent - call.arrived:.2f} s of waiting"
        self._abandon(call)
        if call.wire is None:
            call.sent = now
        call.fail(DeadlineExceeded(f"the deadline passed while the call was {told}"))

    def _abandon(self, call: EngineCall) -> None:
        """Nobody waits for the call any more."""
        replica = self._dispatcher.withdraw(call.id)
        if replica is None:
            self._observed.cancellations += call.request.inputs if call.id in self._calls else 0
            self._forget(call)
            self._line.let_in()
        elif replica in self._replicas and call.abandoned is None:  # one that left may also run out of time
            call.abandoned = self.clock()
            self._observed.cancellations += call.request.inputs
            self._replicas[replica].cancel(call)

    def _forget(self, call: EngineCall) -> None:
        self._calls.pop(call.id, None)
        if call.timer is not None:
            call.timer.cancel()
        if self._over is not None and not self._calls and not self._over.done():
            self._over.set_result(None)

    # What replicas say (see `Watcher`).

    def replica_ready(self, replica: Replica) -> None:
        """See `Watcher`."""
        if not replica.successor:
            self._join(replica)

    def _join(self, replica: Replica) -> None:
        room = replica.place.room(replica.methods)
        self._broken = False
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.ready()
                replica.trial = keeper.on_trial
        self._dispatcher.join(replica.name, dict.fromkeys(room, 1) if replica.trial else room, replica.place.group)
        self._adopt(replica.methods)
        self._ready_may_have_changed()
        self._dispatch()

    def _adopt(self, methods: Sequence[Published]) -> None:
        """The model has these methods now. Calls that wait do so for the new ones of the same names."""
        if tuple(methods) == self.methods:
            return
        self._methods.put(methods)
        for call in [call for call in reversed(self._calls.values()) if call.wire is None]:
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

    def call_over(self, replica: Replica, call: EngineCall, *, failed: int) -> None:
        """See `Watcher`."""
        now = self.clock()
        self._dispatcher.release(call.id, now)
        self._leave(call, now)
        self._observed.calls_over(call.request.method.name, call.request.inputs, failed)
        self._freed(replica)

    def calls_over(self, replica: Replica, calls: Sequence[EngineCall]) -> None:
        """See `Watcher`."""
        now = self.clock()
        self._dispatcher.release_all([call.id for call in calls], now)
        for call in calls:
            self._leave(call, now)
        names = [call.request.method.name for call in calls]
        for name in set(names):
            self._observed.calls_over(name, names.count(name), 0)
        self._freed(replica)

    def _leave(self, call: EngineCall, now: float) -> None:
        """A worker has said its last word about a call."""
        if call.abandoned is not None:
            self._observed.cancelled(now - call.abandoned)
        self._forget(call)

    def _freed(self, replica: Replica) -> None:
        """A replica has room again."""
        self._dispatch()
        if 0 < replica.place.max_calls <= replica.answered:
            self.replica_worn(replica, f"has answered {replica.answered} calls")

    def first_answer(self, replica: Replica) -> None:
        """See `Watcher`."""
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.answered()
        if replica.trial:
            replica.trial = False
            for lane, room in {**replica.place.room(replica.methods), **replica.rooms}.items():
                self._dispatcher.resize(replica.name, lane, room)

    def batch_ran(self, replica: Replica, ran: Ran) -> None:
        """See `Watcher`."""
        self._observed.batch_ran(replica.name, ran)

    def room_changed(self, replica: Replica, room: Room) -> None:
        """See `Watcher`."""
        if not replica.trial:
            self._dispatcher.resize(replica.name, room.lane, room.calls)
            self._dispatch()

    # What keepers say (see `Owner`).

    def next_replica_id(self) -> ReplicaId:
        """See `Owner`."""
        self._last_replica += 1
        return ReplicaId(self._last_replica)

    def replica_started(self, replica: Replica) -> None:
        """See `Owner`."""
        self._replicas[replica.name] = replica
        self._started += 1
        self._observed.restarts = max(self._started - len(self._places), 0)

    def replica_takes_over(self, replica: Replica, old: Replica | None) -> None:
        """See `Owner`."""
        if old is not None:
            self._dispatcher.retire(old.name)
        replica.successor = False
        self._join(replica)

    def replica_gone(self, replica: Replica) -> None:
        """See `Owner`. The calls on it run again elsewhere if that does no harm, and fail otherwise."""
        self._replicas.pop(replica.name, None)
        self._dispatcher.leave(replica.name)
        self._ready_may_have_changed()
        # A worker that was ended on purpose says nothing against the calls that were there, but for the stuck ones.
        died = replica.state is not ReplicaState.RETIRING and not replica.stuck
        for call in reversed(replica.abandon()):  # the oldest last: it goes first then
            if call.over:
                self._forget(call)
            elif self._closing:
                self._end(call, Cancelled("the server is shutting down"))
            else:
                self._save(call, replica, died=died)
        self._dispatch()

    def replica_worn(self, replica: Replica, why: str) -> None:
        """See `Owner`."""
        for keeper in self._keepers:
            if keeper.owns(replica):
                keeper.renew(why)

    def breaker_opened(self, place: Place) -> None:
        """See `Owner`. Calls that nothing else can run are not kept waiting for it."""
        self._broken = True
        for call in [call for call in self._calls.values() if call.wire is None]:
            if (refusal := self._refusal(call.request.group)) is not None:
                self._dispatcher.withdraw(call.id)
                self._end(call, without_worker(call, refusal))
        self._line.let_in()

    def _save(self, call: EngineCall, replica: Replica, *, died: bool) -> None:
        """Run a call again whose worker is gone, or end it."""
        fate = fate_of(call, replica, died=died, refusal=self._refusal(call.request.group))
        if isinstance(fate, CallError):
            self._observed.poison += isinstance(fate, PoisonCall)
            self._end(call, fate)
            return
        try:
            call.request = self._methods.current(call.request)
        except MethodNotFound as exc:
            self._end(call, exc)
            return
        self._observed.retries += call.request.inputs
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
        left = None if request.deadline is None else max(request.deadline - self.clock(), 0.0)
        singles = take_apart(call, self._next_id)
        for single in singles:
            self._take(single, left, None)
        self._forget(call)
        return singles

    def _refusal(self, group: str) -> ModelFailing | None:
        return failing(self._keepers, group, self.clock())

    def _end(self, call: EngineCall, error: CallError) -> None:
        self._forget(call)
        if call.wire is None:
            call.sent = self.clock()
        call.fail(error)

    def _ready_may_have_changed(self) -> None:
        if self._tell_ready is not None:
            self._tell_ready(self.ready)

    def __repr__(self) -> str:
        return f"<Engine {len(self._calls)} calls, {list(self._replicas.values())}>"


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
