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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from runner.engine import Engine, Request, StreamCall
from runner.engine.calls import Outcome
from runner.errors import (
    CallError,
    DeadlineExceeded,
    InvalidInput,
    MessageTooLarge,
    MethodNotFound,
    ModelLoading,
    Overloaded,
)
from runner.server.access import Access, Caller
from runner.server.catalog import Catalog
from runner.server.metadata import MetadataPacker
from runner.server.replies import Replies
from runner.server.rpcs import CallInfo, TellReply
from runner.server.timing import Timed, slowest, times_text
from runner.signature.dialect import Dialect
from runner.signature.method import Cardinality
from runner.signature.published import Published
from runner.wire import reply
from runner.wire.envelope import Envelope, scan
from runner.wire.payload import VIEW_FROM, Payload
from runner.wire.statistics import TIMES_KEY, encode_statistics

GET_SIGNATURES = "_GET_SIGNATURES"

_DEFAULT_METHODS = {Cardinality.UNARY: "predict", Cardinality.SERVER_STREAM: "generate", Cardinality.BIDI: "stream"}
"""What a request without a method's name means, as old clients send it."""

_RPCS = {
    Cardinality.UNARY: "PostModelOutputs",
    Cardinality.SERVER_STREAM: "GenerateModelOutputs",
    Cardinality.BIDI: "StreamModelOutputs",
    Cardinality.CLIENT_STREAM: "CollectModelOutputs",
}

_EARLY_SHARE = 0.02
_EARLY_MOST = 0.02
"""How long before its caller's own deadline a call is ended: a share of the time that it brought, and seconds at most.
A caller's gRPC ends the call by itself at that instant, without a word of where the time went. So our answer, which
knows, is sent a little before it."""


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
    """Both services of one model."""

    def __init__(self, engine: Engine, catalog: Catalog, access: Access, options: ServiceOptions) -> None:
        self._engine = engine
        self._catalog = catalog
        self._access = access
        self._options = options
        self._replies = Replies(hide_model_errors=options.hide_model_errors, debug=options.debug)
        self._pack_metadata = MetadataPacker()
        self._methods: dict[str, Published] = {}
        self._waiting = 0
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

    def begin_unary(
        self, dialect: Dialect, rpc: str, request: Payload, call: CallInfo, tell: TellReply
    ) -> Callable[[], None] | None:
        """Answer as `unary` does, without a coroutine: what most calls want needs no waiting on the way.

        Returns:
            How to cancel the call; None if it cannot be answered like this, and nobody is told.
        """
        if rpc != "PostModelOutputs" or not self._methods:
            return None
        try:
            caller = self._access.check(call.metadata)
            self._check_size(request)
            envelope = scan(request)
        except CallError:
            return None  # `unary` words it
        try:
            if len(envelope.inputs) != 1 or envelope.method == GET_SIGNATURES:
                return None
            (wanted,) = self._requests(dialect, envelope, Cardinality.UNARY, call, caller)
            running = self._engine.begin_unary(wanted, partial(self._tell, dialect, call, tell))
        except CallError as exc:
            self._tell_end(dialect, tell, exc)
            return _nothing
        return partial(self._engine.abandon, running)

    async def server_stream(self, dialect: Dialect, rpc: str, request: bytes, call: CallInfo) -> AsyncIterator[bytes]:
        """Answer one request with a stream of replies."""
        try:
            caller = self._access.check(call.metadata)
            envelope = await self._read(request, call)
            requests = self._requests(dialect, envelope, Cardinality.SERVER_STREAM, call, caller)
            if len(requests) > 1:
                async for message in self._streams(call, requests):
                    yield message
                return
            stream = self._engine.stream(requests[0])
            try:
                async for output in stream:
                    yield reply.success((output,))
            finally:
                _tell_times(call, stream)
                stream.close()
        except Exception as exc:
            yield self._replies.refusal(dialect, exc)

    async def bidi(
        self, dialect: Dialect, rpc: str, requests: AsyncIterator[bytes], call: CallInfo
    ) -> AsyncIterator[bytes]:
        """Answer a stream of requests with a stream of replies, each as soon as it is there."""
        try:
            async with self._opened(dialect, Cardinality.BIDI, requests, call) as stream:
                async for output in stream:
                    yield reply.success((output,))
        except Exception as exc:
            yield self._replies.refusal(dialect, exc, streaming_input=True)

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
        requests = self._requests(dialect, envelope, Cardinality.UNARY, call, caller)
        if len(requests) == 1:
            outcome = await self._engine.outcome(requests[0])
            _tell_times(call, outcome)
            return reply.success((outcome.payload,))
        outcomes = await self._engine.unary_list(requests)
        _tell_times(call, slowest(outcomes))
        return self._replies.of_list([outcome.end for outcome in outcomes])

    def _tell(self, dialect: Dialect, call: CallInfo, tell: TellReply, outcome: Outcome) -> None:
        _tell_times(call, outcome)
        self._tell_end(dialect, tell, outcome.end)

    def _tell_end(self, dialect: Dialect, tell: TellReply, end: Payload | CallError) -> None:
        try:
            if isinstance(end, CallError):
                tell(self._replies.refusal(dialect, end))
            elif len(end) < VIEW_FROM:
                tell(reply.success((end,)))
            else:
                tell(reply.long_success(end))
        except CallError as exc:
            tell(exc)

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
            _tell_times(call, slowest(streams))
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
        wanted = self._requests(dialect, envelope, cardinality, call, caller)
        if len(wanted) != 1:
            raise InvalidInput(f"a message of a stream has one input, and this one has {len(wanted)}")
        stream = await self._engine.stream_in_turn(wanted[0], self._options.max_loading_wait)
        pump = asyncio.get_running_loop().create_task(self._feed(stream, requests))
        try:
            yield stream
        finally:
            _tell_times(call, stream)
            stream.close()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _feed(self, stream: StreamCall, requests: AsyncIterator[bytes]) -> None:
        try:
            async for request in requests:
                self._check_size(request)
                inputs = scan(request).inputs
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
        self._check_size(request)
        envelope = scan(request)
        if not self._methods:
            await self._loaded(call)
        return envelope

    def _check_size(self, request: Payload) -> None:
        if len(request) > self._options.max_message_bytes:
            raise MessageTooLarge(
                f"the message has {len(request)} bytes; this server takes {self._options.max_message_bytes}"
            )

    def _requests(
        self, dialect: Dialect, envelope: Envelope, cardinality: Cardinality, call: CallInfo, caller: Caller
    ) -> list[Request]:
        """Find the method, and make one request of each input."""
        group = self._catalog.check(envelope.target)
        method = self._find(dialect, envelope.method, cardinality)
        if not envelope.inputs:
            raise InvalidInput("the request has no inputs; send one for each call")
        metadata = self._pack_metadata(call.metadata)
        request_id, name = call.request_id, caller.name or call.peer
        deadline = call.deadline
        if deadline is not None or method.timeout is not None or method.max_timeout is not None:
            deadline = _deadline(deadline, method, time.monotonic())
        params = envelope.params
        return [
            Request(method, payload, params, deadline, request_id, metadata, name, group, caller.limits)
            for payload in envelope.inputs
        ]

    def _find(self, dialect: Dialect, name: str | None, cardinality: Cardinality) -> Published:
        if name is None:
            name = self._default(cardinality)
        method = self._methods.get(name)
        if method is None or (dialect is Dialect.CLARIFAI and not method.clarifai):
            names = ", ".join(self._names(dialect))
            raise MethodNotFound(f"there is no method {name!r}; this model has {names}")
        found = method.cardinality
        if found is not cardinality:
            raise MethodNotFound(
                f"{name!r} is a {found.value.replace('_', '-')} method: call it through {_RPCS[found]}, "
                f"not {_RPCS[cardinality]}"
            )
        return method

    def _default(self, cardinality: Cardinality) -> str:
        """A request without a name means the usual one, or the only one there is."""
        usual = _DEFAULT_METHODS.get(cardinality, "")
        if usual not in self._methods:
            fitting = [method.name for method in self._methods.values() if method.cardinality is cardinality]
            if len(fitting) == 1:
                return fitting[0]
        return usual

    def _names(self, dialect: Dialect) -> list[str]:
        return [method.name for method in self._methods.values() if dialect is Dialect.NATIVE or method.clarifai]

    def _publish(self, methods: Sequence[Published]) -> None:
        """The model has these methods from now on."""
        self._methods = {method.name: method for method in methods}
        self._catalog.publish(methods)

    async def _loaded(self, call: CallInfo) -> None:
        """Wait, within bounds and the caller's deadline, until the model's methods are known."""
        if self._methods:
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


def _tell_times(call: CallInfo, timed: Timed) -> None:
    """Have it told behind the last reply, or with the error, where the time of a call went, if that is possible."""
    if call.trailers is not None:
        call.trailers.append((TIMES_KEY, times_text(timed.waited, timed.times)))


def _asks_for_signatures(request: Payload, exc: Exception) -> bool:
    """Tell whether a request that failed asked for the signatures. It was perhaps never read."""
    if isinstance(exc, Overloaded):  # only calls of methods are, and many at once
        return False
    try:
        return scan(request).method == GET_SIGNATURES
    except InvalidInput:
        return False


def _nothing() -> None:
    """Cancel a call that is over."""


def _deadline(asked: float | None, method: Published, now: float) -> float | None:
    """Return a call's deadline, by what its method gives a call that brings none, and gives any call at most."""
    if asked is not None:
        asked -= min(max(asked - now, 0.0) * _EARLY_SHARE, _EARLY_MOST)
    if asked is None and method.timeout is not None:
        asked = now + method.timeout
    if method.max_timeout is None:
        return asked
    latest = now + method.max_timeout
    return latest if asked is None else min(asked, latest)
