"""A call of a plain function or generator: it runs in a thread of its lane, from decoding to encoding."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from runner import context
from runner.errors import CallError, Cancelled
from runner.execution import failure
from runner.execution.journal import Mark
from runner.execution.method import LoadedMethod
from runner.execution.running import RunningCall
from runner.execution.streams import BlockingGate, BlockingInputs
from runner.execution.threads import ThreadLane
from runner.execution.times import Times
from runner.wire.call import Arguments, EncodeError, Unresolved
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class BlockingCall(RunningCall):
    """One call in a thread. Everything but `_work` and what it calls happens on the loop's thread."""

    def __init__(self, executor: Executor, method: LoadedMethod, call: Incoming, lane: ThreadLane) -> None:
        self._gate = BlockingGate() if method.streams_output else None
        inputs = BlockingInputs(self._decode_item, self._give_back) if method.streamed is not None else None
        super().__init__(executor, method, call, inputs, self._gate)
        self._lane = lane
        self._arrived = self._decoded = self._returned = time.perf_counter()
        self._arguments: Arguments | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._awaited: concurrent.futures.Future[None] | None = None  # a fetch that the thread stands in

    def start(self) -> None:
        """See `RunningCall`."""
        if not self._method.codec.carries_media:
            self._submit()
            return
        # Look for URLs before a thread is taken: sixteen slow downloads must not stand before sixteen quick calls.
        try:
            arguments = self._decode()
            missing = self._method.codec.unresolved(arguments)
        except Exception as exc:
            self._fail(failure.of_ours(exc, "reading the arguments"))
            return
        self._arguments = arguments
        if missing:
            self._fetching = self._executor.spawn(self._fetch(arguments), self._fetched)
        else:
            self._submit()

    def cancel(self) -> None:
        """See `RunningCall`. Ends the waits in which the thread may stand; Python code is never interrupted."""
        super().cancel()
        if self._fetching is not None:
            self._fetching.cancel()
        if self._awaited is not None:
            self._awaited.cancel()

    async def _fetch(self, arguments: Arguments) -> None:
        await self._executor.fetcher.resolve(self._method.codec.unresolved(arguments))

    def _fetched(self, task: asyncio.Task[None]) -> None:
        """The callback also runs for a task that was cancelled before its first step."""
        self._fetching = None
        exc = asyncio.CancelledError() if task.cancelled() else task.exception()
        if exc is None:
            self._submit()
        else:
            self._fail(failure.of_ours(exc, "fetching inputs"))

    def _submit(self) -> None:
        try:
            self._lane.submit(self._work)
        except RuntimeError as exc:
            self._fail(failure.of_ours(exc, "looking for a thread"))

    def _fail(self, error: CallError) -> None:
        """The method cannot be run."""
        self._executor.fail(self._call.id, error, Times(decode=time.perf_counter() - self._arrived))

    def _decode(self) -> Arguments:
        return self._method.codec.decode_call(self._call.payload, self._call.params)

    # In the thread.

    def _work(self) -> None:
        call, method = self._call, self._method
        context.current.set(call.context)  # of a lane's job, nothing comes after it there
        error: CallError | None = None
        output: Payload = b""
        self._executor.journal.mark(call.id, Mark.RUNS)
        began = time.perf_counter()
        run = 0.0
        try:
            arguments = self._prepare()
        except BaseException as exc:
            error = failure.of_ours(exc, "reading the arguments")
            self._decoded = time.perf_counter()
        else:
            try:
                self._decoded = time.perf_counter()
                output = self._run(arguments)
            except BaseException as exc:
                about = call.context
                error = failure.of_model(exc, method.name, cancelled=about.cancelled, request_id=about.request_id)
                run = time.perf_counter() - self._decoded
        mailbox, self._arguments = self._executor.mailbox, None
        if error is None:
            run, ended = self._returned - self._decoded, time.perf_counter()
            times = Times(began - self._arrived, self._decoded - began, run, ended - self._returned)
            # What is said of a call keeps its order by its number: the end of a stream must not go under another's, or
            # it could overtake a long item.
            end = self._executor.end_soon if self._gate is None else self._executor.end
            mailbox.post(end, call.id, output, times)
        else:
            times = Times(began - self._arrived, self._decoded - began, run)
            mailbox.post(self._executor.fail, call.id, error, times)
            del error  # its traceback leads to this frame: they would keep each other, and what the call was sent

    def _prepare(self) -> dict[str, object]:
        """Decode the arguments, and put the iterator of inputs where the first input was decoded to."""
        self._call.context.raise_if_cancelled()
        decoded = self._decode() if self._arguments is None else self._arguments
        self._old_style = decoded.old_style
        if self._arguments is None and (missing := self._method.codec.unresolved(decoded)):
            self._resolve(missing)  # only an old-style call brings a text by URL to a method without media
        arguments = self._method.codec.finish(decoded)
        self._bind_inputs(arguments)
        return arguments

    def _run(self, arguments: dict[str, object]) -> Payload:
        """Run the method; return the serialized output, or nothing after a stream."""
        codec, call = self._method.codec, self._call
        with self._executor.limit(self._method, call.id):
            result: object = self._method.function(**arguments)
        self._returned = time.perf_counter()
        if self._gate is None:
            return codec.encode_output(result, call.context.take_usage(), old_style=self._old_style)
        self._stream(_iterator(result, self._method), self._gate)
        self._returned = time.perf_counter()
        return b""

    def _stream(self, outputs: Iterator[object], gate: BlockingGate) -> None:
        codec, call, executor = self._method.codec, self._call, self._executor
        limit = executor.limit(self._method, call.id) if self._method.limited else None
        try:
            while True:
                # Credit first: a generator is never ahead of its reader by more than the window.
                gate.wait()
                try:
                    if limit is None:
                        value = next(outputs)
                    else:
                        with limit:
                            value = next(outputs)
                except StopIteration:
                    return
                output = codec.encode_output(value, call.context.take_usage(), old_style=self._old_style)
                gate.spend(len(output))
                executor.mailbox.post(executor.emit, call.id, output)
        finally:
            close = getattr(outputs, "close", None)
            if close is not None:
                close()

    def _decode_item(self, payload: Payload) -> object:
        codec = self._method.codec
        value = codec.decode_item(payload)
        if codec.carries_media and (missing := codec.unresolved(value)):
            self._resolve(missing)
        return codec.finish_item(value)

    def _resolve(self, missing: Sequence[Unresolved]) -> None:
        """Fetch on the loop, and wait for it here."""
        executor = self._executor
        self._awaited = asyncio.run_coroutine_threadsafe(executor.fetcher.resolve(missing), executor.loop)
        # Show it first, look second: `cancel` flags the context first and looks for a fetch second.
        if self._call.context.cancelled:
            self._awaited.cancel()
        try:
            self._awaited.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the caller is gone") from None

    def _give_back(self, items: int, size: int) -> None:
        self._executor.mailbox.post(self._executor.consumed, self._call.id, items, size)


def _iterator(result: object, method: LoadedMethod) -> Iterator[object]:
    if not hasattr(result, "__iter__") or isinstance(result, (str, bytes)):
        raise EncodeError(
            f"{method.name} is declared to return an iterator and returned {type(result).__name__}; "
            "write it as a generator, or return an iterator"
        )
    return iter(cast(Iterable[object], result))
