"""Connections that speak HTTP/1.1: an ingress process carries their bytes, and the main process answers.

There are few of them and they are small: probes, mostly, which want to know how the main process is. So the ingress
process does nothing but TLS for them, and whatever the server answers over HTTP/1.1 is answered in one place. Each is a
call of its own, `HTTP1`, with a stream of bytes either way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from runner.flow import Consumption, Window
from runner.grpc_protocol.status import StatusCode
from runner.server.ingress.heads import HeadPacker
from runner.server.ingress.messages import (
    WINDOW,
    WINDOW_BYTES,
    Call,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Message,
    Result,
)
from runner.server.native.protocol import host_of
from runner.server.native.transport import MakeHttp1
from runner.wire.payload import Payload

HTTP1: Final = "http/1.1"
"""In place of an RPC's path."""

_pack_head = HeadPacker(HTTP1)


class Inlet(asyncio.Protocol):
    """A connection in the ingress process."""

    def __init__(self, call_id: int, send: Callable[[Message], None], closed: Callable[[Inlet], None]) -> None:
        """Wait for the connection.

        Args:
            call_id: the call's.
            send: sends to the main process.
            closed: told once of the connection's end.
        """
        self.id = call_id
        self._send = send
        self._closed = closed
        self._over = False  # the main process wants no more
        self._window = Window(WINDOW, WINDOW_BYTES)
        self._consumption = Consumption(WINDOW, WINDOW_BYTES)
        self._full = False
        self._unread = deque[int]()  # sizes of what was written while the client did not read: a window at most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._send(Call(self.id, _pack_head(host_of(transport), ()), None, "", b""))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if not self._over:
            self._send(Cancel(self.id))
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._over:
            return
        self._window.spend(len(data))
        self._send(Item(self.id, data))
        if not self._window.open:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """See asyncio."""
        if not self._over:
            self._send(EndInput(self.id))
        # The main process says when it is over; but TLS knows of no connections that are half closed.
        return self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """See asyncio."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._full = False
        while self._unread and not self._full:
            self._consumed(self._unread.popleft())

    def _consumed(self, size: int) -> None:
        credit = self._consumption.consume(size)
        if credit is not None and not self._over:
            self._send(Credit(self.id, *credit))

    # What the main process says.

    def item(self, payload: Payload) -> None:
        """Write some more."""
        self._transport.write(payload)
        if self._full:
            self._unread.append(len(payload))
        else:
            self._consumed(len(payload))

    def grant(self, items: int, size: int) -> None:
        """Some more may be read."""
        self._window.grant(items, size)
        self._transport.resume_reading()

    def result(self, message: Result) -> None:
        """That was all."""
        self._over = True
        self._transport.close()

    def failed(self, message: Failed) -> None:
        """Cut it off."""
        self._over = True
        self._transport.abort()


class Outlet(asyncio.Transport):
    """The same connection in the main process, as whoever speaks HTTP/1.1 sees it."""

    def __init__(self, call_id: int, peer: str, send: Callable[[Message], None], forget: Callable[[int], None]) -> None:
        """Have a connection.

        Args:
            call_id: the call's.
            peer: the host at its other end.
            send: sends to the ingress process.
            forget: told once of the connection's end.
        """
        super().__init__()
        self._id = call_id
        self._peer = peer
        self._send = send
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.Protocol | None = None
        self._window = Window(WINDOW, WINDOW_BYTES)
        self._consumption = Consumption(WINDOW, WINDOW_BYTES)
        self._unsent = deque[bytes]()
        self._unsent_bytes = 0
        self._high = WINDOW_BYTES
        self._full = False  # the protocol was told to write no more
        self._unread = deque[Payload]()  # what came while the protocol did not read: a window at most
        self._reading = True
        self._ended = False  # the client has no more to send
        self._closing = False
        self._lost = False

    def begin(self, make: MakeHttp1) -> None:
        """Have somebody speak HTTP/1.1 on it."""
        self._protocol = make(self._gone)
        self._protocol.connection_made(self)

    def _gone(self, protocol: asyncio.Protocol) -> None:
        """The protocol knows that it is over, as we have told it."""

    # What the ingress process says.

    def item(self, payload: Payload) -> None:
        """Some more was read."""
        self._unread.append(payload)
        self._deliver()

    def end_input(self) -> None:
        """The client has no more to send."""
        self._ended = True
        self._deliver()

    def grant(self, items: int, size: int) -> None:
        """Some more may be written."""
        self._window.grant(items, size)
        self._pump()

    def cancel(self) -> None:
        """The client is gone."""
        self._lose()

    def _deliver(self) -> None:
        while self._unread and self._reading and not self._closing:
            data = bytes(self._unread.popleft())
            credit = self._consumption.consume(len(data))
            if credit is not None:
                self._send(Credit(self._id, *credit))
            assert self._protocol is not None
            self._protocol.data_received(data)
        if self._ended and not self._unread and self._reading and not self._closing:
            self._ended = False
            assert self._protocol is not None
            if not self._protocol.eof_received():
                self.close()

    def _pump(self) -> None:
        while self._unsent and self._window.open and not self._lost:
            data = self._unsent.popleft()
            self._unsent_bytes -= len(data)
            self._window.spend(len(data))
            self._send(Item(self._id, data))
        if self._full and self._unsent_bytes <= self._high // 4 and self._protocol is not None:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not self._unsent and not self._lost:
            self._send(Result(self._id, b"", b"", b""))
            self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._forget(self._id)
            if self._protocol is not None:
                self._loop.call_soon(self._protocol.connection_lost, None)

    # What the protocol says. See asyncio.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio."""
        if self._closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        self._pump()
        if self._unsent_bytes > self._high and not self._full and self._protocol is not None:
            self._full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """See asyncio."""
        if not self._closing:
            self._closing = True
            self._pump()

    def abort(self) -> None:
        """See asyncio."""
        if not self._lost:
            self._send(Failed(self._id, StatusCode.UNAVAILABLE, "", b""))  # nobody reads how
            self._lose()

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._closing

    def pause_reading(self) -> None:
        """See asyncio."""
        self._reading = False

    def resume_reading(self) -> None:
        """See asyncio."""
        self._reading = True
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        """See asyncio."""
        return self._reading and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio."""
        self._high = WINDOW_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return self._unsent_bytes

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See asyncio."""
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio."""
        return (self._peer, 0) if name == "peername" else default
