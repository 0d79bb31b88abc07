"""A worker inside this process, on this loop: what `--inline` and local tests use, so that breakpoints work."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable

from runner.errors import LoadError, SignatureError
from runner.execution.journal import Journal
from runner.execution.loading import load_model
from runner.model import ModelClass
from runner.workers.link import Link, MemoryLink, Receiver
from runner.workers.messages import Load, LoadFailed, Message
from runner.workers.vitals import Vitals
from runner.workers.worker import Worker


class InlineWorker:
    """Loads the model when `Load` arrives, on the loop's own thread, and serves it over a memory link."""

    def __init__(self, receiver: Receiver, model_class: Callable[[], type[ModelClass]]) -> None:
        """Make both ends of the link.

        Args:
            receiver: told what the worker says.
            model_class: returns the class to serve; called when the model is to be loaded.
        """
        self.link: Link
        self.link, self._own = MemoryLink.pair(asyncio.get_running_loop())
        self.link.connect(self)
        self._own.connect(receiver)
        self.journal = Journal()
        self.last_words = ""
        self.watched = False
        self._model_class = model_class
        self._worker: Worker | None = None
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_message(self, message: Message) -> None:
        """See `link.Receiver`."""
        if self._worker is not None:
            self._worker.on_message(message)
        elif isinstance(message, Load):
            try:
                self._worker = Worker(load_model(self._model_class(), message.device), message, self._own, self.journal)
            except (LoadError, SignatureError) as exc:
                self._fail(str(exc), getattr(exc, "details", ""))
            except Exception as exc:  # ours; there is no process that dies of it, and somebody waits
                self._fail(f"{type(exc).__name__}: {exc}", traceback.format_exc().rstrip())

    def _fail(self, message: str, details: str) -> None:
        self._own.send(LoadFailed(message, details))
        self._own.close()

    def on_closed(self) -> None:
        """See `link.Receiver`."""

    def vitals(self) -> Vitals:
        """See `engine.Host`: a process that looks at itself is alive."""
        return Vitals(stopped=False, cpu_seconds=time.process_time())

    async def wait(self) -> str:
        """See `engine.Host`."""
        return await self._ended

    async def stop(self, *, stuck: bool = False) -> None:
        """Stop every call. Threads that run the model's code cannot be ended; they are told to stop."""
        if self._worker is not None:
            await self._worker.close()
        if not self._ended.done():
            self._ended.set_result("stopped")
