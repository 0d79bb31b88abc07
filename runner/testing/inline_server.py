"""A service in this process, on an event loop in a thread of its own: no port, no gRPC, and breakpoints work."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from runner.config import ServerConfig
from runner.execution.loading import load_class
from runner.execution.undeterred import run_undeterred
from runner.model import ModelClass
from runner.server.assembly import build_catalog, build_engine, build_keyring, build_service, inline_host
from runner.server.service import Service

__all__ = ["InlineServer"]


class InlineServer:
    """Loads a model and serves it until it is closed.

    Args:
        model: a class, or a directory with `model.py`.
        config: the server's.
    """

    def __init__(self, model: type[ModelClass] | Path, config: ServerConfig) -> None:
        self._model = model
        self.config = config
        self._ready: Future[tuple[Service, asyncio.AbstractEventLoop]] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="runner.testing: server", daemon=True)

    @classmethod
    def start(cls, model: type[ModelClass] | Path, config: ServerConfig) -> Self:
        """Start a server and wait until the model is loaded.

        Raises:
            LoadError: it cannot be.
        """
        server = cls(model, config)
        server._thread.start()
        server._ready.result()
        return server

    @property
    def service(self) -> Service:
        """The service; its methods are called on `loop`."""
        return self._ready.result()[0]

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the service runs on."""
        return self._ready.result()[1]

    def close(self) -> None:
        """Stop the model's calls, and wait until the thread has ended."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                run_undeterred(runner.get_loop(), self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        engine = build_engine(self.config, None, inline_host(self._load))
        async with engine:
            await engine.started()
            self._ready.set_result(
                (
                    build_service(self.config, engine, build_keyring(self.config), build_catalog(self.config)),
                    asyncio.get_running_loop(),
                )
            )
            await self._stop.wait()

    def _load(self) -> type[ModelClass]:
        return load_class(self._model) if isinstance(self._model, Path) else self._model
