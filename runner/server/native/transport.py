"""The native transport: sockets that are listened on, connections that are open, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

from runner.grpc_protocol.messages import MemoryFor
from runner.http2.backlog import Backlog
from runner.http2.limits import Limits
from runner.server.certificates import Certificates
from runner.server.native.calls import Calls
from runner.server.native.doorway import Doorway
from runner.server.native.protocol import READ_BYTES, Patience
from runner.server.native.sockets import inherited_sockets, open_sockets
from runner.server.native.tls import server_context
from runner.server.rpcs import Rpcs, StatusOf

logger = logging.getLogger("runner.server")

MAX_CONNECTIONS = 16_384
"""A connection more is closed at once. An idle one costs some kilobytes; ten thousand of them have to be borne."""

MAX_UNREAD_BYTES = 1 << 30
"""Bytes of answers that wait for their readers, on all connections. Beyond it, the one with the most is cut off: it
costs a client nothing to ask for long answers and to read none."""

_FAREWELL = 0.25
"""seconds in which the last answers leave after the last call has ended."""


MakeHttp1: TypeAlias = Callable[[Callable[[asyncio.Protocol], None]], asyncio.Protocol]
"""Makes the protocol of a connection; what it is given has to be told of the connection's end, once."""


class _Open(Protocol):
    """A connection, whatever it speaks."""

    def drain(self) -> None:
        """Begin nothing new, and close when what is under way has ended."""

    def close(self) -> None:
        """Close."""

    @property
    def sent(self) -> bool:
        """True if nothing is under way, and all that was said has left."""
        ...

    @property
    def undelivered(self) -> bool:
        """True if something that was said is not with the client's kernel."""
        ...

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read."""
        ...

    def cut_off(self) -> None:
        """Close, because of those."""


def connections_that_fit(spare: int) -> int:
    """Return how many connections a process may have, by its limit on open files.

    Args:
        spare: descriptors that are for something else.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else min(max(limit - spare, 1), MAX_CONNECTIONS)


class NativeTransport:
    """See `Transport`.

    Args:
        rpcs: what is served.
        max_message_bytes: requests up to twice as long are received.
        status_of: says how an error of ours is told.
        http1: makes the protocol of a connection that speaks HTTP/1.1.
        compress_replies: send replies in a coding that the client takes.
        memory_for: where long requests of unary calls lie; None: in memory of their own.
        reuse_port: share the port with other servers.
        limits: of HTTP/2 connections.
        patience: of all connections.
        on_left: told when there is perhaps one connection less.
        max_connections: at once; None: as many as there may be anywhere.
    """

    def __init__(
        self,
        rpcs: Rpcs,
        *,
        max_message_bytes: int,
        status_of: StatusOf,
        http1: MakeHttp1,
        compress_replies: bool = False,
        memory_for: MemoryFor | None = None,
        reuse_port: bool = False,
        limits: Limits | None = None,
        patience: Patience | None = None,
        on_left: Callable[[], None] | None = None,
        max_connections: int | None = None,
    ) -> None:
        self.calls = Calls(
            rpcs,
            max_message_bytes=max_message_bytes,
            status_of=status_of,
            compress_replies=compress_replies,
            memory_for=memory_for,
        )
        self.limits = limits or Limits()
        self.patience = patience or Patience()
        self.backlog = Backlog(MAX_UNREAD_BYTES, self._too_much_waits)
        self.read_into = memoryview(bytearray(READ_BYTES))
        self._relieving = False
        self._http1 = http1
        self._reuse_port = reuse_port
        self._http: dict[asyncio.Protocol, asyncio.Transport] = {}
        self._connections: dict[_Open, None] = {}
        self._knocking: dict[asyncio.Task[None], None] = {}  # sockets that are about to be connections
        self._on_left = on_left
        self._max_connections = MAX_CONNECTIONS if max_connections is None else max_connections
        self._servers: list[asyncio.Server] = []
        self._gone: asyncio.Future[None] | None = None
        self._sent: asyncio.Future[None] | None = None
        self._reading: set[_Open] = set()  # those who still read, at the end of a drain
        self._read: asyncio.Future[None] | None = None

    async def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """See `Transport`. Sockets that systemd has opened take the place of host and port."""
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None if certificates is None else server_context(certificates)
        sockets = inherited_sockets(os.environ) or open_sockets(host, port, reuse_port=self._reuse_port)
        for each in sockets:
            server = await loop.create_server(
                self._accept,
                sock=each,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self.patience.first_bytes,
            )
            self._servers.append(server)
        name = cast("tuple[str, int] | str", sockets[0].getsockname())
        return name[1] if isinstance(name, tuple) else 0

    def adopt(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        """Serve a connection that somebody else has accepted.

        Args:
            accepted: the connection.
            context: encrypts it, if it is to be encrypted.
        """
        task = asyncio.get_running_loop().create_task(self._shake_hands(accepted, context))
        self._knocking[task] = None
        task.add_done_callback(self._let_in)

    async def _shake_hands(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._accept,
                accepted,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self.patience.first_bytes,
            )
        except OSError as exc:  # of TLS as a rule, or the client is gone
            logger.debug("a connection did not come about: %s", exc)

    def _let_in(self, task: asyncio.Task[None]) -> None:
        del self._knocking[task]
        self._left()

    async def drain(self, grace: float) -> None:
        """See `Transport`."""
        self._stop_listening()
        for connection in list(self._connections):
            connection.drain()
        deadline = asyncio.get_running_loop().time() + grace
        try:
            async with asyncio.timeout_at(deadline):
                await self.calls.idle()
                self.calls.dismiss()
                # Answers may still wait for a client that reads slowly.
                if not self._all_sent():
                    self._sent = asyncio.get_running_loop().create_future()
                    await self._sent
        except TimeoutError:
            logger.warning("%d calls did not end within the grace of %g s and are cancelled", self.calls.active, grace)
        # Clients that have heard that there is no more close their connections. What is under way from them would be
        # answered with a reset by the kernel, and could cost them the last answer. Most are soon gone, and not all ever
        # go; who is still reading is waited for.
        await self._all_gone()
        await self._delivered(deadline)
        await self.close()

    async def close(self) -> None:
        """See `Transport`."""
        self._stop_listening()
        for connection in list(self._connections):
            connection.close()
        for http in list(self._http.values()):
            http.abort()
        for task in list(self._knocking):
            task.cancel()
        await asyncio.gather(*self._knocking, return_exceptions=True)
        await self.calls.ended()
        await self._all_gone()

    async def _all_gone(self) -> None:
        if self._connections:
            self._gone = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(_FAREWELL):
                    await self._gone
            except TimeoutError:
                pass  # somebody does not read its last words

    async def _delivered(self, deadline: float) -> None:
        self._reading = {connection for connection in self._connections if connection.undelivered}
        if self._reading:
            self._read = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._read
            except TimeoutError:
                logger.warning("%d clients did not read their last answers within the grace", len(self._reading))

    def _all_sent(self) -> bool:
        return all(connection.sent for connection in self._connections)

    @property
    def connections(self) -> int:
        """How many there are, with those that are still shaking hands."""
        return len(self._connections) + len(self._http) + len(self._knocking)

    def _left(self) -> None:
        if self._on_left is not None:
            self._on_left()

    def _too_much_waits(self) -> None:
        # In a turn of its own: whoever has just queued something is in the middle of it.
        if not self._relieving:
            self._relieving = True
            asyncio.get_running_loop().call_soon(self._relieve)

    def _relieve(self) -> None:
        self._relieving = False
        for worst in sorted(self._connections, key=lambda connection: connection.unread, reverse=True):
            if self.backlog.size <= self.backlog.limit:
                return
            logger.warning("a client that reads too little of its answers is cut off: %d bytes wait", worst.unread)
            worst.cut_off()

    # What connections say.

    def flushed(self) -> None:
        """A connection has written what it had, or is gone."""
        if self._sent is not None and not self._sent.done() and self._all_sent():
            self._sent.set_result(None)

    def admit(self, connection: _Open) -> bool:
        """Count a new connection; return False if there are too many."""
        if len(self._connections) + len(self._http) >= self._max_connections:
            return False
        self._connections[connection] = None
        return True

    def succeed(self, old: _Open, new: _Open) -> None:
        """Count another in the place of a connection."""
        self._connections[new] = None
        self._connections.pop(old, None)

    def leave(self, connection: _Open) -> None:
        """Forget a connection that is closed, or is counted elsewhere."""
        self._connections.pop(connection, None)
        self.flushed()
        self._reading.discard(connection)
        if not self._reading and self._read is not None and not self._read.done():
            self._read.set_result(None)
        if not self._connections and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._left()

    def http1(self, transport: asyncio.Transport) -> asyncio.Protocol:
        """Return the protocol of a connection that speaks HTTP/1.1."""
        protocol = self._http1(self._http_closed)
        self._http[protocol] = transport
        return protocol

    def _http_closed(self, protocol: asyncio.Protocol) -> None:
        self._http.pop(protocol, None)
        self._left()

    def _accept(self) -> Doorway:
        return Doorway(self)

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
