"""Coalescing points at work: calls from coroutines and from threads become entries, and get their results back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from runner import context
from runner.batch import Stacking, scatter
from runner.batching.coalescer import Coalescer
from runner.batching.device import Post, Prepared
from runner.batching.entries import Entry, Limits, checked_cost
from runner.batching.jobs import Fate, Job
from runner.batching.key import array_key, shared_key
from runner.batching.memory import free_memory, out_of_memory
from runner.batching.results import to_host
from runner.batching.staging import Staged, Stager
from runner.context import BatchContext, CallContext, LocalContext
from runner.errors import CallError, Cancelled
from runner.points import Point

Answer: TypeAlias = "Callable[[list[Any]], None]"


class _Served(NamedTuple):
    """A point, as the coalescer knows it."""

    number: int
    cost: Callable[..., float] | None
    """Of one item; None if each costs 1."""
    unsaid: Hashable
    """What stands for the shared values of a call that names none."""


class _Steps(NamedTuple):
    """One call of a point."""

    point: Point
    served: _Served
    entries: Sequence[tuple[Any, ...]]
    """Positional arguments, of each item."""
    shared: dict[str, Any]
    common: Hashable
    """What stands for the shared values."""
    caller: CallContext | None


class _Waiter:
    """Waits for the results of one call of a point."""

    __slots__ = ("_answer", "_left", "_results", "abandoned", "jobs")

    def __init__(self, size: int, answer: Answer) -> None:
        self._results: list[Any] = [None] * size
        self._left = size
        self._answer = answer
        self.abandoned: Callable[[], bool] = _never
        self.jobs: list[_PointJob] = []

    def put(self, index: int, result: Any) -> None:
        self._results[index] = result
        self._left -= 1
        if not self._left:
            self._answer(self._results)


class _PointJob(Job):
    __slots__ = ("context", "entry", "index", "offered", "owner", "shared", "values", "waiter")

    def __init__(self, owner: PointCalls, waiter: _Waiter, index: int, values: tuple[Any, ...]) -> None:
        self.owner = owner
        self.waiter = waiter
        self.index = index
        self.values = values

    @property
    def wanted(self) -> bool:
        return not self.waiter.abandoned() and (self.context is None or not self.context.cancelled)

    def deliver(self, result: Any, fate: Fate) -> None:
        self.owner.forget(self)
        self.waiter.put(self.index, result)

    def refuse(self, error: CallError) -> None:
        self.owner.forget(self)
        self.waiter.put(self.index, error)

    entry: Entry
    offered: float
    context: CallContext | None
    shared: Mapping[str, Any]


class PointWork:
    """What batches of a point do; see `jobs.Work`."""

    def __init__(self, point: Point, model: Any, stager: Stager) -> None:
        self._point = point
        self._model = model
        self._stager = stager
        self._stackings = point.stackings
        arrays = any(stacking is not Stacking.LIST for stacking in self._stackings)
        self._preparation = Prepared.MEANWHILE if arrays else Prepared.LAST
        self.exhausted: int | None = None
        self.splits = 0

    def preparation(self, jobs: Sequence[_PointJob]) -> Prepared:
        """See `jobs.Work`."""
        return self._preparation

    def prepare(self, jobs: Sequence[_PointJob]) -> list[Staged]:
        """See `jobs.Work`."""
        columns = zip(*(job.values for job in jobs), strict=True)
        pairs = zip(columns, self._stackings, strict=True)
        return [self._stager.stage(column, stacking, None) for column, stacking in pairs]

    def run(self, prepared: Sequence[Staged], jobs: Sequence[_PointJob]) -> list[Any]:
        """See `jobs.Work`."""
        # A thread of the model's own may call a point for no call at all.
        contexts = [LocalContext() if job.context is None else job.context for job in jobs]
        token = context.current.set(BatchContext(contexts))
        try:
            columns = [staged.take() for staged in prepared]
            results = to_host(self._point.function(self._model, *columns, **jobs[0].shared))
        except BaseException as exc:
            # A step may have written its cache in part, so it is not tried again; the next ones are smaller.
            if out_of_memory(exc):
                free_memory(exc)
                self.exhausted = len(jobs)
            raise
        finally:
            context.current.reset(token)
        return list(scatter(results, len(jobs), self._point.name))


class PointCalls:
    """The points of one model, behind a coalescer. See `points.PointRunner`."""

    def __init__(self, coalescer: Coalescer, model: Any, stager: Stager, post: Post) -> None:
        """Serve points.

        Args:
            coalescer: of the device on which they run; lives on the current loop.
            model: whose points they are.
            stager: for that device.
            post: to the loop, for calls from other threads.
        """
        self._coalescer = coalescer
        self._model = model
        self._stager = stager
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._points: dict[Point, _Served] = {}
        self._waiting: dict[int, set[_PointJob]] = {}  # by member

    def add(self, point: Point, limits: Limits, cost: Callable[..., float] | None) -> None:
        """Serve one more point. `cost`: of one item, None if each costs 1."""
        work = PointWork(point, self._model, self._stager)
        number = self._coalescer.add(point.name, limits, work)
        self._points[point] = _Served(number, cost, _shared_key(point, {}))

    def run(self, point: Point, entries: Sequence[tuple[Any, ...]], shared: dict[str, Any]) -> Any:
        """See `points.PointRunner`."""
        if self._coalescer.device.is_current_thread():
            raise RuntimeError(
                f"{point.name}() was called in the middle of a batch, on the device's own thread, which would wait for "
                f"itself; call the function with a list: {point.function.__qualname__}.function(self, [...])"
            )
        served = self._points.get(point)
        if served is None:
            raise RuntimeError(f"{point.name}() is not a point of the class as it was when the model was loaded")
        caller = context.current.get(None)
        running = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]: None instead of an exception
        if caller is not None and caller.cancelled:
            if running is None:
                raise Cancelled("the caller is gone")
            return _later(running, [Cancelled("the caller is gone") for _ in entries])
        # Here and not on the loop: whatever is wrong with a value is its caller's own, and a large one takes its time.
        common = _shared_key(point, shared) if shared else served.unsaid
        steps = _Steps(point, served, entries, shared, common, caller)
        if running is self._loop:
            return self._awaited(steps)
        return self._blocking(steps) if running is None else self._awaited_elsewhere(running, steps)

    def ended(self, member: int) -> None:
        """A call is over, or to be stopped: its steps leave the queue, and whoever stands in one is told."""
        for job in tuple(self._waiting.get(member, ())):
            if self._coalescer.withdraw(job):
                job.refuse(Cancelled("the caller is gone"))
        self._coalescer.ended(member)

    def forget(self, job: _PointJob) -> None:
        """A job has had its answer."""
        member = job.entry.member
        if member is not None and (jobs := self._waiting.get(member)) is not None:
            jobs.discard(job)
            if not jobs:
                del self._waiting[member]

    def close(self) -> None:
        """Tell whoever stands in a step that nothing comes of it: no thread is to wait for a loop that has ended."""
        for jobs in list(self._waiting.values()):
            for job in tuple(jobs):
                self._coalescer.withdraw(job)  # or it is in hand, and nobody looks at its result
                job.refuse(Cancelled("the worker is stopping"))

    # The three kinds of callers.

    def _awaited(self, steps: _Steps) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self._loop.create_future()

        def answer(results: list[Any]) -> None:
            if not future.done():
                future.set_result(results)

        waiter = _Waiter(len(steps.entries), answer)
        waiter.abandoned = future.cancelled
        self._offer(steps, waiter)
        return future

    def _awaited_elsewhere(self, loop: asyncio.AbstractEventLoop, steps: _Steps) -> asyncio.Future[list[Any]]:
        """For a plain function that runs a loop of its own in its thread."""
        future: asyncio.Future[list[Any]] = loop.create_future()

        def settle(results: list[Any]) -> None:
            if not future.done():
                future.set_result(results)

        def answer(results: list[Any]) -> None:
            try:
                loop.call_soon_threadsafe(settle, results)
            except RuntimeError:  # that loop is closed: nobody waits any more
                return

        waiter = _Waiter(len(steps.entries), answer)
        waiter.abandoned = future.cancelled
        self._post(self._offer, steps, waiter)
        return future

    def _blocking(self, steps: _Steps) -> list[Any]:
        # A lock is the cheapest thing to wait for: a third of what a future costs.
        done = threading.Lock()
        done.acquire()
        answered: list[Any] = []

        def answer(results: list[Any]) -> None:
            answered.extend(results)
            done.release()

        self._post(self._offer, steps, _Waiter(len(steps.entries), answer))
        done.acquire()
        return answered

    def _offer(self, steps: _Steps, waiter: _Waiter) -> None:
        """On the loop, where it must not raise."""
        point, served, entries, shared, common, caller = steps
        if caller is not None and caller.cancelled:  # since it looked, in its thread
            for index in range(len(entries)):
                waiter.put(index, Cancelled("the caller is gone"))
            return
        member = caller.member if caller is not None and caller.member else None
        stackings = point.stackings
        stacked = any(stacking is not Stacking.LIST for stacking in stackings)
        cost = served.cost
        jobs: list[_PointJob] = []
        for index, values in enumerate(entries):
            job = _PointJob(self, waiter, index, values)
            key = common
            try:
                if stacked:
                    pairs = zip(values, stackings, strict=True)
                    key = (common, tuple(array_key(value, stacking, padded=False) for value, stacking in pairs))
                job.entry = Entry(
                    id=self._coalescer.next_entry(),
                    point=served.number,
                    key=key,
                    cost=1.0 if cost is None else checked_cost(cost(*values)),
                    priority=point.options.priority,
                    deadline=None if caller is None else caller.deadline,
                    member=member,
                )
            except Exception as exc:  # an item without a shape, a cost function that raises: its caller's own
                waiter.put(index, exc)
                continue
            job.context = caller
            job.shared = shared
            jobs.append(job)
        for job in jobs:
            if member is not None:
                self._waiting.setdefault(member, set()).add(job)
            self._coalescer.offer(job)


def _never() -> bool:
    return False


def _later(loop: asyncio.AbstractEventLoop, results: list[Any]) -> asyncio.Future[list[Any]]:
    """Return what gives results in the next turn: a coroutine that takes no notice and asks again lets others run."""
    future: asyncio.Future[list[Any]] = loop.create_future()
    loop.call_soon(_settle, future, results)
    return future


def _settle(future: asyncio.Future[list[Any]], results: list[Any]) -> None:
    if not future.done():
        future.set_result(results)


def _shared_key(point: Point, shared: Mapping[str, Any]) -> Hashable:
    """Return what calls have to agree on: what is left out equals its default."""
    given = {**point.defaults, **shared}
    return tuple([(name, shared_key(given[name])) for name in sorted(given)])
