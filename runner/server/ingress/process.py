"""One ingress process as the main process sees it: its life, the link to it, and what it is doing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from runner.processes.child_process import ChildProcess, socket_pair
from runner.processes.shared import create_pair
from runner.server.certificates import Certificates, Pem
from runner.server.ingress.answers import Answers
from runner.server.ingress.door import hand_over
from runner.server.ingress.link import IngressLink
from runner.server.ingress.messages import (
    Beat,
    Call,
    Cancel,
    Credit,
    Drain,
    Encrypt,
    EndInput,
    Item,
    Left,
    Message,
    Ready,
    Serve,
)

logger = logging.getLogger("runner.server")

MISSED_BEATS: Final = 3
"""Beats without an answer, after which a process counts as hung: a machine may be busy with something else for once."""

READY_SECONDS: Final = 30.0
"""until a process has to take connections. It is quick to, but there may be many, beside workers that load models."""

_LAST_MOMENT = 0.5
"""seconds in which a process ends whose link has: the kernel closes the one before it tells of the other."""

MakeAnswers = Callable[[Callable[[Message], None]], Answers]
"""Makes what answers the calls of one process, given what sends to it."""


class IngressProcess:
    """From its start to its end. When it is gone, another one takes its place."""

    def __init__(self, door: socket.socket, make_answers: MakeAnswers, on_room: Callable[[], None]) -> None:
        """Have no process yet; see `start`.

        Args:
            door: our end of the socket through which it gets connections.
            make_answers: see there.
            on_room: told when it takes connections, and when it can take more of them.
        """
        self.ready = False
        self.room = 0
        self.turn = 0  # when it got its last connection, as whoever hands them out counts
        self.door = door
        self._on_room = on_room
        self._make_answers = make_answers
        self._answers: Answers | None = None
        self._link: IngressLink | None = None
        self._process: ChildProcess | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given = 0
        self._unanswered = 0  # beats
        self._late: asyncio.TimerHandle | None = None  # goes off unless it becomes ready
        self._left = 0

    @classmethod
    async def start(
        cls,
        serve: Serve,
        certificates: Certificates | None,
        make_answers: MakeAnswers,
        on_room: Callable[[], None],
        environment: Mapping[str, str],
        shared_bytes: int,
    ) -> IngressProcess:
        """Start a process.

        The kernel ends it with the thread that this runs in: have it be the main one.

        Args:
            serve: what it is told.
            certificates: the one to encrypt with; None: it does not encrypt.
            make_answers: see there.
            on_room: told when it takes connections, and when it can take more of them.
            environment: all of its variables.
            shared_bytes: of memory for long payloads, in each direction; 0: they go over the link's socket.

        Raises:
            OSError: it cannot be started.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            end, child_end = socket_pair(ours, childs)
            door, child_door = socket_pair(ours, childs)
            descriptors = [child_end.fileno(), child_door.fileno()]
            payloads = None
            if shared_bytes and hasattr(os, "memfd_create"):
                payloads, memory = create_pair(shared_bytes)
                for descriptor in memory:
                    childs.callback(os.close, descriptor)
                descriptors += memory
            ingress = cls(door, make_answers, on_room)
            process = await ChildProcess.spawn("runner.server.ingress.child", descriptors, environment)
            ingress._process = process
            try:
                link = await IngressLink.open(end, ingress, payloads, ingress.attach)
            except BaseException:  # a cancel too: nobody else knows of the process yet
                process.kill()
                raise
            ours.pop_all()
        if certificates is not None:
            ingress.encrypt(certificates.pem)
        link.send(serve)
        ingress._late = asyncio.get_running_loop().call_later(READY_SECONDS, ingress._hangs)
        return ingress

    def attach(self, link: IngressLink) -> None:
        """Set the way to the process; done once, before anything can arrive from it."""
        self._link = link
        self._answers = self._make_answers(link.send)

    @property
    def connections(self) -> int:
        """How many it has, as far as it was told."""
        return self._given - self._left

    @property
    def answered(self) -> bool:
        """Whether it has brought a call that was answered."""
        return self._answers is not None and self._answers.answered > 0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it has written; complete after `stop`."""
        assert self._process is not None
        return self._process.last_words

    def give(self, accepted: socket.socket) -> bool:
        """Give it a connection; return False if it has no room, or has to take others first.

        Raises:
            OSError: it is gone.
        """
        if self.connections >= self.room:
            return False
        given = hand_over(accepted, self.door)
        self._given += given
        return given

    def encrypt(self, pem: Pem) -> None:
        """Have it use this certificate from now on."""
        if self._link is not None:
            self._link.send(Encrypt(*pem))

    def beat(self) -> None:
        """Ask whether it is there; end it if it did not answer when it was asked before.

        Until it is ready it is not asked: that has a time of its own.
        """
        if not self.ready or self._link is None or self._process is None:
            return
        if self._unanswered >= MISSED_BEATS:
            logger.error("an ingress process has not answered %d times, and is killed", self._unanswered)
            self._process.kill()
            return
        self._unanswered += 1
        self._link.send(Beat())

    def drain(self, grace: float) -> None:
        """Have it begin nothing new, give its calls so many seconds, and end."""
        self.ready = False
        self._expect_no_more()
        if self._link is not None:
            self._link.send(Drain(grace))

    async def ended(self) -> str:
        """Wait for its end, or that of its link; return which, in words."""
        assert self._process is not None
        dying = asyncio.get_running_loop().create_task(self._process.wait())
        try:
            await asyncio.wait((dying, self._closed), return_when=asyncio.FIRST_COMPLETED)
            self.ready = False
            await asyncio.wait((dying,), timeout=_LAST_MOMENT)
            return dying.result() if dying.done() else "has closed its link"
        finally:
            dying.cancel()

    async def stop(self) -> None:
        """End its calls and the process now. Harmless if it has ended."""
        self.ready = False
        self._expect_no_more()
        if self._link is not None:
            self._link.close()
        self.door.close()
        if self._process is not None:
            self._process.kill()
        if self._answers is not None:
            await self._answers.close()
        if self._process is not None:
            await self._process.stop()

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        answers = self._answers
        assert answers is not None
        match message:
            case Call():
                answers.begin(message)
            case Item():
                answers.item(message)
            case Credit():
                answers.grant(message)
            case EndInput():
                answers.end_input(message.id)
            case Cancel():
                answers.cancel(message.id)
            case Left():
                self._left = message.connections
                self._on_room()
            case Beat():
                self._unanswered = 0
            case Ready():
                self._expect_no_more()
                self.ready, self.room = True, message.room
                self._on_room()
            case _:
                raise ValueError(f"an ingress process does not say {type(message).__name__}")

    def on_closed(self) -> None:
        """See `link.Receiver`."""
        self.ready = False
        if not self._closed.done():
            self._closed.set_result(None)

    def _expect_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hangs(self) -> None:
        assert self._process is not None
        logger.error("an ingress process is not ready after %g s, and is killed", READY_SECONDS)
        self._process.kill()

    def __repr__(self) -> str:
        return f"<IngressProcess {self._process!r} {self.connections} connections, {self._answers!r}>"
