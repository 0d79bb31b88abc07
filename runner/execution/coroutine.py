"""A call of an `async def` method or an async generator: one task on the worker's loop, for the call's whole life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from runner import context
from runner.errors import Cancelled, DeadlineExceeded
from runner.execution import failure
from runner.execution.method import LoadedMethod
from runner.execution.running import RunningCall
from runner.execution.streams import AsyncGate, AsyncInputs
from runner.wire.call import EncodeError
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class CoroutineCall(RunningCall):
    """One call on the loop. Cancelling it cancels the coroutine at its next `await`."""

    def __init__(self, executor: Executor, method: LoadedMethod, call: Incoming) -> None:
        self._gate = AsyncGate() if method.streams_output else None
        inputs = AsyncInputs(self._decode_item, self._give_back) if method.streamed is not None else None
        super().__init__(executor, method, call, inputs, self._gate)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """See `RunningCall`."""
        self._task = self._executor.spawn(self._run(), self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step never enters `_run`, and would tell nobody."""
        if task.cancelled():
            self._executor.fail(self._call.id, Cancelled("the call was cancelled"))

    def cancel(self) -> None:
        """See `RunningCall`."""
        super().cancel()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        call, executor = self._call, self._executor
        context.current.set(call.context)  # a task has a context of its own, so there is nothing to put back
        try:
            arguments = await self._prepare()
        except (Exception, asyncio.CancelledError) as exc:
            executor.fail(call.id, failure.of_ours(exc, "reading the arguments"))
            return
        try:
            output = await self._answer(arguments)
        except BaseException as exc:
            # Also what only a process should raise: a model's `sys.exit()` ends its own call.
            executor.fail(call.id, failure.of_model(exc, self._method.name, cancelled=call.context.cancelled))
        else:
            executor.end(call.id, output)

    async def _prepare(self) -> dict[str, object]:
        codec, call = self._method.codec, self._call
        if call.context.cancelled:
            raise Cancelled("the caller is gone")
        if (left := call.context.time_left) is not None and left <= 0:
            raise DeadlineExceeded("the caller's deadline passed before the method could start")
        decoded = codec.decode_call(call.payload, call.params)
        if missing := codec.unresolved(decoded):
            await self._executor.fetcher.resolve(missing)
        self._old_style = decoded.old_style
        arguments = codec.finish(decoded)
        self._bind_inputs(arguments)
        return arguments

    async def _answer(self, arguments: dict[str, object]) -> bytes:
        """Run the method; return the serialized output, or nothing after a stream."""
        codec, call = self._method.codec, self._call
        result: Any = self._method.function(**arguments)
        if self._method.awaited:
            result = await result
        if self._gate is None:
            return codec.encode_output(result, call.context.take_usage(), old_style=self._old_style)
        if not hasattr(result, "__aiter__"):
            raise EncodeError(
                f"{self._method.name} is declared to return an iterator and returned {type(result).__name__}; "
                "write it as an async generator, or return an async iterator"
            )
        await self._stream(aiter(cast(AsyncIterable[object], result)), self._gate)
        return b""

    async def _stream(self, outputs: AsyncIterator[object], gate: AsyncGate) -> None:
        codec, call, executor = self._method.codec, self._call, self._executor
        try:
            while True:
                # Credit first: a generator is never ahead of its reader by more than the window.
                await gate.wait()
                try:
                    value = await anext(outputs)
                except StopAsyncIteration:
                    return
                output = codec.encode_output(value, call.context.take_usage(), old_style=self._old_style)
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

    def _give_back(self, items: int) -> None:
        self._executor.consumed(self._call.id, items)
