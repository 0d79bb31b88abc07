"""`serve`: a model behind the real service, for as long as a `with` block lasts."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

from runner.client import AsyncModel, Model
from runner.config import load_server_config
from runner.model import ModelClass
from runner.testing.inline_server import InlineServer
from runner.testing.memory import AsyncMemoryTransport, MemoryTransport
from runner.testing.model_directory import FILE_MODULE, write_model_directory
from runner.testing.server_process import ServerProcess

__all__ = ["Serving", "serve"]


def serve(
    model: type[ModelClass] | str | os.PathLike[str],
    /,
    *,
    workers: bool = False,
    start_timeout: float = 120.0,
    **config: object,
) -> Serving:
    """Serve a model while a `with` block lasts, and hand out a client for it.

    `with serve(Hello) as model:` gives a `Model`, `async with serve(Hello) as model:` an `AsyncModel`. Calls go
    through the whole service: arguments are checked, encoded and decoded as for a caller far away.

    Args:
        model: a class, or a directory with `model.py`.
        workers: False: everything happens in this process, without a port, and breakpoints work. True: a server
            process on a free port, with workers of its own; nothing that this process has patched is seen there.
        start_timeout: with workers, the seconds that loading may take.
        config: settings by the keys of `config.yaml`, such as `replicas=2`; they win over the directory's own.

    Raises:
        LoadError: where the block is entered: the model cannot be loaded.
        ConfigError: likewise: a setting is wrong.
        ValueError: a class that no other process can import, with workers.
        TypeError: at once: what is to be served is neither.
        RuntimeError: at once: in a worker that is importing the file.
    """
    if FILE_MODULE in sys.modules:
        raise RuntimeError(
            "a worker imports this file to serve its model, and the file serves it again; put that under "
            '`if __name__ == "__main__":`, or into a test'
        )
    source = _source(model)
    return Serving(source, workers=workers, start_timeout=start_timeout, config=config)


def _source(model: object) -> type[ModelClass] | Path:
    if isinstance(model, type) and issubclass(model, ModelClass):
        return model
    if isinstance(model, str | os.PathLike):
        return Path(cast("str | os.PathLike[str]", model))
    given = cast(object, model)
    what = f"an instance of {type(given).__name__}; give the class" if isinstance(given, ModelClass) else repr(given)
    raise TypeError(f"serve: needs a subclass of ModelClass or the directory of a model, got {what}")


@dataclass(frozen=True, slots=True)
class _Server:
    """What was started: a process to connect to, or a server in this one."""

    process: ServerProcess | None = None
    inline: InlineServer | None = None

    def client(self) -> Model:
        if self.inline is not None:
            return Model.over(MemoryTransport(self.inline))
        return Model(base_url=self._base_url())

    def async_client(self) -> AsyncModel:
        if self.inline is not None:
            return AsyncModel.over(AsyncMemoryTransport(self.inline))
        return AsyncModel(base_url=self._base_url())

    def _base_url(self) -> str:
        assert self.process is not None
        return self.process.base_url


class Serving:
    """What `serve` returns: a context manager of both kinds, to be entered once."""

    def __init__(
        self,
        model: type[ModelClass] | Path,
        *,
        workers: bool,
        start_timeout: float,
        config: Mapping[str, object],
    ) -> None:
        self._model = model
        self._workers = workers
        self._start_timeout = start_timeout
        self._config = config
        self._stack = ExitStack()
        self._async_client: AsyncModel | None = None

    def __enter__(self) -> Model:
        return self._stack.enter_context(self._start().client())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    async def __aenter__(self) -> AsyncModel:
        server = await asyncio.to_thread(self._start)
        self._async_client = server.async_client()
        return self._async_client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._async_client is not None:
            await self._async_client.aclose()
        await asyncio.to_thread(self._stack.close)

    def _start(self) -> _Server:
        model_dir = self._model if isinstance(self._model, Path) else None
        # Also with workers: a wrong setting is told at once, and in this process.
        config = load_server_config(None, self._config, model_dir=model_dir)
        if not self._workers:
            inline = InlineServer.start(self._model, config)
            self._stack.callback(inline.close)
            return _Server(inline=inline)
        with ExitStack() as starting:
            directory = Path(starting.enter_context(tempfile.TemporaryDirectory(prefix="runner-testing-")))
            if not isinstance(self._model, Path):
                model_dir = directory / self._model.__name__.lower()
                model_dir.mkdir()
                write_model_directory(self._model, model_dir)
            assert model_dir is not None
            process = ServerProcess.start(model_dir, self._config, directory, self._start_timeout)
            starting.callback(process.close)
            self._stack = starting.pop_all()
            return _Server(process=process)
