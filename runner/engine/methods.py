"""The methods of the model that is served, as they are now: replacing the model may bring others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from runner.engine.calls import Request
from runner.errors import MethodNotFound
from runner.signature.published import Published


class Methods:
    """Set by the engine when a replica brings them; told to whoever follows."""

    def __init__(self) -> None:
        self._by_name: dict[str, Published] = {}
        self._followers: list[Callable[[Sequence[Published]], None]] = []
        self._known = asyncio.Event()

    @property
    def all(self) -> tuple[Published, ...]:
        """The methods, in order; empty until they are known."""
        return tuple(self._by_name.values())

    async def known(self) -> tuple[Published, ...]:
        """Wait until they are known, and return them."""
        await self._known.wait()
        return self.all

    def follow(self, tell: Callable[[Sequence[Published]], None]) -> None:
        """Have `tell` called with the methods, at every change of them; now too if they are known."""
        self._followers.append(tell)
        if self._by_name:
            tell(self.all)

    def put(self, methods: Sequence[Published]) -> None:
        """Make these the methods; `publish` tells of it."""
        self._by_name = {method.name: method for method in methods}

    def publish(self) -> None:
        """Tell everybody who waits or follows."""
        self._known.set()
        for tell in self._followers:
            tell(self.all)

    def has(self, method: Published) -> bool:
        """Tell whether this is a method of the model as it is now."""
        return self._by_name.get(method.name) is method

    def current(self, request: Request) -> Request:
        """Return a request with its method as it is now: the model may have been replaced since it was read.

        Raises:
            MethodNotFound: the model has no such method any more.
        """
        method = self._by_name.get(request.method.name)
        if method is request.method or not self._by_name:
            return request
        if method is None or method.cardinality is not request.method.cardinality:
            raise gone(request.method)
        return request._replace(method=method)


def gone(method: Published) -> MethodNotFound:
    """Return the error of a call whose method the model has no more."""
    return MethodNotFound(f"the model was replaced meanwhile, and has no method {method.name!r} of this kind any more")
