"""A connection and what was learned over it. Clients that differ in their timeout only share one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

from runner.client.calls import MethodCalls, read_methods, version_request
from runner.client.settings import Settings
from runner.client.transport import AsyncTransport, Transport
from runner.errors import MethodNotFound

__all__ = ["AsyncSession", "Session", "no_such_method"]

_RPC = "GetModelVersion"


class Session:
    """For plain programs. `methods`: by name, None until they were asked for; a failed question leaves it so."""

    def __init__(self, connect: Callable[[], Transport]) -> None:
        self.methods: dict[str, MethodCalls] | None = None
        self._connect = connect
        self._transport: Transport | None = None
        self._lock = threading.RLock()

    @property
    def transport(self) -> Transport:
        """The connection, opened when it is first needed."""
        with self._lock:
            if self._transport is None:
                self._transport = self._connect()
            return self._transport

    def learn(self, settings: Settings) -> dict[str, MethodCalls]:
        """Return the methods; the first time, ask the server."""
        if self.methods is None:
            with self._lock:  # threads that start together ask once
                if self.methods is None:
                    request = version_request(settings.ids)
                    reply = self.transport.unary(_RPC, request, settings.options)
                    self.methods = _compile(reply, settings)
        return self.methods

    def method(self, name: str, settings: Settings) -> MethodCalls:
        """Return one method.

        Raises:
            MethodNotFound: there is none of this name.
        """
        return _find(name, self.learn(settings))

    def close(self) -> None:
        """Close the connection if there is one. A later call opens another."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


class AsyncSession:
    """For asyncio programs; one event loop."""

    def __init__(self, connect: Callable[[], AsyncTransport]) -> None:
        self.methods: dict[str, MethodCalls] | None = None
        self._connect = connect
        self._transport: AsyncTransport | None = None
        self._lock = asyncio.Lock()

    @property
    def transport(self) -> AsyncTransport:
        """The connection, opened when it is first needed."""
        if self._transport is None:
            self._transport = self._connect()
        return self._transport

    async def learn(self, settings: Settings) -> dict[str, MethodCalls]:
        """Return the methods; the first time, ask the server."""
        if self.methods is None:
            async with self._lock:  # tasks that start together ask once
                if self.methods is None:
                    request = version_request(settings.ids)
                    ask = self.transport.unary(_RPC, request, settings.options)
                    self.methods = _compile(await ask, settings)
        return self.methods

    async def method(self, name: str, settings: Settings) -> MethodCalls:
        """Return one method.

        Raises:
            MethodNotFound: there is none of this name.
        """
        return _find(name, await self.learn(settings))

    async def aclose(self) -> None:
        """Close the connection if there is one. A later call opens another."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()


def _compile(reply: bytes, settings: Settings) -> dict[str, MethodCalls]:
    head = settings.head()
    return {name: MethodCalls(signature, head) for name, signature in read_methods(reply).items()}


def _find(name: str, methods: dict[str, MethodCalls]) -> MethodCalls:
    if name not in methods:
        raise MethodNotFound(no_such_method(name, methods))
    return methods[name]


def no_such_method(name: str, methods: Iterable[str]) -> str:
    """Return the sentence that names the methods which there are."""
    return f"the model has no method {name!r}; it has {', '.join(methods) or 'none'}"
