"""The thread that runs batches, one after the other, and the one that makes the next one's arrays ready meanwhile.

A device has one batch running and one in hand. Waking another thread costs some 50 µs, so a device that had to ask for
its next batch would stand idle for as long after each; this one finds it in its queue.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from runner.cancelled_tasks import cancel_all

T = TypeVar("T")

Post: TypeAlias = Callable[..., None]
"""`post(function, *args)` has `function(*args)` run on the loop. Safe from any thread."""


class Outcome(NamedTuple):
    """How a run ended."""

    results: Any
    """What it returned; None if it raised."""
    error: BaseException | None
    started: float
    """Instant on the `time.monotonic` clock."""
    seconds: float
    device_seconds: float = 0.0
    """The time between two marks on a GPU, 0 elsewhere."""


class Prepared(enum.Enum):
    """Where a batch is prepared."""

    AT_ONCE = "at once"
    """In the loop's thread: it is quick, and would hold up the device."""
    MEANWHILE = "meanwhile"
    """In a thread of its own, while another batch runs."""
    LAST = "last"
    """In the device's thread, just before it runs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One batch for a device.

    Attributes:
        prepare: brings the arguments into place.
        run: given what `prepare` returned, does the work.
        done: told of the end, on the loop.
        prepared: where the arguments are brought into place.
        called: the loop waits for the end, so that `done` is told in the device's thread.
        wanted: tells whether somebody still waits for it; asked on the loop, while it runs there.
    """

    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    done: Callable[[Outcome], None]
    prepared: Prepared = Prepared.LAST
    called: bool = False
    wanted: Callable[[], bool] = lambda: True


_Ready: TypeAlias = "tuple[Run, Any, BaseException | None]"
"""A run, what its `prepare` returned, and what it raised."""


class Device(Protocol):
    """Runs batches in the order in which they are submitted, two of them at most at a time."""

    def submit(self, run: Run) -> None:
        """Run a batch. Called on the loop's thread."""

    def is_current_thread(self) -> bool:
        """True in the thread that runs batches: waiting for a batch there would wait for ever."""
        ...


class Marks(Protocol):
    """Two points in a GPU's own time, around what a function does there."""

    def around(self, function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
        """Call a function; return its result, and the seconds that the GPU took for it."""
        ...


class DeviceThread:
    """A device with a thread of its own. The threads are daemons: a model that never returns must not keep a worker."""

    def __init__(self, post: Post, begin: Callable[[], None], marks: Marks | None = None) -> None:
        """Start the threads.

        Args:
            post: to the loop.
            begin: called first thing in the thread that runs batches.
            marks: of the GPU on which the model runs; None on a CPU.
        """
        self._post = post
        self._begin = begin
        self._marks = marks
        self._runs: SimpleQueue[_Ready | None] = SimpleQueue()
        self._ahead: SimpleQueue[Run | None] = SimpleQueue()
        self._given = 0  # runs that the stager was given, counted by the loop's thread
        self._staged = 0  # and those that it has handed on, counted by its own
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._stager = threading.Thread(target=self._stage, name="stager", daemon=True)
        self._thread.start()
        self._stager.start()

    def submit(self, run: Run) -> None:
        """See `Device`."""
        if run.prepared is Prepared.MEANWHILE or self._given != self._staged:  # what is ready at once does not overtake
            self._given += 1
            self._ahead.put(run)
        else:
            self._runs.put(_made_ready(run) if run.prepared is Prepared.AT_ONCE else (run, _NOT_READY, None))

    def is_current_thread(self) -> bool:
        """See `Device`."""
        return threading.get_ident() == self._thread.ident

    def call(self, function: Callable[[], T]) -> T:
        """Run a function where batches run; wait for it, and return what it returns or raise what it raises.

        Called on the loop's thread before the model is ready, when there is nothing else for it to do.
        """
        ended: SimpleQueue[Outcome] = SimpleQueue()
        self.submit(Run(prepare=_nothing, run=lambda _: function(), done=ended.put, called=True))
        outcome = ended.get()
        if outcome.error is not None:
            raise outcome.error
        return cast(T, outcome.results)

    def close(self) -> None:
        """Let the threads end after what they have."""
        self._ahead.put(None)
        self._runs.put(None)

    def _stage(self) -> None:
        while (run := self._ahead.get()) is not None:
            self._runs.put(_made_ready(run))
            self._staged += 1
            del run

    def _work(self) -> None:
        self._begin()
        while (job := self._runs.get()) is not None:
            run, prepared, error = job
            tell = _at_once if run.called else self._post
            done, outcome = run.done, self._outcome(run, prepared, error)
            # Nothing of the last batch is kept alive while this thread waits for the next one.
            del job, run, prepared, error
            tell(done, outcome)
            del tell, done, outcome

    def _outcome(self, run: Run, prepared: Any, error: BaseException | None) -> Outcome:
        started = time.monotonic()
        results, device_seconds = None, 0.0
        try:
            if error is None:
                try:
                    if prepared is _NOT_READY:
                        prepared = run.prepare()
                    if self._marks is None:
                        results = run.run(prepared)
                    else:
                        results, device_seconds = self._marks.around(run.run, prepared)
                except BaseException as exc:
                    error = exc
            return Outcome(results, error, started, time.monotonic() - started, device_seconds)
        finally:
            del run, prepared, results, error  # tracebacks lead to this frame

    def __repr__(self) -> str:
        return f"<DeviceThread {self._runs.qsize()} in hand>"


_NOT_READY = object()


def _made_ready(run: Run) -> _Ready:
    try:
        return run, run.prepare(), None
    except BaseException as exc:
        return run, None, exc


def _nothing() -> None:
    """Prepare nothing."""


def _at_once(function: Callable[..., None], *args: Any) -> None:
    """Post nothing: who is told waits in another thread."""
    function(*args)


class LoopDevice:
    """Runs batches of `async def` functions as tasks on the loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: dict[asyncio.Task[None], Run] = {}  # those that have begun, and were not told to stop

    def submit(self, run: Run) -> None:
        """See `Device`."""
        task = asyncio.get_running_loop().create_task(self._run(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def is_current_thread(self) -> bool:
        """See `Device`. A coroutine that waits for a batch does not hold up the loop."""
        return False

    def stop_unwanted(self) -> None:
        """Cancel the runs that nobody waits for any more, at their next `await`. Called when somebody has left."""
        for task, run in list(self._runs.items()):
            if not run.wanted():
                del self._runs[task]  # it is cancelled once: what it does about that may wait, too
                task.cancel()

    async def close(self) -> None:
        """Cancel what runs, and wait for it, for a while."""
        await cancel_all(list(self._tasks))

    async def _run(self, run: Run) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._runs[task] = run
        started = time.monotonic()
        try:
            results = run.run(run.prepare())
            if inspect.isawaitable(results):
                results = await results
            outcome = Outcome(results, None, started, time.monotonic() - started)
            del results
        except BaseException as exc:  # a cancel, too, is told: somebody waits
            outcome = Outcome(None, exc, started, time.monotonic() - started)
        self._runs.pop(task, None)
        try:
            run.done(outcome)
        finally:
            del outcome, run  # tracebacks lead to this frame
