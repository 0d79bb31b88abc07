"""A call of the asyncio client, and its stream.

What a method streams is known once the signatures are, and those may have to be asked for. So calling a method gives
one object that can be awaited and can be iterated over, and it finds out which of the two was right.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from runner.client.calls import Call, MethodCalls
from runner.client.session import AsyncSession
from runner.client.settings import Settings
from runner.client.transport import AsyncReplies, CallOptions
from runner.client.usage import Tally, Usage
from runner.errors import CallError
from runner.signature.method import Cardinality
from runner.wire.statistics import decode_times

__all__ = ["AsyncCall", "AsyncStream"]


class AsyncStream(AsyncIterator[Any]):
    """An iterator over a method's results, each as it arrives. `aclose()` or its `async with` block cancels the call.

    As with a generator, nothing comes after the end, after an error, or after it was closed.
    """

    def __init__(
        self, replies: AsyncReplies, decode: Callable[[bytes], Any], failed: Callable[[CallError], Any], tally: Tally
    ) -> None:
        """Read `replies`; `failed` returns the last result of a call that failed, or raises the error.

        `tally` is told by `decode` what they say of tokens.
        """
        self._replies = replies
        self._decode = decode
        self._failed = failed
        self._tally = tally
        self._over = False
        self._times: Mapping[str, float] = {}  # of a call that failed

    async def __anext__(self) -> Any:
        if self._over:
            raise StopAsyncIteration
        try:
            return self._decode(await anext(self._replies))
        except CallError as error:
            self._times = error.times
            await self.aclose()
            return self._failed(error)
        except BaseException:
            # Whatever happened, the rest of the replies has no reader.
            await self.aclose()
            raise

    @property
    def times(self) -> dict[str, float]:
        """See `Stream.times`."""
        return dict(self._times) or decode_times(self._replies.trailers())

    @property
    def usage(self) -> Usage | list[Usage]:
        """See `Stream.usage`."""
        return self._tally.told()

    async def aclose(self) -> None:
        """Cancel the call unless it is over."""
        self._over = True
        await self._replies.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncCall(Coroutine[Any, Any, Any]):
    """A call that has not been sent. Use it once.

    Awaited (it is a coroutine, so `asyncio.create_task` and task groups take it), it gives the result, or the
    `AsyncStream` of a streaming method. `async for` and `async with` read that stream without `await`.
    """

    def __init__(
        self,
        name: str,
        session: AsyncSession,
        settings: Settings,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        trailers: dict[str, str] | None = None,
    ) -> None:
        """`trailers`: filled with what the server sends behind the one reply of a method that does not stream them."""
        self.__name__ = self.__qualname__ = name  # tasks are named after their coroutine
        self._session = session
        self._settings = settings
        self._args = args
        self._kwargs = kwargs
        self._trailers = trailers
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._stream: AsyncStream | None = None
        self.tally = Tally(None)  # replaced when it is known how many inputs there are

    async def _run(self) -> Any:
        calls = await self._session.method(self.__name__, self._settings)
        transport = self._session.transport
        call = calls.call(self._args, self._kwargs, timeout=self._settings.timeout)
        options = CallOptions(call.timeout, self._settings.metadata, self._trailers)
        self.tally = tally = Tally(call.batch)
        match calls.signature.cardinality:
            case Cardinality.UNARY:
                try:
                    reply = await transport.unary(calls.rpc, call.request, options)
                except CallError as error:
                    return calls.failed(call, error)
                return calls.result(call, reply, tally)
            case Cardinality.SERVER_STREAM:
                replies = transport.server_stream(calls.rpc, call.request, options)
                return AsyncStream(
                    replies, partial(calls.result, call, tally=tally), partial(calls.failed, call), tally
                )
            case Cardinality.BIDI:
                replies = transport.bidi(calls.rpc, _requests(calls, call), options)
                return AsyncStream(
                    replies, partial(calls.result, call, tally=tally), partial(calls.failed, call), tally
                )
            case Cardinality.CLIENT_STREAM:
                reply = await transport.client_stream(calls.rpc, _requests(calls, call), options)
                return calls.result(call, reply, tally)

    async def _open(self) -> AsyncStream:
        if self._stream is None:
            calls = await self._session.method(self.__name__, self._settings)
            if not calls.signature.cardinality.streams_output:
                raise TypeError(f"{self.__name__}() returns one result: write `await`, not `async for`")
            self._stream = cast(AsyncStream, await self)
        return self._stream

    def _started(self) -> Coroutine[Any, Any, Any]:
        if self._coroutine is None:
            self._coroutine = self._run()
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._started().__await__()

    def send(self, value: Any) -> Any:
        """See `types.CoroutineType`."""
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        """See `types.CoroutineType`."""
        return self._started().throw(*error)

    def close(self) -> None:
        """See `types.CoroutineType`."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await anext(await self._open())

    async def aclose(self) -> None:
        """Close the stream, if it was opened."""
        if self._stream is not None:
            await self._stream.aclose()

    async def __aenter__(self) -> AsyncStream:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


async def _requests(calls: MethodCalls, call: Call) -> AsyncIterator[bytes]:
    """Yield the messages of a streamed call: all arguments but the streamed one, then that one's items."""
    yield call.request
    if isinstance(call.items, AsyncIterable):
        async for item in call.items:
            yield calls.item(item)
    else:
        for item in call.items or ():
            yield calls.item(item)
