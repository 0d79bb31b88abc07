"""Another version of the model in the place of the one that serves, while it serves.

The new workers load beside the old ones, in the same places; when all are ready they take over in one step. If one
cannot load or warm up, it is as if nothing had been asked. One replacement goes on at a time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from runner.config import ServerConfig
from runner.engine import Engine
from runner.errors import ConfigError, LoadError
from runner.execution.loading import find_model_file
from runner.server.assembly import successors
from runner.server.catalog import Catalog

logger = logging.getLogger("runner.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """What has taken over: the directory, the version that it says it is, and how long loading took, in seconds."""

    model_dir: Path
    version_id: str
    seconds: float


class Replacement:
    """Owns what is being served, and the replacement that goes on."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        model_dir: Path,
        configure: Callable[[Path], ServerConfig],
        *,
        grace: float,
    ) -> None:
        """Replace nothing yet.

        Args:
            engine: it has workers that can be replaced.
            catalog: told of the new version's name.
            model_dir: what is served.
            configure: reads the configuration again, with that of a model directory.
            grace: seconds that calls on the old workers have to end.
        """
        self._engine = engine
        self._catalog = catalog
        self._model_dir = model_dir
        self._configure = configure
        self._grace = grace
        self._lock = asyncio.Lock()
        self._requested: asyncio.Task[None] | None = None

    async def swap(self, model_dir: Path | None = None, version_id: str | None = None) -> Replaced:
        """Serve another directory, or the same one as it is now. Cancelling it leaves things as they are.

        Args:
            model_dir: None: the one that is served.
            version_id: what to call the version; None: what its configuration says.

        Raises:
            ConfigError: the configuration has become wrong.
            LoadError: the model cannot be loaded. Nothing has changed.
        """
        async with self._lock:
            started = time.monotonic()
            wanted = self._model_dir if model_dir is None else model_dir
            find_model_file(wanted)
            config = self._configure(wanted)
            if version_id is not None:
                config = replace(config, model=replace(config.model, version_id=version_id))
            await self._engine.replace(successors(self._engine.places, config, wanted), grace=self._grace)
            self._model_dir = wanted
            self._catalog.name_version(config.model.version_id)
            done = Replaced(model_dir=wanted, version_id=config.model.version_id, seconds=time.monotonic() - started)
        logger.info("%s, version %s, serves since it was loaded in %.1f s", wanted, done.version_id, done.seconds)
        return done

    async def answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Carry out what came over the control socket: `{"swap": {"model_dir": PATH, "version_id": ID}}`, both or null.

        Returns:
            What `Replaced` holds.

        Raises:
            ConfigError: it is something else, or the configuration has become wrong.
            LoadError: see `swap`.
        """
        asked = request.get("swap")
        if not isinstance(asked, Mapping):
            raise ConfigError("the server knows nothing of this request")
        given = cast(Mapping[str, object], asked)
        model_dir, version_id = (
            None if given.get(key) is None else str(given[key]) for key in ("model_dir", "version_id")
        )
        done = await self.swap(None if model_dir is None else Path(model_dir), version_id)
        return {"model_dir": str(done.model_dir), "version_id": done.version_id, "seconds": done.seconds}

    def request(self) -> None:
        """Have the directory that is served loaded again; stderr says how that went. A former request is given up."""
        if self._requested is not None:
            self._requested.cancel()
        self._requested = asyncio.get_running_loop().create_task(self._told())

    async def close(self) -> None:
        """Give up what goes on by request."""
        if self._requested is not None:
            self._requested.cancel()
            await asyncio.gather(self._requested, return_exceptions=True)

    async def _told(self) -> None:
        try:
            await self.swap()
        except (ConfigError, LoadError) as exc:
            print(f"runner: the model is served as it was: {exc}", file=sys.stderr, flush=True)
            if details := getattr(exc, "details", ""):
                print(details, file=sys.stderr, flush=True)
