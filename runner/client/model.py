"""The client for plain programs."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

from runner.client.base import ModelBase
from runner.client.calls import Call, MethodCalls, check_one_output
from runner.client.session import Session, no_such_method
from runner.client.settings import Settings
from runner.client.stream import Stream
from runner.client.transport import CallOptions, Transport
from runner.client.usage import Tally
from runner.errors import CallError
from runner.signature.method import Cardinality
from runner.signature.render import render
from runner.statistics import EngineStatistics
from runner.wire.statistics import decode_statistics, decode_times

__all__ = ["Method", "Model"]


class Model(ModelBase):
    """A model on a server.

    Every method is an attribute: `model.predict(prompt="Hi")` returns its result, and a streaming one an iterator,
    `for chunk in model.generate("Hi")`, whose `close()` cancels the call. One list of dicts is a batch,
    `model.predict([{"prompt": "a"}, {"prompt": "b"}])`: the result is a list, in which a failed entry is its exception.

    Errors are those of `runner.errors`, and TypeError for arguments that do not fit the signature. May be shared by
    threads.
    """

    _session: Session

    def _start(self) -> None:
        self._session = Session(partial(_grpc, self._settings))

    @classmethod
    def over(cls, transport: Transport, **settings: Any) -> Self:
        """Return a client on a connection of one's own making; `settings` are the arguments of the class."""
        model = cls(**settings)
        model._session = Session(lambda: transport)
        return model

    def available_methods(self) -> list[str]:
        """Return the names of the methods, in the order of their definition."""
        return list(self._session.learn(self._settings))

    def method_signature(self, method_name: str) -> str:
        """Return a method's signature as a line of Python, `def predict(prompt: str) -> str:`.

        Raises:
            MethodNotFound: there is no such method; the error names those which there are.
        """
        return render(self._session.method(method_name, self._settings).signature)

    def generate_client_script(self) -> str:
        """Return a Python program that calls each method once, with example values."""
        return self._script(calls.signature for calls in self._session.learn(self._settings).values())

    def method(self, name: str) -> Method:
        """Return a method by its name; the way to one whose name is an attribute of this class, such as `close`.

        Raises:
            MethodNotFound: there is no such method; the error names those which there are.
        """
        return Method(self._session.method(name, self._settings), self._session, self._settings)

    def statistics(self) -> EngineStatistics:
        """Return what the server has done so far, and how much is where: `runner.statistics`."""
        return decode_statistics(self._session.transport.unary("GetStatistics", b"", self._settings.options))

    def close(self) -> None:
        """Cancel what is in flight and close the connection. A later call opens another one."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Method:
        # Tools look for many underscored names on any object, and asking a server for them would be a surprise.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        methods = self._session.learn(self._settings)
        if name not in methods:
            raise AttributeError(no_such_method(name, methods), name=name, obj=self)
        return Method(methods[name], self._session, self._settings)

    def _known_methods(self) -> Iterable[str]:
        return self._session.methods or ()


class Method:
    """One method of a model, as a function with a name, a signature and a docstring. May be kept: it knows the client's
    session, and not one of its connections.
    """

    def __init__(self, calls: MethodCalls, session: Session, settings: Settings) -> None:
        self.__name__ = calls.signature.name
        self.__doc__ = calls.signature.description or None
        self.__signature__: inspect.Signature = calls.python_signature
        self.signature = calls.signature
        self._calls = calls
        self._session = session
        self._settings = settings

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method: its result, a `Stream` of results, or for a batch a list of either's values.

        Raises:
            TypeError: the arguments do not fit the signature.
            CallError: the call failed; a stream raises it where it is read.
        """
        return self._call(args, kwargs)

    def timed(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, float]]:
        """Call a method of one output; return its result, and where the time went on the server's side.

        A stream of outputs tells that when its end was read, by `Stream.times`.

        Returns:
            The result, and milliseconds by name: `queue` (in the server), `wait` (in the worker), `decode`, `run`,
            `encode`; and `batch`, the number of calls that ran together. Of a list, those of the input that took the
            longest. Empty if the server did not say.

        Raises:
            TypeError: the arguments do not fit the signature, or the method streams its outputs.
            CallError: the call failed; its `times` say where the time went until then.
        """
        check_one_output(self.signature, "times")
        trailers: dict[str, str] = {}
        result = self._call(args, kwargs, trailers)
        return result, decode_times(trailers)

    def counted(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Call a method of one output; return its result, and the tokens that the model says it used.

        A stream of outputs tells that by `Stream.usage`.

        Returns:
            The result, and its `Usage`; for a batch a list of them. Zeros where the model says nothing.

        Raises:
            TypeError: the arguments do not fit the signature, or the method streams its outputs.
            CallError: the call failed.
        """
        check_one_output(self.signature, "usage")
        tallies: list[Tally] = []
        result = self._call(args, kwargs, tallies=tallies)
        return result, tallies[0].told()

    def _call(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        trailers: dict[str, str] | None = None,
        tallies: list[Tally] | None = None,
    ) -> Any:
        """Make a call; `tallies` is given that of its one output, or of one that failed."""
        calls, transport = self._calls, self._session.transport
        call = calls.call(args, kwargs, timeout=self._settings.timeout)
        options = CallOptions(call.timeout, self._settings.metadata, trailers)
        tally = Tally(call.batch)
        if tallies is not None:
            tallies.append(tally)
        match calls.signature.cardinality:
            case Cardinality.UNARY:
                try:
                    reply = transport.unary(calls.rpc, call.request, options)
                except CallError as error:
                    return calls.failed(call, error)
                return calls.result(call, reply, tally)
            case Cardinality.SERVER_STREAM:
                replies = transport.server_stream(calls.rpc, call.request, options)
                return Stream(replies, partial(calls.result, call, tally=tally), partial(calls.failed, call), tally)
            case Cardinality.BIDI:
                replies = transport.bidi(calls.rpc, _requests(calls, call), options)
                return Stream(replies, partial(calls.result, call, tally=tally), partial(calls.failed, call), tally)
            case Cardinality.CLIENT_STREAM:
                reply = transport.client_stream(calls.rpc, _requests(calls, call), options)
                return calls.result(call, reply, tally)

    def __repr__(self) -> str:
        return f"<method {render(self._calls.signature)}>"


def _requests(calls: MethodCalls, call: Call) -> Iterator[bytes]:
    """Yield the messages of a streamed call: all arguments but the streamed one, then that one's items."""
    items = call.items
    if isinstance(items, AsyncIterable):
        raise TypeError(f"{calls.signature.name}(): an asynchronous iterator needs an AsyncModel")

    def messages() -> Iterator[bytes]:
        yield call.request
        for item in items or ():
            yield calls.item(item)

    return messages()


def _grpc(settings: Settings) -> Transport:
    # Imported when it is needed: a client whose calls stay in memory does not load gRPC.
    from runner.client.grpc_sync import GrpcTransport

    return GrpcTransport(settings.address, settings.trust)
