"""A call of an `async def` method or an async generator: a task on the worker's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

from runner import context
from runner.errors import Cancelled, DeadlineExceeded
from runner.execution import failure
from runner.execution.journal import Mark
from runner.execution.method import LoadedMethod
from runner.execution.running import RunningCall
from runner.execution.streams import AsyncGate, AsyncInputs
from runner.execution.times import Times
from runner.tuples import maker
from runner.wire.call import EncodeError
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


_RUNS: Final = Mark.RUNS
_new_times = maker(Times)


class CoroutineCall(RunningCall):
    """One call on the loop. Cancelling it cancels the coroutine at its next `await`.

    It has a task of its own from its `start`, or from when it first waits: see `CoroutinesTogether`, which takes
    `steps` instead.
    """

    _gate: AsyncGate | None = None
    _entered = False
    shares = False  # it runs in a task that is not its own yet, and whoever runs that has the answer told
    dropped = False  # before it has begun: it never will

    def __init__(self, executor: Executor, method: LoadedMethod, call: Incoming, arrived: float) -> None:
        """Take a call.

        Args:
            executor: told what it has to say.
            method: what is called.
            call: what it is called with.
            arrived: when, on the `time.perf_counter` clock.
        """
        super().__init__(executor, method, call)
        self._arrived = arrived
        if method.streams_output:
            self._gated = self._gate = AsyncGate()
        if method.streamed is not None:
            self._fed = AsyncInputs(self._decode_item, self._give_back)

    def start(self) -> None:
        """See `RunningCall`."""
        self.task = self._executor.loop.create_task(self.steps(), name=self._method.name)

    def cancel(self) -> None:
        """See `RunningCall`."""
        super().cancel()
        if self.task is not None:
            self.task.cancel()
        if not self._entered:  # nor will it be: a task that is cancelled before its first step has none
            self.task = None  # it keeps the exception, whose traceback leads to this call and what it was sent
            self.dropped = True
            self._executor.fail(self._call.id, Cancelled("the call was cancelled"))

    async def steps(self) -> None:
        """Run it, from its arguments to its end. In a context that nothing else sees."""
        # In one piece, since every `await` of a function of our own is one more frame in each step of the model's.
        self._entered = True
        executor, method = self._executor, self._method
        call_id, _, payload, params, about, _ = self._call
        codec = method.codec
        context.current.set(about)  # nothing comes after it there, so there is nothing to put back
        began = time.perf_counter()
        executor.journal.mark(call_id, _RUNS)
        try:
            if about.cancelled or about.deadline is not None:
                self._check_caller()
            decoded = codec.decode_call(payload, params)
            if (codec.carries_media or decoded.old_style) and (missing := codec.unresolved(decoded)):
                await executor.fetcher.resolve(missing)
            old_style = decoded.old_style
            arguments = codec.finish(decoded)
            if method.streamed is not None:
                self._bind_inputs(arguments)
        except (Exception, asyncio.CancelledError) as exc:
            times = Times(began - self._arrived, time.perf_counter() - began)
            executor.fail(call_id, failure.of_ours(exc, "reading the arguments"), times)
            return
        decoded_at = time.perf_counter()
        try:
            result: Any
            if method.limited:
                with executor.limit(method, call_id):
                    result = method.function(**arguments)
                    if method.awaited:
                        result = await result
            else:  # what does nothing would cost as much as the method may
                result = method.function(**arguments)
                if method.awaited:
                    result = await result
            returned = time.perf_counter()
            if self._gate is None:
                output = codec.encode_output(result, about.take_usage(), old_style=old_style)
            else:
                await self._stream(_iterator(result, method), self._gate, old_style)
                output = b""
                returned = time.perf_counter()
        except BaseException as exc:
            # Also what only a process should raise: a model's `sys.exit()` ends its own call.
            times = Times(began - self._arrived, decoded_at - began, time.perf_counter() - decoded_at)
            executor.fail(
                call_id,
                failure.of_model(exc, method.name, cancelled=about.cancelled, request_id=about.request_id),
                times,
            )
        else:
            encode = time.perf_counter() - returned
            times = _new_times((began - self._arrived, decoded_at - began, returned - decoded_at, encode, 0))
            if self.shares:
                executor.end_soon(call_id, output, times)
            else:
                executor.end(call_id, output, times)

    def _check_caller(self) -> None:
        """Refuse to start for nobody."""
        if self._call.context.cancelled:
            raise Cancelled("the caller is gone")
        if (left := self._call.context.time_left) is not None and left <= 0:
            raise DeadlineExceeded("the caller's deadline passed before the method could start")

    async def _stream(self, outputs: AsyncIterator[object], gate: AsyncGate, old_style: bool) -> None:
        codec, call, executor = self._method.codec, self._call, self._executor
        limit = executor.limit(self._method, call.id) if self._method.limited else None
        try:
            while True:
                # Credit first: a generator is never ahead of its reader by more than the window.
                if not gate.open:
                    await gate.wait()
                try:
                    if limit is None:
                        value = await anext(outputs)
                    else:
                        with limit:
                            value = await anext(outputs)
                except StopAsyncIteration:
                    return
                output = codec.encode_output(value, call.context.take_usage(), old_style=old_style)
                gate.spend(len(output))
                executor.emit(call.id, output)
        finally:
            close = getattr(outputs, "aclose", None)
            if close is not None:
                await close()

    async def _decode_item(self, payload: Payload) -> object:
        codec = self._method.codec
        value = codec.decode_item(payload)
        if codec.carries_media and (missing := codec.unresolved(value)):
            await self._executor.fetcher.resolve(missing)
        return codec.finish_item(value)

    def _give_back(self, items: int, size: int) -> None:
        self._executor.consumed(self._call.id, items, size)


def _iterator(result: object, method: LoadedMethod) -> AsyncIterator[object]:
    if not hasattr(result, "__aiter__"):
        raise EncodeError(
            f"{method.name} is declared to return an iterator and returned {type(result).__name__}; "
            "write it as an async generator, or return an async iterator"
        )
    return aiter(cast(AsyncIterable[object], result))
