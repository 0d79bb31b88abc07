"""The main module of an ingress process: `python -m runner.server.ingress.child PARENT LINK DOOR [PAYLOADS]`.

Serves the connections that the main process hands over through the door, until it is told to drain or the link closes.
It never outlives the main process: end-of-file on the link ends it, and so does the main process's death.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys

import uvloop

from runner.allocator import keep_freed_memory
from runner.errors import CallError
from runner.grpc_protocol.status import StatusCode
from runner.logs import Log, start_log
from runner.processes.prctl import die_with_parent
from runner.processes.shared import Shared, open_pair
from runner.server.certificates import Pem
from runner.server.ingress.link import IngressLink
from runner.server.ingress.messages import (
    Beat,
    Credit,
    Drain,
    Encrypt,
    Failed,
    Item,
    Left,
    Message,
    Ready,
    Result,
    Serve,
)
from runner.server.ingress.remote import Remote
from runner.server.native.protocol import Patience
from runner.server.native.tls import server_context
from runner.server.native.transport import NativeTransport, connections_that_fit

EXIT_ORPHANED = 5
"""Exit code of a process whose parent was gone before it could be told; nobody sees it."""

_AT_ONCE = 64
"""connections taken in one turn of the loop: the calls of those that are there have their turn too."""


_CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # Linux has it; nothing is started here anyway

_SPARE = 64
"""descriptors that are not for connections: a dozen are open, and a new certificate is laid down in a file."""

logger = logging.getLogger("runner.server")


class _Told:
    """The certificate that the main process told of last. See `tls.Renewable`."""

    def __init__(self, pem: Pem) -> None:
        self.pem = pem
        self._new: Pem | None = None

    def tell(self, pem: Pem) -> None:
        """There is another one."""
        self.pem = self._new = pem

    def renewed(self) -> Pem | None:
        """See `tls.Renewable`."""
        new, self._new = self._new, None
        return new


class _Child:
    """An ingress process."""

    def __init__(self, door: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._door = door
        self._link: IngressLink | None = None
        self._remote: Remote | None = None
        self._transport: NativeTransport | None = None
        self._certificate: _Told | None = None
        self._context: ssl.SSLContext | None = None
        self._drained: asyncio.Task[None] | None = None
        self._taken = 0  # connections so far
        self._left = 0  # how many of them have ended, as far as it was told
        self._telling = False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def attach(self, link: IngressLink) -> None:
        """Set the way to the main process; done once, before anything can arrive from it."""
        self._link = link

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        match message:
            case Item() | Credit() | Result() | Failed():
                assert self._remote is not None
                self._remote.on_message(message)
            case Encrypt():
                self._encrypt(Pem(message.certificate, message.key, message.client_ca))
            case Serve():
                start_log(Log(level=message.log_level, format=message.log_format), f"ingress {os.getpid()}")
                self._serve(message)
            case Beat():
                assert self._link is not None
                self._link.send(message)
            case Drain():
                self._drained = self._loop.create_task(self._drain(message.grace))
            case _:
                raise ValueError(f"an ingress process does not expect {type(message).__name__}")

    def on_closed(self) -> None:
        """See `link.Receiver`."""
        if not self.closed.done():
            self.closed.set_result(None)

    def _encrypt(self, pem: Pem) -> None:
        if self._certificate is None:
            self._certificate = _Told(pem)
            self._context = server_context(self._certificate)
        else:
            self._certificate.tell(pem)

    def _serve(self, serve: Serve) -> None:
        assert self._link is not None
        remote = Remote(serve.rpcs, self._link.send)
        self._transport = NativeTransport(
            remote.rpcs,
            max_message_bytes=serve.max_message_bytes,
            status_of=_status_of,
            http1=remote.tunnel,
            compress_replies=serve.compress_replies,
            memory_for=self._link.draft,
            patience=Patience(max_age=serve.max_age, age_grace=serve.age_grace),
            on_left=self._on_left,
        )
        self._remote = remote
        self._loop.add_reader(self._door, self._take)
        self._link.send(Ready(connections_that_fit(_SPARE)))

    def _take(self) -> None:
        """Take the connections that lie at the door."""
        assert self._transport is not None
        for _ in range(_AT_ONCE):
            try:
                told, descriptors, _, _ = socket.recv_fds(self._door, 1, 1, _CLOSE_ON_EXEC)
            except BlockingIOError:
                return
            if not told:  # the main process is gone, which the link tells too
                self._shut_door()
                return
            self._taken += 1
            if not descriptors:
                logger.error("a connection is lost: there is no descriptor left for it")
                self._on_left()
                continue
            accepted = socket.socket(fileno=descriptors[0])
            accepted.setblocking(False)
            self._transport.adopt(accepted, self._context)

    def _on_left(self) -> None:
        if not self._telling:
            self._telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        assert self._transport is not None
        assert self._link is not None
        self._telling = False
        left = self._taken - self._transport.connections
        if left > self._left:
            self._left = left
            self._link.send(Left(left))

    def _shut_door(self) -> None:
        self._loop.remove_reader(self._door)
        self._door.close()

    async def _drain(self, grace: float) -> None:
        assert self._transport is not None
        assert self._link is not None
        self._take()
        self._shut_door()
        await self._transport.drain(grace)
        self._link.close()


async def serve(end: socket.socket, door: socket.socket, shared: Shared | None) -> int:
    """Serve; return the process's exit code."""
    child = _Child(door)
    await IngressLink.open(end, child, shared, child.attach)
    await child.closed
    return 0


def _status_of(error: CallError) -> tuple[int, str, bytes]:
    # What the main process fails calls with comes as a status. This is for bugs in this one.
    return StatusCode.INTERNAL, error.message, b""


def main(argv: list[str]) -> int:
    """Take over what the main process has made, and serve until the link closes.

    Args:
        argv: the main process's id, and descriptors: the link's socket, the door's, and memory for long payloads to us
            and from us if there is some.
    """
    parent, link_end, door_end, *payloads = map(int, argv)
    if not die_with_parent(signal.SIGKILL, parent):
        return EXIT_ORPHANED
    keep_freed_memory()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they reach whole groups; the main process says when to end
    start_log(Log())
    end, door = socket.socket(fileno=link_end), socket.socket(fileno=door_end)
    for each in (end, door):
        each.setblocking(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(end, door, open_pair(*payloads) if payloads else None))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
