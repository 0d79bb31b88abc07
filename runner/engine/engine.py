"""The engine of one served model: admits calls, sends them to replicas, keeps the replicas alive.

The order of things is decided by `dispatch`, which is pure; this is its shell. It owns the replicas, the calls under
way, one timer for each call that has a deadline, and one task for each replica.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from runner.dispatch.backoff import restart_delay
from runner.dispatch.dispatcher import CallId, Dispatcher, ReplicaId, Statistics, Ticket
from runner.engine.calls import EngineCall, Request, StreamCall, UnaryCall
from runner.engine.line import Line
from runner.engine.replica import Replica, ReplicaState, StartHost
from runner.errors import Cancelled, DeadlineExceeded, Draining, InvalidInput, LoadError, Overloaded, WorkerLost
from runner.signature.published import Lane, Published
from runner.wire.payload import Payload
from runner.workers.messages import Load

logger = logging.getLogger("runner.engine")

_ATTEMPTS = 2
"""Runs of a call of an idempotent method: one that two workers died of may be what kills them."""

_EXIT_GRACE = 1.0
"""seconds between the end of a worker's link and the end of its process, before it is killed."""


class Engine:
    """One model and its replicas. Use it as an async context manager: leaving it stops the workers."""

    def __init__(
        self,
        starts: Sequence[tuple[str, Load, StartHost]],
        *,
        max_queued_calls: int,
        max_queued_bytes: int,
        max_coroutines: int,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            starts: for each replica the label of its place, the message that loads the model, and how to start a host.
            max_queued_calls: calls that may wait.
            max_queued_bytes: bytes of payload that may wait.
            max_coroutines: calls of `async def` methods that may run at once in a replica.
        """
        self._starts = starts
        self._dispatcher = Dispatcher(max_queued_calls=max_queued_calls, max_queued_bytes=max_queued_bytes)
        self._max_coroutines = max_coroutines
        self._replicas: dict[ReplicaId, Replica] = {}
        self._calls: dict[CallId, EngineCall] = {}
        self._last_id = 0
        self._last_replica = 0
        self._methods: tuple[Published, ...] = ()
        self._keepers: list[asyncio.Task[None]] = []
        self._closing = False
        self._known = asyncio.Event()
        self._tell_ready: Callable[[bool], None] | None = None
        self._line = Line(max_queued_calls)

    async def __aenter__(self) -> Engine:
        loop = asyncio.get_running_loop()
        self._first = [loop.create_future() for _ in self._starts]
        for first, (label, load, start) in zip(self._first, self._starts, strict=True):
            self._keepers.append(loop.create_task(self._keep(first, label, load, start)))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._line.let_in(self.stream)  # which now refuses everybody
        for call in list(self._calls.values()):
            self._forget(call)
            call.fail(Cancelled("the server is shutting down"))
        for first in self._first:
            first.cancel()

    # What the service asks.

    async def started(self) -> None:
        """Wait until every replica has been ready once.

        Raises:
            LoadError: a replica cannot load the model.
        """
        await asyncio.gather(*self._first)

    async def methods_known(self) -> tuple[Published, ...]:
        """Wait for the first replica to say what the model's methods are, and return them."""
        await self._known.wait()
        return self._methods

    @property
    def methods(self) -> tuple[Published, ...]:
        """The model's methods, in order; empty while the first replica is loading."""
        return self._methods

    @property
    def ready(self) -> bool:
        """True if a replica can take calls."""
        return any(replica.state is ReplicaState.READY for replica in self._replicas.values())

    def follow_ready(self, tell: Callable[[bool], None]) -> None:
        """Have `tell` called with `ready`, now and at every change of it."""
        self._tell_ready = tell
        tell(self.ready)

    async def unary(self, request: Request) -> Payload:
        """Run a call of one input and one output; return the serialized output.

        Cancelling the wait takes the call out of its queue, or tells the worker to stop.

        Raises:
            CallError: as the class says.
        """
        answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        call = UnaryCall(self._next_id(), request, answer)
        self._admit(call)
        try:
            return await answer
        except asyncio.CancelledError:
            self._abandon(call)
            raise

    async def unary_list(self, requests: Sequence[Request]) -> list[Payload | BaseException]:
        """Run several calls of one method; return the answers in order, an exception in the place of each that failed.

        Raises:
            Overloaded: there is no room for all of them; none has run.
        """
        loop = asyncio.get_running_loop()
        calls = [UnaryCall(self._next_id(), request, loop.create_future()) for request in requests]
        self._admit_list(calls)
        try:
            return await asyncio.gather(*(call.answer for call in calls), return_exceptions=True)
        except asyncio.CancelledError:
            for call in calls:
                self._abandon(call)
            raise

    def stream_list(self, requests: Sequence[Request]) -> list[StreamCall]:
        """Open several calls of one method with a stream on either side. The caller must `close` each.

        Raises:
            CallError: they were not all admitted; none has run.
        """
        # Their reader goes on in step. One that had to wait for another to end would wait for ever.
        at_once = sum(self._room(load)[requests[0].lane] for _, load, _ in self._starts)
        if len(requests) > at_once:
            raise InvalidInput(f"a list of {len(requests)} streams, and at most {at_once} run at once; send fewer")
        calls = [StreamCall(self._next_id(), request, self._abandon) for request in requests]
        self._admit_list(calls)
        return calls

    def stream(self, request: Request) -> StreamCall:
        """Open a call with a stream on either side. The caller must `close` it.

        Raises:
            CallError: the call was not admitted.
        """
        call = StreamCall(self._next_id(), request, self._abandon)
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
        if not self._line.before(request.lane):
            try:
                return self.stream(request)
            except Overloaded:
                pass
        return await self._line.wait(request, patience)

    def statistics(self) -> Statistics:
        """Return how much is where."""
        return self._dispatcher.statistics()

    # Calls.

    def _next_id(self) -> CallId:
        self._last_id += 1
        return CallId(self._last_id)

    def _admit(self, call: EngineCall) -> None:
        left = self._time_left(call.request)
        self._take(call, left, self._dispatcher.offer(_ticket(call)))

    def _admit_list(self, calls: Sequence[EngineCall]) -> None:
        """Admit all or none: nothing can come between the first and the last."""
        left = self._time_left(calls[0].request)
        for call, replica in zip(calls, self._dispatcher.offer_list([_ticket(call) for call in calls]), strict=True):
            self._take(call, left, replica)

    def _time_left(self, request: Request) -> float | None:
        """Return the seconds until a new call's deadline; refuse a call that comes too late."""
        if self._closing:
            raise Draining("the server is shutting down; send the call elsewhere or later")
        if request.deadline is None:
            return None
        left = request.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed when the call arrived")
        return left

    def _take(self, call: EngineCall, left: float | None, replica: ReplicaId | None) -> None:
        """Keep a call that the dispatcher has taken, and run it if it said where."""
        self._calls[call.id] = call
        if left is not None:
            call.timer = asyncio.get_running_loop().call_later(left, self._expire, call)
        if replica is not None:
            self._replicas[replica].run(call)

    def _dispatch(self) -> None:
        for assignment in self._dispatcher.assign():
            self._replicas[assignment.replica].run(self._calls[assignment.call])
        if self._line:
            self._line.let_in(self.stream)

    def _expire(self, call: EngineCall) -> None:
        where = "waiting for its turn" if call.wire is None else "running"
        self._abandon(call)
        call.fail(DeadlineExceeded(f"the deadline passed while the call was {where}"))

    def _abandon(self, call: EngineCall) -> None:
        """Nobody waits for the call any more."""
        replica = self._dispatcher.withdraw(call.id, call.request.lane)
        if replica is None:
            self._forget(call)
            if self._line:
                self._line.let_in(self.stream)
        elif replica in self._replicas:
            self._replicas[replica].cancel(call)

    def _forget(self, call: EngineCall) -> None:
        self._calls.pop(call.id, None)
        if call.timer is not None:
            call.timer.cancel()

    # What replicas say (see `Watcher`).

    def replica_ready(self, replica: Replica) -> None:
        """See `Watcher`."""
        self._methods = replica.methods
        self._known.set()
        self._dispatcher.join(replica.name, replica.room)
        self._ready_may_have_changed()
        self._dispatch()

    def call_over(self, replica: Replica, call: EngineCall) -> None:
        """See `Watcher`."""
        self._dispatcher.release(call.id)
        self._forget(call)
        self._dispatch()

    # Replicas.

    async def _keep(self, first: asyncio.Future[None], label: str, load: Load, start: StartHost) -> None:
        """Keep one replica alive. A model that cannot be loaded the first time ends the attempt: `started` tells."""
        deaths = 0
        while True:
            replica = self._new_replica(label, load)
            try:
                ended = await self._live(replica, load, start, first)
            except LoadError as exc:
                if not first.done():
                    first.set_exception(exc)
                    return
                ended = str(exc)
            deaths = 0 if replica.answered else deaths + 1
            delay = restart_delay(deaths, random.random())
            logger.error("%r %s; it is started again in %.1f s", replica, ended, delay)
            await asyncio.sleep(delay)

    def _new_replica(self, label: str, load: Load) -> Replica:
        self._last_replica += 1
        return Replica(ReplicaId(self._last_replica), label, self._room(load), self)

    def _room(self, load: Load) -> dict[Lane, int]:
        """Return how many calls a replica runs at once in each lane."""
        return {
            Lane.THREADS: load.num_threads,
            Lane.STREAMS: load.max_streams,
            Lane.COROUTINES: self._max_coroutines,
        }

    async def _live(self, replica: Replica, load: Load, start: StartHost, first: asyncio.Future[None]) -> str:
        """One life of a replica; returns how it ended.

        Raises:
            LoadError: it never became ready.
        """
        try:
            host = await start(replica)
        except OSError as exc:  # no memory, no descriptors: it may pass
            raise LoadError(f"a worker cannot be started: {exc}") from exc
        process = asyncio.get_running_loop().create_task(host.wait())
        try:
            replica.attach(host.link)
            self._replicas[replica.name] = replica
            host.link.send(load)
            await asyncio.wait((replica.settled, replica.closed, process), return_when=asyncio.FIRST_COMPLETED)
            if not replica.settled.done():
                ended = await self._ended(replica, process)
                raise LoadError(f"the worker ended while it was loading the model: {ended}")
            replica.settled.result()
            if not first.done():
                first.set_result(None)
            return await self._ended(replica, process)
        finally:
            process.cancel()
            self._bury(replica)
            await host.stop()

    async def _ended(self, replica: Replica, process: asyncio.Task[str]) -> str:
        """Wait for a worker's end, by its process or by its link; return how it ended."""
        # Either may come alone: a forked child of the model can keep the sockets open after the worker's death, and a
        # worker that closes its link may take its time to die.
        await asyncio.wait((replica.closed, process), return_when=asyncio.FIRST_COMPLETED)
        try:
            return await asyncio.wait_for(process, _EXIT_GRACE)
        except TimeoutError:
            return "closed its link and did not exit"

    def _bury(self, replica: Replica) -> None:
        """A replica is gone: the calls on it run again elsewhere if that does no harm, and fail otherwise."""
        self._replicas.pop(replica.name, None)
        self._dispatcher.leave(replica.name)
        self._ready_may_have_changed()
        for call in replica.abandon():
            if self._may_run_again(call):
                self._run_again(call)
            else:
                self._forget(call)
                call.fail(WorkerLost("the worker that ran the call is gone; whether the method finished is not known"))

    def _may_run_again(self, call: EngineCall) -> bool:
        return call.repeatable and call.attempts < _ATTEMPTS and self._methods[call.request.method].idempotent

    def _run_again(self, call: EngineCall) -> None:
        call.wire = None
        try:
            where = self._dispatcher.offer(_ticket(call))
        except Overloaded as exc:
            self._forget(call)
            call.fail(exc)
        else:
            if where is not None:
                self._replicas[where].run(call)

    def _ready_may_have_changed(self) -> None:
        if self._tell_ready is not None:
            self._tell_ready(self.ready)

    def __repr__(self) -> str:
        return f"<Engine {len(self._calls)} calls, {list(self._replicas.values())}>"


def _ticket(call: EngineCall) -> Ticket:
    return Ticket(call.id, call.request.lane, len(call.request.payload))
