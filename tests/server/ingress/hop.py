"""Both ends of a link between the main process and an ingress process, in this one: real sockets, no processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from runner.processes.shared import create_pair, open_pair
from runner.server.ingress.answers import Answers
from runner.server.ingress.link import IngressLink
from runner.server.ingress.messages import Message
from runner.server.ingress.process import IngressProcess
from runner.server.ingress.remote import Remote
from runner.server.ingress.transport import kind_of
from runner.server.rpcs import Rpcs
from runner.server.status import rpc_status
from tests.server.native.serving import http1


class Hop:
    """`remote.rpcs` are answered by the table, at the other end of a link.

    `sent`: what went to the other end. `received`: what came back.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.received: list[Message] = []
        self.closed = asyncio.Event()

    async def open(self, rpcs: Rpcs, *, shared_bytes: int = 0, make_http1: Callable[[Any], Any] = http1) -> Hop:
        ours, theirs = None, None
        if shared_bytes:
            ours, descriptors = create_pair(shared_bytes)
            theirs = open_pair(*descriptors)
        self.ours = ours
        near, far = socket.socketpair()
        self._door, self._other_door = socket.socketpair()
        for end in (near, far):
            end.setblocking(False)
        self.main = IngressProcess(self._door, lambda send: Answers(rpcs, rpc_status, make_http1, send), lambda: None)
        self.near = await IngressLink.open(near, self.main, ours, self.main.attach)
        self._link = await IngressLink.open(far, self, theirs)
        self.remote = Remote([kind_of(path, rpc) for path, rpc in rpcs.items()], self._send)
        return self

    def _send(self, message: Message) -> None:
        self.sent.append(message)
        self._link.send(message)

    def on_message(self, message: Any) -> None:
        self.received.append(message)
        self.remote.on_message(message)

    def on_closed(self) -> None:
        self.closed.set()

    def cut(self) -> None:
        """The ingress process dies."""
        self._link.close()

    async def close(self) -> None:
        self._link.close()
        await self.main.stop()
        self._other_door.close()


@asynccontextmanager
async def hop(rpcs: Rpcs, **options: Any) -> AsyncIterator[Hop]:
    under_test = await Hop().open(rpcs, **options)
    try:
        yield under_test
    finally:
        await under_test.close()
