"""The published services, whatever carries them: bytes of a request in, bytes of replies out.

Knows calls, deadlines and cancellation, and nothing of grpcio. A transport calls one of the four methods of `Service`
for each RPC, by the kind of the RPC; cancelling the coroutine, or closing the generator, cancels the call.

The two dialects differ in how errors travel. Under `Dialect.CLARIFAI` an error is a reply like any other, since the
official clients treat gRPC errors of streams badly; under `Dialect.NATIVE` it is raised, for the transport to turn
into a gRPC status.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from runner.engine import Engine, Request, StreamCall
from runner.errors import (
    CallError,
    DeadlineExceeded,
    InvalidInput,
    ModelLoading,
    Overloaded,
)
from runner.server.access import Access, Caller
from runner.server.catalog import Catalog
from runner.server.replies import Replies
from runner.server.requests import GET_SIGNATURES, Requests
from runner.server.rpcs import CallInfo
from runner.server.timing import slowest, tell_times
from runner.server.unary_calls import UnaryCalls
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.signature.published import Published
from runner.wire import reply
from runner.wire.envelope import Envelope, scan
from runner.wire.payload import Payload
from runner.wire.statistics import encode_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What the service itself decides by.

    Attributes:
        max_message_bytes: a longer request is refused.
        max_loading_wait: seconds a call waits for the model to load, and a bidi call for admission.
        max_loading_calls: calls that may wait so at once.
        hide_model_errors: do not tell callers what the model's own exceptions say.
        debug: tell them the traceback of what went wrong here.
    """

    max_message_bytes: int
    max_loading_wait: float
    max_loading_calls: int
    hide_model_errors: bool = False
    debug: bool = False


class Service:
    """Both services of one model.

    Attributes:
        begin_unary: answers calls as `unary` does, without coroutines where it can; see `UnaryCalls.begin`.
    """

    def __init__(self, engine: Engine, catalog: Catalog, access: Access, options: ServiceOptions) -> None:
        self._engine = engine
        self._catalog = catalog
        self._access = access
        self._options = options
        self._replies = Replies(hide_model_errors=options.hide_model_errors, debug=options.debug)
        self._requests = Requests(catalog, options.max_message_bytes)
        self._waiting = 0
        self.begin_unary = UnaryCalls(engine, access, self._requests, self._replies).begin
        engine.follow_methods(self._publish)

    async def unary(self, dialect: Dialect, rpc: str, request: bytes, call: CallInfo) -> bytes:
        """Answer one request with one reply."""
        try:
            caller = self._access.check(call.metadata)
            if rpc == "PostModelOutputs":
                return await self._post(dialect, request, call, caller)
            if rpc == "GetStatistics" and dialect is Dialect.NATIVE:
                return encode_statistics(self._engine.statistics())
            await self._loaded(call)
            return self._catalog.reply(dialect, rpc, request)
        except Exception as exc:
            signatures = (
                rpc == "PostModelOutputs" and dialect is Dialect.CLARIFAI and _asks_for_signatures(request, exc)
            )
            return self._replies.refusal(dialect, exc, with_output=signatures)

    async def server_stream(
        self, dialect: Dialect, rpc: str, request: bytes, call: CallInfo
    ) -> AsyncIterator[Sequence[bytes]]:
        """Answer one request with a stream of replies; yield those together that are ready together."""
        try:
            caller = self._access.check(call.metadata)
            envelope = await self._read(request, call)
            wanted = self._requests.of(dialect, envelope, Cardinality.SERVER_STREAM, call, caller)
            if len(envelope.inputs) > 1:
                requests = [wanted._replace(payload=payload) for payload in envelope.inputs]
                async for message in self._streams(call, requests):
                    yield (message,)
                return
            stream = self._engine.stream(wanted)
            try:
                while outputs := await stream.take():
                    yield [reply.success((output,)) for output in outputs]
            finally:
                tell_times(call, stream)
                stream.close()
        except Exception as exc:
            yield (self._replies.refusal(dialect, exc),)

    async def bidi(
        self, dialect: Dialect, rpc: str, requests: AsyncIterator[bytes], call: CallInfo
    ) -> AsyncIterator[Sequence[bytes]]:
        """Answer a stream of requests with a stream of replies, each as soon as it is there.

        Those that are ready together are yielded together.
        """
        try:
            async with self._opened(dialect, Cardinality.BIDI, requests, call) as stream:
                while outputs := await stream.take():
                    yield [reply.success((output,)) for output in outputs]
        except Exception as exc:
            yield (self._replies.refusal(dialect, exc, streaming_input=True),)

    async def client_stream(self, dialect: Dialect, rpc: str, requests: AsyncIterator[bytes], call: CallInfo) -> bytes:
        """Answer a stream of requests with one reply."""
        try:
            async with self._opened(dialect, Cardinality.CLIENT_STREAM, requests, call) as stream:
                return reply.success((await stream.result(),))
        except Exception as exc:
            return self._replies.refusal(dialect, exc, streaming_input=True)

    # Unary calls.

    async def _post(self, dialect: Dialect, request: bytes, call: CallInfo, caller: Caller) -> bytes:
        envelope = await self._read(request, call)
        if envelope.method == GET_SIGNATURES:
            self._catalog.check(envelope.target)
            return self._catalog.signatures(dialect)
        wanted = self._requests.of(dialect, envelope, Cardinality.UNARY, call, caller)
        if len(envelope.inputs) == 1:
            outcome = await self._engine.outcome(wanted)
            tell_times(call, outcome)
            return reply.success((outcome.payload,))
        parts, outcomes = await self._engine.unary_list(wanted, envelope.inputs, envelope.run)
        tell_times(call, slowest(outcomes))
        answer = self._replies.of_parts(parts, outcomes)
        return answer if isinstance(answer, bytes) else b"".join(answer)

    # Streams.

    async def _streams(self, call: CallInfo, requests: Sequence[Request]) -> AsyncIterator[bytes]:
        """Stream a list of inputs: every message has one output for each, an empty one where a stream is finished."""
        streams = self._engine.stream_list(requests)
        try:
            live = dict(enumerate(streams))
            while live:
                answers = await asyncio.gather(*map(anext, live.values()), return_exceptions=True)
                outputs: list[bytes | memoryview] = [reply.EMPTY_OUTPUT] * len(streams)
                failures: list[CallError] = []
                for position, answer in zip(list(live), answers, strict=True):
                    if isinstance(answer, StopAsyncIteration):
                        del live[position]
                        continue
                    if isinstance(answer, BaseException):
                        del live[position]
                        failures.append(self._replies.error(answer))
                    outputs[position] = self._replies.output(answer)
                if failures:
                    yield self._replies.mixed(failures, outputs)
                elif live or not all(isinstance(answer, StopAsyncIteration) for answer in answers):
                    yield reply.success(outputs)
        finally:
            tell_times(call, slowest(streams))
            for stream in streams:
                stream.close()

    @contextlib.asynccontextmanager
    async def _opened(
        self, dialect: Dialect, cardinality: Cardinality, requests: AsyncIterator[bytes], call: CallInfo
    ) -> AsyncGenerator[StreamCall]:
        """Open a call whose input is a stream, and feed it until it is over."""
        caller = self._access.check(call.metadata)
        first = await anext(requests, None)
        if first is None:
            raise InvalidInput("the stream of requests ended before its first message, which names the method")
        envelope = await self._read(first, call)
        wanted = self._requests.of(dialect, envelope, cardinality, call, caller)
        if len(envelope.inputs) != 1:
            raise InvalidInput(f"a message of a stream has one input, and this one has {len(envelope.inputs)}")
        stream = await self._engine.stream_in_turn(wanted, self._options.max_loading_wait)
        pump = asyncio.get_running_loop().create_task(self._feed(stream, requests))
        try:
            yield stream
        finally:
            tell_times(call, stream)
            stream.close()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _feed(self, stream: StreamCall, requests: AsyncIterator[bytes]) -> None:
        try:
            async for request in requests:
                inputs = self._requests.scan(request).inputs
                if len(inputs) != 1:
                    raise InvalidInput(f"a message of a stream has one input, and this one has {len(inputs)}")
                if not await stream.send(inputs[0]):
                    return
        except Exception as exc:
            stream.abort(self._replies.error(exc))
        else:
            stream.end_input()

    # What every call goes through.

    async def _read(self, request: bytes, call: CallInfo) -> Envelope:
        envelope = self._requests.scan(request)
        if not self._requests.known:
            await self._loaded(call)
        return envelope

    def _publish(self, methods: Sequence[Published]) -> None:
        """The model has these methods from now on."""
        self._requests.publish(methods)
        self._catalog.publish(methods)

    async def _loaded(self, call: CallInfo) -> None:
        """Wait, within bounds and the caller's deadline, until the model's methods are known."""
        if self._requests.known:
            return
        if self._waiting >= self._options.max_loading_calls:
            raise ModelLoading("the model is still loading, and no more calls can wait for it; try again later")
        patience = self._options.max_loading_wait
        left = math.inf if call.deadline is None else call.deadline - time.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(min(patience, left)):
                await self._engine.methods_known()
        except TimeoutError:
            if left < patience:
                raise DeadlineExceeded("the deadline passed while the model was loading") from None
            raise ModelLoading("the model is still loading; try again later") from None
        finally:
            self._waiting -= 1


def _asks_for_signatures(request: Payload, exc: Exception) -> bool:
    """Tell whether a request that failed asked for the signatures. It was perhaps never read."""
    if isinstance(exc, Overloaded):  # only calls of methods are, and many at once
        return False
    try:
        return scan(request).method == GET_SIGNATURES
    except InvalidInput:
        return False
