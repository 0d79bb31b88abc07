"""What every call under way has in common: its streams on the loop's side, and how it is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from runner.execution.method import LoadedMethod
from runner.wire.payload import Payload

if TYPE_CHECKING:
    from runner.execution.executor import Executor, Incoming


class Inputs(Protocol):
    """The iterator of inputs, from the side that fills it."""

    def put_first(self, value: object) -> None:
        """Add the value that came, already decoded, with the call itself."""

    def put(self, payload: Payload) -> None:
        """Add one input."""

    def end(self) -> None:
        """No more inputs will come."""

    def close(self) -> None:
        """The caller is gone, or the method has ended."""


class Gate(Protocol):
    """What a method's outputs wait at, from the side that opens it."""

    def grant(self, items: int, size: int) -> None:
        """Credit came back."""

    def close(self) -> None:
        """The caller is gone."""


class RunningCall:
    """A call under way. Its methods are called on the loop's thread, and raise nothing: the executor is told."""

    task: asyncio.Task[None] | None = None  # the one that it is, if it is one
    _old_style = False
    _fed: Inputs | None = None
    _gated: Gate | None = None

    def __init__(
        self,
        executor: Executor,
        method: LoadedMethod,
        call: Incoming,
        inputs: Inputs | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._executor = executor
        self._method = method
        self._call = call
        if inputs is not None:
            self._fed = inputs
        if gate is not None:
            self._gated = gate

    def start(self) -> None:
        """Begin."""
        raise NotImplementedError

    def item(self, payload: Payload) -> None:
        """Take one more input."""
        if self._fed is not None:
            self._fed.put(payload)

    def end_input(self) -> None:
        """There are no more inputs."""
        if self._fed is not None:
            self._fed.end()

    def grant(self, items: int, size: int) -> None:
        """So many more outputs may be sent, and so many more bytes of them."""
        if self._gated is not None:
            self._gated.grant(items, size)

    def cancel(self) -> None:
        """Stop as soon as the function can be stopped: flag the context, and end the waits for streams."""
        self._call.context.cancel()
        if self._gated is not None:
            self._gated.close()
        if self._fed is not None:
            self._fed.close()

    def cancel_one(self, call_id: int) -> None:
        """Stop the call of this number, which may be one of several."""
        self.cancel()

    def ended(self) -> None:
        """Its last word was said."""
        if self._fed is not None:
            # A thread or a task that the method has left behind may still wait there, and nothing comes any more.
            self._fed.close()
            # The inputs know the call that decodes them. Whatever it was sent would otherwise wait for the garbage
            # collector, and with it the place where that lies.
            self._fed = None

    def _bind_inputs(self, arguments: dict[str, object]) -> None:
        """Put the iterator of inputs where the first input was decoded to."""
        streamed = self._method.streamed
        if self._fed is not None and streamed is not None:
            if streamed in arguments:
                self._fed.put_first(arguments[streamed])
            arguments[streamed] = self._fed
