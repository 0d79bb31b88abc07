"""The transport of a server with ingress processes: they carry the bytes, the RPCs are answered here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from typing import Final, cast

from runner.dispatch.backoff import restart_delay
from runner.logs import Log
from runner.server.certificates import Certificates
from runner.server.ingress.answers import Answers
from runner.server.ingress.door import Door
from runner.server.ingress.messages import Message, RpcKind, Serve
from runner.server.ingress.process import IngressProcess
from runner.server.native.sockets import inherited_sockets, open_sockets
from runner.server.native.transport import MAX_CONNECTIONS, MakeHttp1
from runner.server.rpcs import BidiRpc, ClientStreamRpc, Rpc, Rpcs, ServerStreamRpc, StatusOf
from runner.statistics import IngressStatistics

logger = logging.getLogger("runner.server")

_BEAT_SECONDS: Final = 5.0
"""between two questions whether a process still turns its loop."""

_FAREWELL: Final = 2.0
"""seconds beyond the grace that a process may take to drain before it is ended."""


class IngressTransport:
    """See `Transport`. Starts the processes, starts others for those that die, and gives each its connections.

    Args:
        count: how many there are.
        rpcs: what is served.
        status_of: says how an error of ours is told.
        http1: makes the protocol of a connection that speaks HTTP/1.1.
        serve: what each is told, but for the RPCs.
        environment: variables of theirs.
        shared_bytes: of memory for long payloads that each shares with us, in each direction.
        reuse_port: share the port with other servers.
        log: what they log, and how.
    """

    def __init__(
        self,
        count: int,
        rpcs: Rpcs,
        *,
        status_of: StatusOf,
        http1: MakeHttp1,
        max_message_bytes: int,
        compress_replies: bool = False,
        max_age: float = 0.0,
        age_grace: float = 0.0,
        environment: Mapping[str, str] | None = None,
        shared_bytes: int = 0,
        reuse_port: bool = False,
        log: Log | None = None,
    ) -> None:
        self._count = count
        self._rpcs = rpcs
        self._status_of = status_of
        self._http1 = http1
        log = log or Log()
        self._serve = Serve(
            rpcs=tuple(kind_of(path, rpc) for path, rpc in rpcs.items()),
            max_message_bytes=max_message_bytes,
            compress_replies=compress_replies,
            max_age=max_age,
            age_grace=age_grace,
            log_level=log.level,
            log_format=log.format,
        )
        self._environment = dict(os.environ) if environment is None else environment
        self._shared_bytes = shared_bytes
        self._reuse_port = reuse_port
        self._loop = asyncio.get_running_loop()
        self._door: Door | None = None
        self._certificates: Certificates | None = None
        self._living: set[IngressProcess] = set()
        self._waited_for: set[IngressProcess] = set()  # those that are to take other connections first
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._beats: asyncio.TimerHandle | None = None
        self._restarts = 0
        self._turn = itertools.count(1)

    async def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """See `Transport`."""
        self._certificates = certificates
        sockets = inherited_sockets(os.environ) or open_sockets(host, port, reuse_port=self._reuse_port)
        name = cast("tuple[str, int] | str", sockets[0].getsockname())
        self._door = Door(sockets, self._give)
        self._beats = self._loop.call_later(_BEAT_SECONDS, self._beat)
        self._keepers = [self._loop.create_task(self._keep()) for _ in range(self._count)]
        return name[1] if isinstance(name, tuple) else 0

    async def drain(self, grace: float) -> None:
        """See `Transport`."""
        self._stop_listening()
        self._stopping.set()
        for ingress in self._living:
            ingress.drain(grace)
        if self._keepers:
            _, stuck = await asyncio.wait(self._keepers, timeout=grace + _FAREWELL)
            if stuck:
                logger.error("%d ingress processes did not end with their grace, and are killed", len(stuck))
        await self.close()

    async def close(self) -> None:
        """See `Transport`."""
        self._stop_listening()
        if self._beats is not None:
            self._beats.cancel()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()

    def statistics(self) -> IngressStatistics:
        """Return how the processes are."""
        return IngressStatistics(
            processes=sum(each.ready for each in self._living),
            connections=sum(each.connections for each in self._living),
            restarts_total=self._restarts,
        )

    async def _keep(self) -> None:
        """Keep one process alive."""
        deaths = 0  # in a row, of processes that had brought nothing
        while True:
            how, ingress = "cannot be started", None
            try:
                self._renew()
                ingress = await IngressProcess.start(
                    self._serve, self._certificates, self._answers, self._room, self._environment, self._shared_bytes
                )
                self._living.add(ingress)
                if self._stopping.is_set():
                    return
                how = await ingress.ended()
            except OSError as exc:
                how = f"cannot be started: {exc}"
            finally:
                if ingress is not None:
                    self._gone(ingress)
                    await ingress.stop()
            if self._stopping.is_set():
                return
            self._restarts += 1
            self._room()
            deaths = 0 if ingress is not None and ingress.answered else deaths + 1
            words = "" if ingress is None else ingress.last_words
            logger.error(
                "an ingress process %s, and another is started%s%s",
                how,
                "" if any(each.ready for each in self._living) else "; until one is ready, clients wait",
                f"; it said:\n{words}" if words else "",
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(restart_delay(deaths, random.random())):
                    await self._stopping.wait()
                    return

    def _beat(self) -> None:
        for ingress in self._living:
            ingress.beat()
        self._beats = self._loop.call_later(_BEAT_SECONDS, self._beat)

    def _answers(self, send: Callable[[Message], None]) -> Answers:
        return Answers(self._rpcs, self._status_of, self._http1, send)

    def _room(self) -> None:
        # Nobody is let in before all are there: who comes early would stay with the first. Where one does not come to
        # life, the others go without it.
        ready = sum(each.ready for each in self._living)
        if self._door is not None and (ready == self._count or (ready and self._restarts)):
            self._door.open()

    def _gone(self, ingress: IngressProcess) -> None:
        self._living.discard(ingress)
        self._wait_no_more(ingress)
        if self._door is not None and not any(each.ready for each in self._living):
            self._door.pause()

    def _renew(self) -> None:
        pem = None if self._certificates is None else self._certificates.renewed()
        if pem is not None:
            for ingress in self._living:
                ingress.encrypt(pem)

    def _give(self, accepted: socket.socket) -> bool:
        self._renew()
        # Of those with equally many, the one whose turn was longest ago.
        ready = sorted((each for each in self._living if each.ready), key=lambda each: (each.connections, each.turn))
        if sum(each.connections for each in self._living) >= MAX_CONNECTIONS:
            return True  # which closes it
        for ingress in ready:
            try:
                if ingress.give(accepted):
                    ingress.turn = next(self._turn)
                    return True
            except OSError:
                continue  # it is dying, and its keeper will hear of it
            if ingress.connections < ingress.room:
                self._wait_for(ingress)
        return False  # one that loses a connection says so

    def _wait_for(self, ingress: IngressProcess) -> None:
        if ingress not in self._waited_for:
            self._waited_for.add(ingress)
            self._loop.add_writer(ingress.door, self._has_room, ingress)

    def _wait_no_more(self, ingress: IngressProcess) -> None:
        if ingress in self._waited_for:
            self._waited_for.discard(ingress)
            self._loop.remove_writer(ingress.door)

    def _has_room(self, ingress: IngressProcess) -> None:
        self._wait_no_more(ingress)
        self._room()

    def _stop_listening(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    def __repr__(self) -> str:
        return f"<IngressTransport {self._living!r}>"


def kind_of(path: str, rpc: Rpc) -> RpcKind:
    """Return what an ingress process is told of an RPC."""
    return RpcKind(
        path,
        requests=isinstance(rpc, BidiRpc | ClientStreamRpc),
        replies=isinstance(rpc, BidiRpc | ServerStreamRpc),
        lasting=isinstance(rpc, BidiRpc | ServerStreamRpc) and rpc.lasting,
        times=rpc.times,
    )
