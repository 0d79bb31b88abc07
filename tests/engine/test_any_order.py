"""Callers, workers, their deaths and time in any order: every call is answered once, and by what a worker has said.

A machine of Hypothesis plays all of them on virtual time. After each step the engine is held against what the machine
knows: who may have been told what, which items and credits went where, what may run twice, and that nothing waits where
there is room. In the end the workers answer what they have, and then every call must have ended and all room be back.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.engine import Engine
from runner.errors import (
    CallError,
    DeadlineExceeded,
    LoadError,
    ModelError,
    ModelFailing,
    Overloaded,
    PoisonCall,
    WorkerLost,
)
from runner.flow import STREAM_WINDOW
from runner.testing.clock import ManualClock, VirtualTimeLoop
from runner.testing.scripted_worker import ScriptedWorker, ScriptedWorkers
from runner.workers.messages import Call, Message
from tests.engine.played import Caller, Run
from tests.engine.scripted import EMBED, METHODS
from tests.running import turns

LONG = 60.0
"""seconds in which any back-off, grace or open breaker has passed."""

MOMENT = 0.001
"""seconds by which a timer may be late."""

ROOM = 2
"""calls of each lane that a worker takes: see `LOAD` and `ScriptedWorkers.place`."""

MAX_QUEUED = 6


class AnyOrder(RuleBasedStateMachine):
    """See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.runner = asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(self.clock))
        self.lost: list[dict[str, object]] = []
        self.callers: list[Caller] = []
        self.runs: list[Run] = []
        self.ready: set[ScriptedWorker] = set()
        self.cut_off: set[ScriptedWorker] = set()  # what they say cannot arrive any more
        self.superseded: set[ScriptedWorker] = set()  # others have taken their places
        self.swaps: list[asyncio.Task[None]] = []
        self.died: set[ScriptedWorker] = set()  # and did so while they served
        self.runner.run(self.begin_everything())

    async def begin_everything(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.lost.append(context))
        self.source = ScriptedWorkers(METHODS, prepare=self.overhear)
        self.engine = Engine(
            [self.source.place(f"place {number}", grace=5.0) for number in range(2)],
            max_queued_calls=MAX_QUEUED,
            max_queued_bytes=1000,
            clock=self.clock,
        )
        await self.engine.__aenter__()
        for number in (1, 2):
            self.become_ready(await self.source.started(number))
        await self.engine.started()

    # What callers do.

    @rule(
        method=st.sampled_from(METHODS[:EMBED]),  # batches have more room
        left=st.sampled_from([None, None, 3.0]),
        eager=st.booleans(),
        many=st.booleans(),
    )
    def call(self, method: object, left: float | None, eager: bool, many: bool) -> None:
        for _ in range(3 if many else 1):
            caller = Caller(len(self.callers), method, self.clock, left, eager=eager)  # type: ignore[arg-type]
            self.callers.append(caller)
            self.do(lambda caller=caller: caller.call(self.engine))

    @rule(data=st.data())
    @precondition(lambda self: self.waiting_callers())
    def leave(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self.waiting_callers()))
        self.do(lambda: caller.leave(self.engine))

    @rule(data=st.data(), count=st.sampled_from([1, 40, 100]))
    @precondition(lambda self: any(caller.streams_output for caller in self.waiting_callers()))
    def read(self, data: st.DataObject, count: int) -> None:
        caller = data.draw(st.sampled_from([each for each in self.waiting_callers() if each.streams_output]))
        self.do(lambda: caller.read(count))

    @rule(data=st.data(), count=st.sampled_from([0, 1, 40, 100]), last=st.booleans())
    @precondition(
        lambda self: any(caller.streams_input and not caller.input_ended for caller in self.waiting_callers())
    )
    def send(self, data: st.DataObject, count: int, last: bool) -> None:
        senders = [each for each in self.waiting_callers() if each.streams_input and not each.input_ended]
        caller = data.draw(st.sampled_from(senders))
        self.do(lambda: (caller.send(count), last and caller.end_input()))

    # What workers do.

    @rule(data=st.data())
    @precondition(lambda self: self.open_runs())
    def start(self, data: st.DataObject) -> None:
        self.begin(data.draw(st.sampled_from(self.open_runs())))

    @rule(data=st.data(), well=st.booleans(), again=st.booleans())
    @precondition(lambda self: self.open_runs())
    def end(self, data: st.DataObject, well: bool, again: bool) -> None:
        run = data.draw(st.sampled_from(self.open_runs()))
        self.do(lambda: self.finish(run, well=well))
        if again:  # which no worker of ours does, and which must not matter
            self.do(lambda: self.babble(run))

    @rule(data=st.data(), count=st.sampled_from([1, 30, STREAM_WINDOW]), times=st.sampled_from([1, 1, 4]))
    @precondition(lambda self: self.open_runs("streams_output"))
    def say(self, data: st.DataObject, count: int, times: int) -> None:
        run = data.draw(st.sampled_from(self.open_runs("streams_output")))
        self.begin(run)
        for _ in range(times):
            self.do(lambda: self.say_now(run, count))
            self.hold()

    @rule(data=st.data(), count=st.sampled_from([1, 32, STREAM_WINDOW]))
    @precondition(lambda self: any(len(run.inputs) > run.taken for run in self.open_runs("streams_input")))
    def take(self, data: st.DataObject, count: int) -> None:
        runs = [run for run in self.open_runs("streams_input") if len(run.inputs) > run.taken]
        self.take_now(data.draw(st.sampled_from(runs)), count)

    @rule(data=st.data(), seen=st.sampled_from(["die", "exit", "hang_up"]))
    @precondition(lambda self: self.alive())
    def die(self, data: st.DataObject, seen: str) -> None:
        worker = data.draw(st.sampled_from(self.alive()))
        self.cut(worker)
        self.do(getattr(worker, seen))

    @rule(data=st.data())
    @precondition(lambda self: self.alive() and any(run.begun for run in self.open_runs()))
    def answer_and_die(self, data: st.DataObject) -> None:
        """What a worker had said before its end was seen still counts."""
        run = data.draw(st.sampled_from([run for run in self.open_runs() if run.begun]))
        self.cut(run.worker)
        self.do(lambda: (run.worker.exit(), self.finish(run, well=True), run.worker.hang_up()))

    @rule(data=st.data(), times=st.integers(1, 4), says=st.booleans(), others=st.sampled_from([0, 2 * ROOM]))
    @precondition(lambda self: self.open_runs())
    def kill(self, data: st.DataObject, times: int, says: bool, others: int) -> None:
        """A call is there when its worker dies, and the next one's. Then others come."""
        caller = self.caller_of(data.draw(st.sampled_from(self.open_runs())))
        for _ in range(times):
            open_runs = [run for run in self.open_runs() if run in caller.runs]
            if not open_runs:
                break
            (run,) = open_runs
            self.begin(run)
            if caller.streams_output and says:
                self.do(lambda run=run: self.say_now(run, 1))
            self.cut(run.worker)
            self.do(run.worker.die)
            self.runner.run(asyncio.sleep(LONG / 4))  # until the next one was started
            for worker in self.loading():
                self.do(lambda worker=worker: self.become_ready(worker))
            self.hold()
        for _ in range(others):
            self.call(caller.method, None, eager=True, many=False)

    @rule(data=st.data(), well=st.booleans())
    @precondition(lambda self: self.loading())
    def load(self, data: st.DataObject, well: bool) -> None:
        worker = data.draw(st.sampled_from(self.loading()))
        if well:
            self.do(lambda: self.become_ready(worker))
        else:
            self.cut_off.add(worker)
            self.do(lambda: (worker.cannot_load("no"), worker.die()))

    # What happens to all of them.

    @rule()
    def replace(self) -> None:
        async def swap() -> None:
            before = set(self.ready)
            await self.engine.replace(grace=5.0)
            self.superseded |= before

        self.do(lambda: self.swaps.append(asyncio.ensure_future(swap())))

    @rule(seconds=st.sampled_from([0.06, 0.6, 6.0, LONG]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    # What must hold.

    @invariant()
    def hold(self) -> None:
        """Check all of it, after each step and between those of the end."""
        self.everybody_is_told_once_at_most()
        self.every_end_is_explained()
        self.nothing_is_answered_late()
        self.nothing_runs_twice_that_may_not()
        self.who_was_there_at_two_deaths_is_alone_and_at_three_is_poison()
        self.outputs_are_of_one_run_and_in_order()
        self.credit_for_outputs_is_what_was_read()
        self.inputs_arrive_once_in_order_and_within_credit()
        self.who_is_not_waited_for_is_told_to_stop()
        self.nobody_waits_where_there_is_room()
        self.nobody_has_more_than_its_room()
        self.nothing_went_wrong_unseen()

    def everybody_is_told_once_at_most(self) -> None:
        for caller in self.callers:
            assert len(caller.ends) + caller.left <= 1, caller

    def every_end_is_explained(self) -> None:
        for caller in self.callers:
            if caller.ends:
                self.explain(caller, caller.ends[0])

    def nothing_is_answered_late(self) -> None:
        now = self.clock()
        for caller in self.callers:
            assert caller.over or not caller.prompt or not caller.out_of_time(now - MOMENT), caller

    def nothing_runs_twice_that_may_not(self) -> None:
        for caller in self.callers:
            assert caller.method.idempotent or len(caller.begun) <= 1, caller
            assert len(caller.begun) <= 4, caller  # three deaths, and one run that was cut short by a replacement
            if caller.begun and caller.streams_input:
                assert caller.runs[-1] is caller.begun[0], caller

    def who_was_there_at_two_deaths_is_alone_and_at_three_is_poison(self) -> None:
        for caller, run in self.on_workers():
            dead = sum(each.worker in self.died for each in caller.begun)
            assert dead < 3, caller
            if dead == 2 and not run.over:
                others = [each for _, each in self.on_workers(run.worker) if not each.over and each is not run]
                assert not others, (caller, others)

    def outputs_are_of_one_run_and_in_order(self) -> None:
        for caller in self.callers:
            if caller.received:
                run = next(run for run in caller.runs if run.said and run.said[0] == caller.received[0])
                assert run.said[: len(caller.received)] == caller.received, caller
                assert run is caller.begun[-1], caller  # nothing runs again of which something has left

    def credit_for_outputs_is_what_was_read(self) -> None:
        for caller, run in self.on_workers():
            read = len(caller.received) if caller.received[:1] == run.said[:1] else 0
            assert run.credit <= read, caller
            if not run.over and caller.waits(self.clock() + MOMENT):
                assert read - run.credit < STREAM_WINDOW // 2, caller

    def inputs_arrive_once_in_order_and_within_credit(self) -> None:
        for caller, run in self.on_workers():
            inputs = run.inputs
            assert inputs == [b"input %d" % number for number in range(len(inputs))], caller
            assert len(inputs) <= STREAM_WINDOW + run.taken, caller
            if not run.over and caller.streams_input and caller.waits(self.clock() + MOMENT):
                assert len(inputs) == min(caller.wanted, STREAM_WINDOW + run.taken), caller
                assert run.input_ends == (caller.input_ended and len(inputs) == caller.wanted), caller

    def who_is_not_waited_for_is_told_to_stop(self) -> None:
        for caller, run in self.on_workers():
            assert run.cancels <= (caller.left or caller.out_of_time(self.clock() + MOMENT)), caller
            if not run.over and (caller.left or caller.out_of_time(self.clock() - MOMENT)):
                assert run.cancels == 1, caller

    def nobody_waits_where_there_is_room(self) -> None:
        waiting = {lane.lane: lane.waiting for lane in self.engine._traffic._dispatcher.statistics(self.clock()).lanes}
        assert sum(waiting.values()) <= MAX_QUEUED + 2 * 3 * ROOM  # those that were on two workers go over the bound
        for name, replica in self.engine._traffic._dispatcher._rooms._replicas.items():
            free = [lane for lane, room in replica.room.items() if replica.running[lane] < room]
            assert replica.alone is not None or not any(waiting.get(lane) for lane in free), (name, waiting)

    def nobody_has_more_than_its_room(self) -> None:
        for worker in self.alive():
            lanes = Counter(caller.method.lane for caller, run in self.on_workers(worker) if not run.over)
            assert all(count <= ROOM for count in lanes.values()), lanes

    def nothing_went_wrong_unseen(self) -> None:
        assert not self.lost

    def explain(self, caller: Caller, end: bytes | CallError | None) -> None:
        gone = [run for run in caller.begun if run.worker in self.cut_off or run.worker.stopped]
        match end:
            case None:
                (run,) = [run for run in caller.runs if run.answer == b""]
                assert caller.received == run.said, caller
            case bytes():
                assert end in [run.answer for run in caller.runs], caller
            case ModelError():
                assert end in [run.answer for run in caller.runs], caller
            case PoisonCall():
                assert caller.method.idempotent, caller
                assert len(gone) >= 3, caller
            case WorkerLost():
                assert gone, caller
            case DeadlineExceeded():
                assert caller.deadline is not None, caller
                assert caller.ended_at >= caller.deadline - MOMENT, caller
            case Overloaded():
                assert not caller.runs, caller
            case ModelFailing():
                assert self.cut_off, caller
            case _:
                raise AssertionError(f"{caller} ended with {end!r}")

    def teardown(self) -> None:
        try:
            self.runner.run(self.end_everything())
            self.hold()
        finally:
            self.runner.close()

    async def end_everything(self) -> None:
        """Have every caller read and every worker answer, until nothing is left."""
        for caller in self.callers:
            caller.read(10_000)
        for _ in range(200):
            for worker in self.loading():
                self.become_ready(worker)
            await self.settle()
            self.hold()
            for run in self.open_runs():
                self.finish(run, well=True)
            await self.settle()
            self.hold()
            if all(caller.over for caller in self.callers):
                break
            await asyncio.sleep(LONG)
        left = [caller for caller in self.callers if not caller.over]
        assert not left, f"never answered: {left}, {self.engine}"
        for swap in self.swaps:
            swap.cancel()
        for outcome in await asyncio.gather(*self.swaps, return_exceptions=True):
            assert outcome is None or isinstance(outcome, LoadError | asyncio.CancelledError), outcome
        await asyncio.sleep(LONG)
        await self.settle()
        for run in self.open_runs():  # of callers that had left
            self.finish(run, well=True)
        await self.settle()
        statistics = self.engine.statistics()
        assert (statistics.waiting_calls, statistics.waiting_bytes) == (0, 0)
        assert [replica.running for replica in statistics.replicas if replica.running] == []
        assert not self.engine._traffic.calls
        ends = [caller.ends[0] for caller in self.callers if caller.ends]
        assert statistics.poison_total >= sum(isinstance(end, PoisonCall) for end in ends)
        assert statistics.restarts_total == len(self.source.workers) - 2
        repeated = sum(max(len(caller.runs) - 1, 0) for caller in self.callers)
        assert statistics.retries_total >= repeated
        cancelled = sum(caller.left and caller.prompt for caller in self.callers)
        assert statistics.cancellations_total >= cancelled
        await self.engine.__aexit__(None, None, None)
        assert all(worker.stopped for worker in self.source.workers)

    # How it is done.

    def do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()
            await self.settle()

        self.runner.run(act())

    async def settle(self) -> None:
        """Let happen what happens at once: an item takes a reader some turns, and a window of them some more."""
        await turns(3 * STREAM_WINDOW)

    def overhear(self, worker: ScriptedWorker) -> None:
        """Take note of the calls that a worker hears, as it does."""
        send = worker.send

        def noting(message: Message) -> None:
            before = len(worker.heard)
            send(message)
            for call in worker.heard[before:]:  # those of one message by themselves
                if isinstance(call, Call):
                    caller = self.callers[int(bytes(call.payload))]
                    assert not caller.over, f"it runs for nobody: {caller}"
                    assert worker not in self.superseded, caller
                    caller.runs.append(Run(worker, call))
                    self.runs.append(caller.runs[-1])

        worker.begins = False
        worker.send = noting  # type: ignore[method-assign]

    def become_ready(self, worker: ScriptedWorker) -> None:
        self.ready.add(worker)
        worker.ready()

    def cut(self, worker: ScriptedWorker) -> None:
        """Nothing comes from a worker any more."""
        self.cut_off.add(worker)
        if worker not in self.superseded:
            self.died.add(worker)

    def alive(self) -> list[ScriptedWorker]:
        return [worker for worker in self.source.workers if worker not in self.cut_off and not worker.stopped]

    def loading(self) -> list[ScriptedWorker]:
        return [worker for worker in self.alive() if worker not in self.ready]

    def waiting_callers(self) -> list[Caller]:
        return [caller for caller in self.callers if not caller.over]

    def caller_of(self, run: Run) -> Caller:
        return self.callers[int(bytes(run.message.payload))]

    def on_workers(self, worker: ScriptedWorker | None = None) -> list[tuple[Caller, Run]]:
        """Return what is on workers that live."""
        alive = set(self.alive()) if worker is None else {worker}
        return [(self.caller_of(run), run) for run in self.runs if run.worker in alive]

    def open_runs(self, having: str = "number") -> list[Run]:
        """Return the runs that have not ended, of callers with some property."""
        return [run for caller, run in self.on_workers() if not run.over and getattr(caller, having) is not False]

    def begin(self, run: Run) -> None:
        if not run.begun:
            run.begun = True
            run.worker.begin(run.message)

    def say_now(self, run: Run, count: int) -> None:
        caller = self.caller_of(run)
        for _ in range(min(count, STREAM_WINDOW + run.credit - len(run.said))):
            run.said.append(b"output %d of run %d of call %d" % (len(run.said), len(caller.runs), caller.number))
            run.worker.item(run.message, run.said[-1])

    def take_now(self, run: Run, count: int) -> None:
        self.begin(run)
        count = min(count, len(run.inputs) - run.taken)
        run.taken += count
        self.do(lambda: run.worker.credit(run.message, count))

    def finish(self, run: Run, *, well: bool) -> None:
        self.begin(run)
        caller = self.caller_of(run)
        if well:
            run.answer = (
                b"" if caller.streams_output else b"answer of run %d of call %d" % (len(caller.runs), caller.number)
            )
            run.worker.answer(run.message, run.answer)
        else:
            run.answer = ModelError("as was asked for")
            run.worker.fail(run.message, run.answer)

    def babble(self, run: Run) -> None:
        """Say more of a call that is over."""
        run.worker.item(run.message, b"more")
        run.worker.credit(run.message, 1)
        run.worker.answer(run.message, b"another answer")
        run.worker.fail(run.message, ModelError("another end"))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=int(os.environ.get("RUNNER_TEST_EXAMPLES", "60")), stateful_step_count=40, deadline=None
)
