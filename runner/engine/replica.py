"""A replica as the engine sees it: a worker somewhere, the link to it, and the calls that are on it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from runner.dispatch.dispatcher import ReplicaId
from runner.engine.calls import EngineCall
from runner.engine.together import Together
from runner.errors import CallError, LoadError
from runner.execution.journal import Journal, Mark
from runner.signature.published import Lane, Published
from runner.wire import run
from runner.workers.link import Link, Receiver
from runner.workers.messages import (
    Cancel,
    Credit,
    Failed,
    Item,
    Items,
    LoadFailed,
    Message,
    Mixed,
    Ran,
    Ready,
    Result,
    Results,
    Room,
)
from runner.workers.vitals import Vitals

if TYPE_CHECKING:
    from runner.engine.keeper import Place


class ReplicaState(enum.Enum):
    """The life of a replica."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    GONE = "gone"


class Host(Protocol):
    """Where a worker runs: a process of its own, or this one."""

    @property
    def link(self) -> Link:
        """The way to the worker."""
        ...

    @property
    def journal(self) -> Journal:
        """Where the worker marks what it does. Can be read after its end."""
        ...

    @property
    def watched(self) -> bool:
        """Whether the worker's watchdog beats in the journal, so that one that does not is hung and can be ended."""
        ...

    @property
    def last_words(self) -> str:
        """The last lines that the worker wrote; complete after `stop`."""
        ...

    def vitals(self) -> Vitals:
        """Return what the kernel says of the worker's process."""
        ...

    async def wait(self) -> str:
        """Wait for the worker to end; return how, in words."""
        ...

    async def stop(self, *, stuck: bool = False) -> None:
        """End it now, and wait until it has ended. Harmless if it has.

        Args:
            stuck: before that, have it write what its threads are at.
        """


StartHost = Callable[[Receiver], Awaitable[Host]]


class LifeWatcher(Protocol):
    """The fleet, as a replica needs it."""

    def replica_ready(self, replica: Replica) -> None:
        """Its model is loaded."""

    def first_answer(self, replica: Replica) -> None:
        """The worker has answered its first call."""

    def replica_worn(self, replica: Replica, why: str) -> None:
        """Its worker should be replaced by a fresh one."""


class CallWatcher(Protocol):
    """The calls under way, as a replica needs them."""

    def call_over(self, call: EngineCall, *, failed: int) -> None:
        """The worker has said its last word about a call: the room is free. `failed`: inputs that ended badly."""

    def calls_over(self, calls: Sequence[EngineCall]) -> None:
        """As `call_over`, of calls of one input each that ended together, and well. Their methods may differ."""

    def batch_ran(self, replica: Replica, ran: Ran) -> None:
        """A batch has run there."""

    def room_changed(self, replica: Replica, room: Room) -> None:
        """It takes another number of calls of a lane at once."""


class Replica:
    """One life of one worker. When it is gone, another object takes its place."""

    def __init__(
        self, name: ReplicaId, place: Place, fleet: LifeWatcher, traffic: CallWatcher, *, successor: bool = False
    ) -> None:
        """Make a replica without a worker.

        Args:
            name: its id.
            place: where it lives.
            fleet: told of its life.
            traffic: told of the calls on it.
            successor: another replica serves this place for now: it says that it is ready, and gets no calls yet.
        """
        self.name = name
        self.successor = successor
        self.place = place
        self.label = place.label
        self.state = ReplicaState.STARTING
        self.answered = 0  # calls, well or badly: a worker that never answered one is in a crash loop
        self.trial = False  # it is to show with a few calls that it can answer
        self.rooms: dict[Lane, int] = {}  # what it has said of its room since it is ready
        self.lost: tuple[str, ...] = ()  # the methods that had begun when it was gone, and so may be why
        self.poisoned = False  # its worker died of a call that was found to be what kills workers
        self.on_purpose = False  # its worker was ended since it was replaced: that says nothing against its calls
        self.stuck: frozenset[int] = frozenset()  # calls that ran for too long, by their numbers on the link
        self.methods: tuple[Published, ...] = ()
        self.idle = asyncio.Event()  # no calls are here
        self.idle.set()
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fleet = fleet
        self._traffic = traffic
        self._link: Link | None = None
        self._together: Together | None = None
        self._journal = Journal()
        self._calls: dict[int, EngineCall] = {}
        self._numbers: dict[str, int] = {}
        self._last_wire_id = 0

    def attach(self, host: Host) -> None:
        """Set where the worker is; done once, before anything can arrive from it."""
        self._link, self._journal = host.link, host.journal
        self._together = Together(host.link)

    def run(self, calls: Sequence[EngineCall], now: float) -> bool:
        """Start calls of one method here; False if the model that is loaded here has no such method."""
        link, together = self._link, self._together
        assert link is not None
        assert together is not None
        published = calls[0].request.method
        method = self._numbers.get(published.name)
        if method is None or (calls[0].request.inputs > 1 and self.methods[method].max_batch_size < 2):
            return False
        idle = not self._calls
        self.idle.clear()
        number = self._last_wire_id
        for call in calls:
            number += 1
            call.wire_id = number
            self._calls[number] = call
        self._last_wire_id = number
        # The first ones leave at once: whatever else this turn brings will still be gathered behind them.
        together.send(calls, method, now, wait=not idle)
        for call in calls:
            call.dispatched(link)
        return True

    @property
    def calls(self) -> Sequence[EngineCall]:
        """The calls that are here, until the worker's last word on each."""
        return list(self._calls.values())

    def draft(self, size: int) -> memoryview | None:
        """See `Link`."""
        return None if self._link is None else self._link.draft(size)

    def retire(self) -> None:
        """It gets no more calls."""
        if self.state is ReplicaState.READY:
            self.state = ReplicaState.RETIRING

    def cancel(self, call: EngineCall) -> None:
        """Tell the worker to stop a call. Its last word is still waited for."""
        if self._link is not None and call.wire_id in self._calls:
            self._link.send(Cancel(call.wire_id))

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        match message:
            case Result():
                if (call := self._pop(message.id)) is not None:
                    call.finish(message.payload, message.times)
                    self._traffic.call_over(call, failed=0)
            case Results():
                self._ended_together(message)
            case Mixed():
                if (call := self._pop(message.id)) is not None:
                    call.mixed(message.ends, message.times)
                    failed = sum(isinstance(end, CallError) for end in message.ends)
                    self._traffic.call_over(call, failed=failed)
            case Item():
                if (call := self._calls.get(message.id)) is not None:
                    call.item(message.payload)
            case Items():
                calls = self._calls
                for call_id, payload in zip(message.ids, message.payloads, strict=True):
                    if (call := calls.get(call_id)) is not None:
                        call.item(payload)
            case Failed():
                if (call := self._pop(message.id)) is not None:
                    call.fail(message.error, message.times)
                    self._traffic.call_over(call, failed=call.request.inputs)
            case Credit():
                if (call := self._calls.get(message.id)) is not None:
                    call.grant(message.items, message.size)
            case Ran():
                self._traffic.batch_ran(self, message)
            case Room():
                self.rooms[message.lane] = message.calls
                self._traffic.room_changed(self, message)
            case Ready() | LoadFailed() if self.state is not ReplicaState.STARTING:
                pass  # it was given up while it was loading
            case Ready():
                self.methods = message.methods
                self._numbers = {method.name: number for number, method in enumerate(message.methods)}
                self.state = ReplicaState.READY
                self.settled.set_result(None)
                self._fleet.replica_ready(self)
            case LoadFailed():
                self.settled.set_exception(LoadError(message.message, details=message.details))
            case _:
                raise ValueError(f"a worker does not say {type(message).__name__}")

    def _ended_together(self, results: Results) -> None:
        calls, times = self._calls, results.times
        ended: list[EngineCall] = []
        for number, output in enumerate(run.split(results.payload, results.calls)):
            call = calls.pop(results.id + number, None)
            if call is not None:
                ended.append(call)
                call.finish(output, times[number % len(times)])
        if ended:
            self._count_answered(len(ended))
            self._traffic.calls_over(ended)

    def on_closed(self) -> None:
        """See `link.Receiver`."""
        self.state = ReplicaState.GONE
        if not self.closed.done():
            self.closed.set_result(None)

    def abandon(self) -> list[EngineCall]:
        """Return the calls that are still here, and let go of them and of the worker."""
        self.state = ReplicaState.GONE
        if self._together is not None:
            self._together.close()
        calls, self._calls = list(self._calls.values()), {}
        self.lost = tuple(sorted({call.request.method.name for call in calls if self.mark_of(call) is not Mark.NONE}))
        self.idle.set()
        return calls

    def mark_of(self, call: EngineCall) -> Mark:
        """Return how far a call had come that was here."""
        return self._journal.mark_of(call.wire_id)

    def look_for_stuck(self, runs: Mapping[int, float], now: float) -> list[str]:
        """Set `stuck` to the calls that run for longer than their methods may; return the names of those.

        Args:
            runs: when the limited runs began, by call.
            now: instant.
        """
        stuck: dict[int, str] = {}
        for wire_id, began in runs.items():
            call = self._calls.get(wire_id)
            if call is not None and (limit := call.request.method.max_run) is not None and now >= began + limit:
                stuck[wire_id] = call.request.method.name
        self.stuck = frozenset(stuck)
        return sorted(set(stuck.values()))

    def _pop(self, wire_id: int) -> EngineCall | None:
        call = self._calls.pop(wire_id, None)
        if call is not None:
            self._count_answered(call.request.inputs)
        return call

    def _count_answered(self, inputs: int) -> None:
        first = not self.answered
        self.answered += inputs
        if first:
            self._fleet.first_answer(self)
        if 0 < self.place.max_calls <= self.answered:
            self._fleet.replica_worn(self, f"has answered {self.answered} calls")
        if not self._calls:
            self.idle.set()

    def __repr__(self) -> str:
        return f"<Replica {self.name} on {self.label}: {self.state.value}, {len(self._calls)} calls>"
