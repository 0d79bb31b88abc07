"""Everything of a worker that runs in batches: its device, and the coalescers of methods and coalescing points.

Plain functions share one device thread, and one policy decides what it runs next. Each batched `async def` has a
coalescer of its own, whose batches run on the loop: they may wait for coalescing points themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.batching.coalescer import Coalescer
from runner.batching.device import LoopDevice
from runner.batching.point_calls import PointCalls
from runner.batching.tally import BatchRan
from runner.execution.batch_work import BatchWork
from runner.execution.batched import BatchedCall
from runner.execution.batched_list import BatchedList
from runner.execution.batched_stream import BatchedStreamCall, OpeningWork, StepWork
from runner.execution.batched_together import BatchedTogether
from runner.execution.contexts import Contexts
from runner.execution.method import LoadedMethod, cost_function, limits_of
from runner.execution.model_device import ModelDevice
from runner.execution.running import RunningCall
from runner.model import ModelClass, points_of

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class Batches:
    """Owns the devices. Without batched methods and points there is nothing here: no thread, no coalescer."""

    def __init__(
        self,
        executor: Executor,
        model: ModelClass,
        methods: Sequence[LoadedMethod],
        device: ModelDevice,
        observe: Callable[[BatchRan], None],
    ) -> None:
        """Make what the model needs, and let it call its points.

        Args:
            executor: runs the calls.
            model: whose methods and points these are.
            methods: its methods.
            device: where its batches run; closed with this.
            observe: told of each batch.

        Raises:
            SignatureError: a point's options do not fit the class.
        """
        self._executor = executor
        self._observe = observe
        self._model = model
        self._device = device
        self._loops: list[LoopDevice] = []
        self._coalescers: list[Coalescer] = []
        self._places: dict[str, tuple[Coalescer, int, int]] = {}  # by method: the coalescer, its point, that of steps
        self._shared: Coalescer | None = None
        self._points: PointCalls | None = None
        for method in methods:
            if method.plan is not None:
                self._add_method(method)
        points = points_of(type(model))
        if points:
            self._points = PointCalls(self._on_device(), model, device.stager, executor.mailbox.post)
            for point in points:
                limits = limits_of(point.options, holds=True)
                self._points.add(point, limits, cost_function(model, point.options, point.name))
            model._runner_points = self._points  # pyright: ignore[reportPrivateUsage]: the seam is made for us

    def call(self, method: LoadedMethod, call: Incoming) -> RunningCall:
        """Return a call of a batched method, not started yet."""
        coalescer, point, steps = self._places[method.name]
        if method.streams_output:
            return BatchedStreamCall(self._executor, method, call, coalescer, point, steps)
        if call.inputs > 1:
            return BatchedList(self._executor, method, call, coalescer, point)
        return BatchedCall(self._executor, method, call, coalescer, point)

    def together(self, method: LoadedMethod, first: Incoming, contexts: Contexts) -> RunningCall:
        """Return several calls of a batched method, not started yet."""
        coalescer, point, _ = self._places[method.name]
        return BatchedTogether(self._executor, method, first, contexts, coalescer, point)

    def cancelled(self, call_id: int) -> None:
        """A call was told to stop: nobody waits for its steps, nor perhaps for the batch that it is in."""
        self.ended(call_id)
        for loop in self._loops:
            loop.stop_unwanted()

    def ended(self, call_id: int) -> None:
        """A call is over: nobody waits for its steps."""
        if self._points is not None:
            self._points.ended(call_id)

    def all_ended(self, first_id: int, calls: int) -> None:
        """So many calls are over, whose numbers follow each other."""
        if self._points is not None:
            for number in range(first_id, first_id + calls):
                self._points.ended(number)

    async def close(self) -> None:
        """Stop. What a device thread runs now is left to end by itself."""
        if self._points is not None:
            self._points.close()
        for coalescer in self._coalescers:
            coalescer.close()
        for loop in self._loops:
            await loop.close()
        self._device.close()
        self._model._runner_points = None  # pyright: ignore[reportPrivateUsage]: as above

    def _add_method(self, method: LoadedMethod) -> None:
        assert method.plan is not None
        coalescer = self._on_loop() if method.asynchronous else self._on_device()
        stager = self._device.stager
        if method.streams_output:
            point = coalescer.add(method.name, method.plan.limits, OpeningWork(method, stager, self._executor))
            steps = coalescer.add(method.name, StepWork.LIMITS, StepWork())
        else:
            point = steps = coalescer.add(method.name, method.plan.limits, BatchWork(method, stager, self._executor))
        self._places[method.name] = (coalescer, point, steps)

    def _on_device(self) -> Coalescer:
        if self._shared is None:
            self._shared = Coalescer(self._device.thread, self._observe)
            self._coalescers.append(self._shared)
        return self._shared

    def _on_loop(self) -> Coalescer:
        device = LoopDevice()
        self._loops.append(device)
        coalescer = Coalescer(device, self._observe)
        self._coalescers.append(coalescer)
        return coalescer

    def __repr__(self) -> str:
        return f"<Batches {self._coalescers}>"
