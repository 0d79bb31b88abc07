"""An executor on its own: calls go in as a worker would bring them, and an outlet notes what they say."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from runner.batching.tally import BatchRan
from runner.context import NO_METADATA, CallContext
from runner.errors import CallError
from runner.execution.contexts import Contexts
from runner.execution.executor import Executor, Incoming
from runner.execution.fetch import Fetcher
from runner.execution.mailbox import Mailbox
from runner.execution.method import LoadedMethod, load_methods
from runner.execution.model_device import ModelDevice
from runner.execution.times import Times
from runner.model import ModelClass, instantiate
from runner.types import Text
from runner.wire import run
from runner.wire.call import Unresolved
from runner.wire.payload import Payload


class HeldFetcher:
    """Brings the text `fetched`, once the test lets it; or fails as it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.failure: CallError | None = None
        self.cancelled = 0
        self.closed = False

    async def resolve(self, unresolved: Sequence[Unresolved]) -> None:
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        for item in unresolved:
            if isinstance(item.media, Text):
                item.media.text = "fetched"
            else:
                item.media.bytes = b"fetched"

    async def aclose(self) -> None:
        self.closed = True


class Stage:
    """Runs methods of one model, and keeps what was said about each call in the order in which it was said."""

    def __init__(self, model_class: type[ModelClass], *, num_threads: int = 2, max_streams: int = 2) -> None:
        self.model = instantiate(model_class, "cpu")
        self.fetcher = HeldFetcher()
        self.batches: list[BatchRan] = []  # as they ran
        self.times: dict[int, Times] = {}
        methods, _ = load_methods(self.model)
        self.methods: tuple[LoadedMethod, ...] = methods
        self.index = {method.name: index for index, method in enumerate(methods)}
        mailbox = Mailbox(asyncio.get_running_loop())
        self.executor = Executor(
            self.model,
            methods,
            self,
            cast(Fetcher, self.fetcher),
            mailbox,
            ModelDevice("cpu", mailbox.post),
            num_threads=num_threads,
            max_streams=max_streams,
        )
        self.ids = itertools.count(1)
        self.names: dict[int, str] = {}
        self.together: list[tuple[int, int]] = []  # first numbers, and how many calls ended with each
        self.inputs: dict[int, int] = {}  # of calls that have several
        self.contexts: dict[int, CallContext] = {}
        self.outputs: dict[int, list[object]] = {}
        self.credits: dict[int, list[int]] = {}
        self.ends: dict[int, object] = {}  # the result, None after a stream, or the error
        self.order: list[int] = []  # ids in the order in which the calls ended
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if exc_info[0] is not None:
            return
        await self.executor.close()
        # Every call that was started has ended, once: nothing is kept for one that is over.
        await self.until(lambda: self.ends.keys() == self.names.keys())
        assert not self.executor._calls
        assert not self.executor._tasks
        assert self.fetcher.closed

    def call(self, method: str, *, time_left: float | None = None, payload: bytes | None = None, **given: Any) -> int:
        """Start a call; return its number."""
        call_id = next(self.ids)
        self.names[call_id] = method
        self.outputs[call_id], self.credits[call_id] = [], []
        deadline = None if time_left is None else time.monotonic() + time_left
        context = self.contexts[call_id] = CallContext(request_id=f"r{call_id}", deadline=deadline, member=call_id)
        if payload is None:
            payload = self.methods[self.index[method]].codec.encode_call(given)
        self.executor.start(
            Incoming(id=call_id, method=self.index[method], payload=payload, params=b"", context=context)
        )
        return call_id

    def call_list(self, method: str, *given: dict[str, Any] | bytes, time_left: float | None = None) -> int:
        """Start a call of several inputs, each by its arguments or its bytes; return its number."""
        codec = self.methods[self.index[method]].codec
        inputs = [each if isinstance(each, bytes) else codec.encode_call(each) for each in given]
        call_id = next(self.ids)
        self.names[call_id], self.inputs[call_id] = method, len(inputs)
        deadline = None if time_left is None else time.monotonic() + time_left
        context = self.contexts[call_id] = CallContext(request_id=f"r{call_id}", deadline=deadline, member=call_id)
        payload = b"".join(run.pieces(run.INPUT_TAG, inputs))
        self.executor.start(Incoming(call_id, self.index[method], payload, b"", context, len(inputs)))
        return call_id

    def call_together(
        self, method: str, *given: dict[str, Any] | bytes, times_left: Sequence[float | None] = ()
    ) -> list[int]:
        """Start several calls of one message, each by its arguments or its bytes; return their numbers."""
        codec = self.methods[self.index[method]].codec
        inputs = [each if isinstance(each, bytes) else codec.encode_call(each) for each in given]
        numbers = [next(self.ids) for _ in inputs]
        deadlines: list[float | None] = []
        for number, left in itertools.zip_longest(numbers, times_left):
            self.names[number] = method
            deadlines.append(None if left is None else time.monotonic() + left)
        payload = b"".join(run.pieces(run.INPUT_TAG, inputs))
        contexts = Contexts(numbers[0], [f"r{number}" for number in numbers], deadlines, [NO_METADATA])
        self.executor.start_together(self.index[method], payload, contexts)
        return numbers

    def send(self, call_id: int, *values: object) -> None:
        """Send more inputs of a stream."""
        codec = self.methods[self.index[self.names[call_id]]].codec
        for value in values:
            self.executor.item(call_id, codec.encode_item(value))

    async def end(self, call_id: int) -> Any:
        """Wait for a call's end; return its result, or raise its error."""
        await self.until(lambda: call_id in self.ends)
        end = self.ends[call_id]
        if isinstance(end, CallError):
            raise end
        return end

    async def items(self, call_id: int, count: int) -> list[object]:
        """Wait until a stream has said so many items; return all it has said."""
        await self.until(lambda: len(self.outputs[call_id]) >= count)
        return self.outputs[call_id]

    async def until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            self._changed.clear()
            await self._changed.wait()

    # Outlet

    def item(self, call_id: int, output: bytes) -> None:
        assert call_id not in self.ends
        self.outputs[call_id].append(self._decode(call_id, output))
        self._changed.set()

    def consumed(self, call_id: int, items: int, size: int) -> None:
        assert call_id not in self.ends
        self.credits[call_id].append(items)
        self._changed.set()

    def ran(self, ran: BatchRan) -> None:
        self.batches.append(ran)
        self._changed.set()

    def ended(self, call_id: int, output: Payload, times: Times) -> None:
        self.times[call_id] = times
        if call_id in self.inputs:
            outputs = run.split(output, self.inputs[call_id])
            self._end(call_id, [self._decode(call_id, each) for each in outputs])
            return
        self._end(call_id, self._decode(call_id, output) if output else None)

    def ended_together(self, first_id: int, calls: int, outputs: Payload, times: tuple[Times, ...]) -> None:
        self.together.append((first_id, calls))
        assert len(times) in (1, calls)
        for number, output in enumerate(run.split(outputs, calls)):
            self.ended(first_id + number, output, times[number % len(times)])

    def mixed(self, call_id: int, ends: Sequence[Payload | CallError], times: Times) -> None:
        self.times[call_id] = times
        assert any(isinstance(end, CallError) for end in ends)
        self._end(call_id, [end if isinstance(end, CallError) else self._decode(call_id, end) for end in ends])

    def failed(self, call_id: int, error: CallError, times: Times) -> None:
        self.times[call_id] = times
        self._end(call_id, error)

    def _end(self, call_id: int, end: object) -> None:
        assert call_id not in self.ends
        self.ends[call_id] = end
        self.order.append(call_id)
        self._changed.set()

    def _decode(self, call_id: int, output: Payload) -> object:
        return self.methods[self.index[self.names[call_id]]].codec.decode_output(output)
