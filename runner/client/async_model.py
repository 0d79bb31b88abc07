"""The client for asyncio programs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from runner.client.async_call import AsyncCall
from runner.client.base import ModelBase
from runner.client.calls import check_one_output
from runner.client.session import AsyncSession, no_such_method
from runner.client.settings import Settings
from runner.client.transport import AsyncTransport
from runner.signature.render import render
from runner.statistics import EngineStatistics
from runner.wire.statistics import decode_statistics, decode_times

__all__ = ["AsyncMethod", "AsyncModel"]


class AsyncModel(ModelBase):
    """A model on a server, for one event loop.

    Every method is an attribute. `await model.predict("Hi")` gives a result, `async for chunk in model.generate("Hi")`
    reads a stream; iterators of requests may be plain or asynchronous. Cancelling the task that waits cancels the call,
    and so does `aclose()` of a stream. Batches and errors are those of `Model`.

    `async with AsyncModel(...) as model:` asks for the signatures at once, and `inspect.signature(model.predict)` then
    knows them; otherwise they are asked for with the first call.
    """

    _session: AsyncSession

    def _start(self) -> None:
        self._session = AsyncSession(partial(_grpc, self._settings))

    @classmethod
    def over(cls, transport: AsyncTransport, **settings: Any) -> Self:
        """Return a client on a connection of one's own making; `settings` are the arguments of the class."""
        model = cls(**settings)
        model._session = AsyncSession(lambda: transport)
        return model

    async def available_methods(self) -> list[str]:
        """Return the names of the methods, in the order of their definition."""
        return list(await self._session.learn(self._settings))

    async def method_signature(self, method_name: str) -> str:
        """Return a method's signature as a line of Python, `def predict(prompt: str) -> str:`.

        Raises:
            MethodNotFound: there is no such method; the error names those which there are.
        """
        return render((await self._session.method(method_name, self._settings)).signature)

    async def statistics(self) -> EngineStatistics:
        """Return what the server has done so far, and how much is where: `runner.statistics`."""
        return decode_statistics(await self._session.transport.unary("GetStatistics", b"", self._settings.options))

    async def generate_client_script(self) -> str:
        """Return a Python program that calls each method once, with example values; it uses the plain `Model`."""
        methods = await self._session.learn(self._settings)
        return self._script(calls.signature for calls in methods.values())

    def method(self, name: str) -> AsyncMethod:
        """Return a method by its name; the way to one whose name is an attribute of this class, such as `aclose`.

        If there is no such method, calling it raises MethodNotFound.
        """
        return AsyncMethod(name, self._session, self._settings)

    async def aclose(self) -> None:
        """Cancel what is in flight and close the connection. A later call opens another one."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        await self._session.learn(self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> AsyncMethod:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        methods = self._session.methods
        if methods is not None and name not in methods:
            raise AttributeError(no_such_method(name, methods), name=name, obj=self)
        return AsyncMethod(name, self._session, self._settings)

    def _known_methods(self) -> Iterable[str]:
        return self._session.methods or ()


class AsyncMethod:
    """One method of a model. Before the signatures were asked for it knows its name only."""

    def __init__(self, name: str, session: AsyncSession, settings: Settings) -> None:
        self.__name__ = name
        self._session = session
        self._settings = settings
        known = (session.methods or {}).get(name)
        if known is not None:
            self.__doc__ = known.signature.description or None
            self.__signature__ = known.python_signature

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncCall:
        """Return the call, to be awaited, or read with `async for` if it streams results. Nothing is sent before."""
        return AsyncCall(self.__name__, self._session, self._settings, args, kwargs)

    async def timed(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, float]]:
        """Call a method of one output; see `Method.timed`."""
        calls = await self._session.method(self.__name__, self._settings)
        check_one_output(calls.signature, "times")
        trailers: dict[str, str] = {}
        result = await AsyncCall(self.__name__, self._session, self._settings, args, kwargs, trailers)
        return result, decode_times(trailers)

    async def counted(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Call a method of one output; see `Method.counted`."""
        calls = await self._session.method(self.__name__, self._settings)
        check_one_output(calls.signature, "usage")
        call = AsyncCall(self.__name__, self._session, self._settings, args, kwargs)
        result = await call
        return result, call.tally.told()

    def __repr__(self) -> str:
        return f"<method {self.__name__}>"


def _grpc(settings: Settings) -> AsyncTransport:
    # Imported when it is needed: a client whose calls stay in memory does not load gRPC.
    from runner.client.grpc_aio import AioGrpcTransport

    return AioGrpcTransport(settings.address, settings.trust)
