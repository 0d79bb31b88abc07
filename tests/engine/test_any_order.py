"""Calls, workers and their deaths in any order, on virtual time: no call is lost, none is answered twice or run twice.

A machine of Hypothesis plays callers, workers and the clock. Whatever it has done, in the end the workers answer what
they have, and then every call must have ended, in a way that what happened to it explains.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.engine import Engine, Request
from runner.errors import (
    Cancelled,
    DeadlineExceeded,
    LoadError,
    ModelError,
    ModelFailing,
    Overloaded,
    PoisonCall,
    WorkerLost,
)
from runner.testing.clock import ManualClock, VirtualTimeLoop
from runner.testing.scripted_worker import ScriptedWorker, ScriptedWorkers
from runner.workers.messages import Call
from tests.engine.scripted import GENERATE, LIST_UP, LOOK_UP, METHODS, PREDICT, STREAM
from tests.running import turns

LONG = 60.0
"""seconds in which any back-off, grace or open breaker has passed."""


@dataclass
class Tracked:
    """One call, as its caller and the workers see it."""

    number: int
    method: int
    task: asyncio.Task[object] | None = None
    received: list[bytes] = field(default_factory=list)
    begun: list[ScriptedWorker] = field(default_factory=list)
    answered: bool = False
    failed: bool = False
    cancelled: bool = False
    swapped: bool = False

    @property
    def name(self) -> bytes:
        return b"%d" % self.number


class AnyOrder(RuleBasedStateMachine):
    """See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.runner = asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(self.clock))
        self.lost: list[dict[str, object]] = []
        self.tracked: dict[bytes, Tracked] = {}
        self.over: dict[ScriptedWorker, set[int]] = {}
        self.ready: set[ScriptedWorker] = set()
        self.swaps: list[asyncio.Task[None]] = []
        self.runner.run(self.begin_everything())

    async def begin_everything(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.lost.append(context))
        self.source = ScriptedWorkers(METHODS, prepare=lambda worker: setattr(worker, "begins", False))
        self.engine = Engine(
            [self.source.place(f"place {number}", grace=5.0) for number in range(2)],
            max_queued_calls=6,
            max_queued_bytes=1000,
            clock=self.clock,
        )
        await self.engine.__aenter__()
        for number in (1, 2):
            self.become_ready(await self.source.started(number))
        await self.engine.started()

    # What happens.

    @rule(method=st.sampled_from([PREDICT, LOOK_UP, GENERATE, LIST_UP, STREAM]), left=st.sampled_from([None, 3.0]))
    def call(self, method: int, left: float | None) -> None:
        call = Tracked(len(self.tracked), method)
        self.tracked[call.name] = call
        deadline = None if left is None else self.clock() + left
        request = Request(METHODS[method], call.name, deadline=deadline)

        async def start() -> None:
            call.task = asyncio.ensure_future(self.play(call, request))
            await turns()

        self.runner.run(start())

    @rule(data=st.data())
    @precondition(lambda self: self.open_calls())
    def start(self, data: st.DataObject) -> None:
        self.begin(*data.draw(st.sampled_from(self.open_calls())))

    @rule(data=st.data(), well=st.booleans())
    @precondition(lambda self: self.open_calls())
    def end(self, data: st.DataObject, well: bool) -> None:
        worker, call = data.draw(st.sampled_from(self.open_calls()))
        self.finish(worker, call, well=well)

    @rule(data=st.data())
    @precondition(lambda self: any(self.streams_output(call) for _, call in self.open_calls()))
    def item(self, data: st.DataObject) -> None:
        worker, call = data.draw(
            st.sampled_from([(worker, call) for worker, call in self.open_calls() if self.streams_output(call)])
        )
        self.begin(worker, call)
        self.do(lambda: worker.item(call, b"%d of %d" % (id(worker), call.id)))

    @rule(data=st.data(), seen=st.sampled_from(["die", "exit", "hang_up"]))
    @precondition(lambda self: self.alive())
    def die(self, data: st.DataObject, seen: str) -> None:
        worker = data.draw(st.sampled_from(self.alive()))
        self.do(getattr(worker, seen))

    @rule(data=st.data(), well=st.booleans())
    @precondition(lambda self: self.loading())
    def load(self, data: st.DataObject, well: bool) -> None:
        worker = data.draw(st.sampled_from(self.loading()))
        if well:
            self.do(lambda: self.become_ready(worker))
        else:
            self.ready.add(worker)
            self.do(lambda: (worker.cannot_load("no"), worker.die()))

    @rule(data=st.data())
    @precondition(lambda self: self.tracked)
    def leave(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(list(self.tracked.values())))
        call.cancelled = True
        assert call.task is not None
        self.do(call.task.cancel)

    @rule()
    def replace(self) -> None:
        async def begin() -> None:
            self.swaps.append(asyncio.ensure_future(self.engine.replace(grace=5.0)))
            await turns()

        for call in self.tracked.values():
            call.swapped = True
        self.runner.run(begin())

    @rule(seconds=st.sampled_from([0.06, 0.6, 6.0, LONG]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    # What must hold.

    @invariant()
    def nothing_runs_twice_that_may_not(self) -> None:
        for call in self.tracked.values():
            assert METHODS[call.method].idempotent or len(call.begun) <= 1
            assert len(call.begun) <= 4  # three deaths, and one run that was cut short by a replacement

    @invariant()
    def nobody_sees_two_runs(self) -> None:
        for call in self.tracked.values():
            assert len(set(call.received)) <= 1

    @invariant()
    def every_end_is_explained(self) -> None:
        for call in self.tracked.values():
            if call.task is not None and call.task.done() and not call.task.cancelled():
                self.explain(call, call.task.exception(), call.task)

    @invariant()
    def nothing_went_wrong_unseen(self) -> None:
        assert not self.lost

    def explain(self, call: Tracked, error: BaseException | None, task: asyncio.Task[object]) -> None:
        dead = sum(worker.dead or worker.stopped for worker in call.begun)
        match error:
            case None:
                assert call.answered
                assert task.result() in (None, b"answer to " + call.name)
            case ModelError():
                assert call.failed
            case PoisonCall():
                assert METHODS[call.method].idempotent
                assert dead >= 3
            case WorkerLost():
                assert dead >= 1
            case ModelFailing() | Overloaded() | DeadlineExceeded():
                pass
            case Cancelled():
                assert call.cancelled
            case _:
                raise AssertionError(f"{call} ended with {error!r}")

    def teardown(self) -> None:
        try:
            self.runner.run(self.end_everything())
            self.nothing_runs_twice_that_may_not()
            self.nobody_sees_two_runs()
            self.every_end_is_explained()
            self.nothing_went_wrong_unseen()
        finally:
            self.runner.close()

    async def end_everything(self) -> None:
        """Have every worker answer what it has, until nothing is left."""
        for _ in range(200):
            for worker in list(self.source.workers):
                if not (worker.dead or worker.stopped) and worker not in self.ready:
                    self.become_ready(worker)
            await turns()
            for worker, call in self.open_calls():
                self.finish_now(worker, call, well=True)
            await turns()
            if all(call.task is None or call.task.done() for call in self.tracked.values()):
                break
            await asyncio.sleep(LONG)
        left = [call for call in self.tracked.values() if call.task is not None and not call.task.done()]
        assert not left, f"never answered: {left}, {self.engine}"
        for swap in self.swaps:
            swap.cancel()
        for outcome in await asyncio.gather(*self.swaps, return_exceptions=True):
            assert outcome is None or isinstance(outcome, LoadError | asyncio.CancelledError), outcome
        await asyncio.sleep(LONG)
        for worker, call in self.open_calls():  # of callers that had left
            self.finish_now(worker, call, well=True)
        await turns()
        assert not self.engine._calls
        assert self.engine.statistics().waiting_calls == 0
        await self.engine.__aexit__(None, None, None)
        assert all(worker.stopped for worker in self.source.workers)

    # How it is done.

    async def play(self, call: Tracked, request: Request) -> object:
        if call.method in (PREDICT, LOOK_UP):
            return bytes((await self.engine.unary(request)).payload)
        stream = self.engine.stream(request)
        try:
            async for item in stream:
                call.received.append(bytes(item))
        finally:
            stream.close()
        return None

    def do(self, action: object) -> None:
        async def act() -> None:
            action()  # type: ignore[operator]
            await turns()

        self.runner.run(act())

    def become_ready(self, worker: ScriptedWorker) -> None:
        self.ready.add(worker)
        self.over[worker] = set()
        worker.ready()

    def alive(self) -> list[ScriptedWorker]:
        return [worker for worker in self.source.workers if not (worker.dead or worker.stopped)]

    def loading(self) -> list[ScriptedWorker]:
        return [worker for worker in self.alive() if worker not in self.ready]

    def open_calls(self) -> list[tuple[ScriptedWorker, Call]]:
        return [
            (worker, call)
            for worker in self.alive()
            if worker in self.ready
            for call in worker.calls
            if call.id not in self.over[worker]
        ]

    def streams_output(self, call: Call) -> bool:
        return METHODS[call.method].cardinality.streams_output

    def begin(self, worker: ScriptedWorker, call: Call) -> None:
        tracked = self.tracked[bytes(call.payload)]
        if worker not in tracked.begun:
            assert not tracked.received, "it runs again though something of it has left"
            tracked.begun.append(worker)
            worker.begin(call)

    def finish(self, worker: ScriptedWorker, call: Call, *, well: bool) -> None:
        self.do(lambda: self.finish_now(worker, call, well=well))

    def finish_now(self, worker: ScriptedWorker, call: Call, *, well: bool) -> None:
        self.begin(worker, call)
        tracked = self.tracked[bytes(call.payload)]
        self.over[worker].add(call.id)
        if well:
            tracked.answered = True
            worker.answer(call, b"" if self.streams_output(call) else b"answer to " + tracked.name)
        else:
            tracked.failed = True
            worker.fail(call, ModelError("as was asked for"))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
