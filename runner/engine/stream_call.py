"""A call with a stream on one side or on both, as its caller has it, and as its replica does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from runner.dispatch.dispatcher import CallId
from runner.engine.calls import EngineCall, Request, Wire
from runner.errors import CallError, Cancelled
from runner.execution.times import Times
from runner.flow import STREAM_WINDOW, Consumption, Window, take_together
from runner.wire.payload import Payload
from runner.workers.messages import Credit, EndInput, Item


class StreamCall(EngineCall):
    """A call with a stream on one side or on both.

    At most a window of outputs waits here for the reader, and at most a window of inputs is under way to the method:
    `send` waits beyond that, and until a replica was chosen. Whoever opened the call must `close` it, however it ended.
    """

    __slots__ = (
        "_abandon",
        "_arrived",
        "_clock",
        "_consumption",
        "_end",
        "_input_open",
        "_read",
        "_reader",
        "_result",
        "_sender",
        "_sent",
        "_window",
        "first_item",
        "times",
    )

    def __init__(
        self,
        call_id: CallId,
        request: Request,
        clock: Callable[[], float],
        abandon: Callable[[StreamCall], None],
    ) -> None:
        super().__init__(call_id, request, clock())
        self._clock = clock
        self._abandon = abandon
        self.first_item = None
        self._window = Window()
        self._consumption = Consumption()
        self._arrived: deque[Payload] = deque()
        self._input_open = True
        # Inputs that were sent while the method may not have begun, a window of them at most; None: it has.
        self._sent: list[Payload] | None = []
        self._read = False  # something of the answer has left
        self._result: Payload = b""
        self._end: CallError | bool = False  # True: ended well
        self._reader: asyncio.Future[None] | None = None  # waits for an output, or the end
        self._sender: asyncio.Future[None] | None = None  # waits for a replica, for credit, or the end
        self.times: Times | None = None  # what its worker says, once it has ended

    # The caller's side.

    def __aiter__(self) -> StreamCall:
        return self

    async def __anext__(self) -> Payload:
        outputs = await self.take(1)
        if not outputs:
            raise StopAsyncIteration
        return outputs[0]

    async def take(self, most: int = STREAM_WINDOW // 2) -> list[Payload]:
        """Wait until an output is there; return it and those that go with it, `most` at most. Empty: it ended well."""
        self._give_back(self._consumption.ask())
        while not self._arrived:
            if isinstance(self._end, CallError):
                raise self._end
            if self._end:
                return []
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        outputs = take_together(self._arrived, most)
        self._read = True
        self._give_back(self._consumption.take(outputs))
        return outputs

    def _give_back(self, credit: tuple[int, int] | None) -> None:
        if credit is not None and self.wire is not None and not self._end:
            self.wire.send(Credit(self.wire_id, *credit))

    async def result(self) -> Payload:
        """Wait for the one output of a call whose input alone is a stream."""
        while self._end is False:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if isinstance(self._end, CallError):
            raise self._end
        return self._result

    async def send(self, payload: Payload) -> bool:
        """Send one more input; wait while the method is a window behind, or has no replica yet.

        Returns:
            False if the call is over and takes no more. Cancelling the wait sends nothing.
        """
        # Before a replica was chosen, inputs stay with the sender: a queue of calls holds the first ones only.
        while (self.wire is None or not self._window.open) and self._end is False:
            self._sender = asyncio.get_running_loop().create_future()
            await self._sender
        if self.wire is None or self._end is not False or not self._input_open:
            return False
        self._window.spend(len(payload))
        if self._sent is not None:
            self._sent.append(payload)
        self.wire.send(Item(self.wire_id, payload))
        return True

    def end_input(self) -> None:
        """There are no more inputs."""
        if self._input_open and self._end is False:
            self._input_open = False
            if self.wire is not None:
                self.wire.send(EndInput(self.wire_id))

    def close(self) -> None:
        """Let go of the call: cancels it if it is still running."""
        self.abort(Cancelled("the caller is gone"))

    def abort(self, error: CallError) -> None:
        """End the call with an error of the caller's side, such as an input that is no message."""
        if self._end is False:
            self._abandon(self)
            self._finish(error)

    # The engine's side.

    @property
    def over(self) -> bool:
        """See `EngineCall`."""
        return self._end is not False

    @property
    def repeatable(self) -> bool:
        """See `EngineCall`. Inputs of a stream are gone once the method has taken them."""
        return super().repeatable and not self._read and not self.request.method.cardinality.streams_input

    def rewind(self) -> None:
        """See `EngineCall`."""
        super().rewind()
        self._arrived.clear()
        self.first_item = None

    def dispatched(self, wire: Wire) -> None:
        """See `EngineCall`."""
        super().dispatched(wire)
        for payload in self._sent or ():  # to a worker that is gone, before anything was begun there
            wire.send(Item(self.wire_id, payload))
        if not self._input_open:
            wire.send(EndInput(self.wire_id))
        _wake(self._sender)

    def item(self, payload: Payload) -> None:
        """See `EngineCall`."""
        self._sent = None
        if self.first_item is None:
            self.first_item = self._clock()
        if self._end is False:
            self._arrived.append(payload)
            if (reader := self._reader) is not None and not reader.done():
                reader.set_result(None)

    def grant(self, items: int, size: int) -> None:
        """See `EngineCall`."""
        self._sent = None
        self._window.grant(items, size)
        _wake(self._sender)

    def finish(self, payload: Payload, times: Times) -> None:
        """See `EngineCall`."""
        if self._end is False:
            self._result = payload
            self.times = times
            self._finish(True)

    def fail(self, error: CallError, times: Times | None = None) -> None:
        """See `EngineCall`."""
        if self._end is False:
            self.times = times
            self._finish(error)

    def _finish(self, end: CallError | bool) -> None:
        self._end = end
        self._sent = None
        _wake(self._reader)
        _wake(self._sender)

    def __repr__(self) -> str:
        return f"<StreamCall {self.id} {len(self._arrived)} arrived, {self._window}, end={self._end!r}>"


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
