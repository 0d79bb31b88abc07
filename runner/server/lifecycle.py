"""The life of a server: listen, load, serve, drain, exit.

listening      the port answers at once; health says NOT_SERVING, and calls wait within their bounds
serving        every replica was ready; the line `serving <model> on <host>:<port>` went to stdout
draining       SIGTERM or Ctrl-C: NOT_SERVING first, while calls are still taken for `drain_delay_ms`; then no new
               ones, and those in flight have `grace_ms` to end
exit           0 after a drain, and also while loading; `EXIT_CONFIG` if the configuration is wrong,
               `EXIT_CANNOT_LOAD` if the model cannot be loaded, `EXIT_CANNOT_LISTEN` if the port cannot be had;
               a second signal ends it at once, `EXIT_FORCED`
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from runner.config import ServerConfig
from runner.engine import Engine
from runner.errors import ConfigError, LoadError
from runner.execution.loading import find_model_file, load_class
from runner.server.assembly import build_engine, build_keyring, build_service, inline_host, process_host
from runner.server.health import Health
from runner.server.reflection import reflection_handlers
from runner.server.transport_grpcio import ServiceHandlers, create_server

if TYPE_CHECKING:
    import grpc.aio

logger = logging.getLogger("runner.server")

EXIT_CONFIG = 2
EXIT_CANNOT_LOAD = 3
EXIT_CANNOT_LISTEN = 4
EXIT_FORCED = 130

_FAREWELL = 0.25
"""seconds in which the last answers leave after the last call has ended."""


def run(model_dir: Path, config: ServerConfig, *, inline: bool = False) -> int:
    """Serve a model directory until told to stop; return the process's exit code.

    Args:
        model_dir: holds `model.py`.
        config: the whole configuration.
        inline: run the model in this process, where breakpoints work.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(model_dir, config, inline=inline))


async def _serve(model_dir: Path, config: ServerConfig, *, inline: bool) -> int:
    stop = _Stop()
    try:
        find_model_file(model_dir)
        host_for = inline_host(lambda: load_class(model_dir)) if inline else process_host
        engine = build_engine(config, model_dir, host_for)
        keyring = build_keyring(config)
        # Before any worker is started: a model that tells what it finds in its environment tells no key.
        keyring.withdraw_from(os.environ)
        service = build_service(config, engine, keyring)
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD)
    except ConfigError as exc:
        return _give_up(str(exc), EXIT_CONFIG)
    health = Health()
    handlers = ServiceHandlers(service, hide_model_errors=config.hide_model_errors)
    server = create_server(
        [handlers, *health.handlers(), *reflection_handlers()], max_message_bytes=config.listen.max_message_bytes
    )
    address = f"{config.listen.host}:{config.listen.port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        return _give_up(
            f"cannot listen on {address}: the port is taken (--port 0 finds a free one), or the host is not an "
            "address of this machine",
            EXIT_CANNOT_LISTEN,
        )
    await server.start()
    _warn_of_strangers(config)
    try:
        async with engine:
            if not await _started(engine, stop):
                return 0
            engine.follow_ready(lambda ready: health.set_serving(ready and not stop.asked))
            print(f"serving {config.model.id} on {config.listen.host}:{port}", flush=True)
            await stop.wait()
            health.set_serving(False)
            await asyncio.sleep(config.drain.delay)
            await _drain(server, handlers, config.drain.grace)
            return 0
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD, exc.details)
    finally:
        health.set_serving(False)
        await server.stop(None)


async def _started(engine: Engine, stop: _Stop) -> bool:
    """Wait for the replicas; return False if the server was told to stop meanwhile. Raises `LoadError`."""
    started = asyncio.get_running_loop().create_task(engine.started())
    stopped = asyncio.get_running_loop().create_task(stop.wait())
    try:
        await asyncio.wait((started, stopped), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            await started
        return started.done()
    finally:
        for task in (started, stopped):
            task.cancel()


async def _drain(server: grpc.aio.Server, handlers: ServiceHandlers, grace: float) -> None:
    """Take no more calls, and let those in flight end, for `grace` seconds at most."""
    # This sends GOAWAY at once. It would wait for watchers of health too, which never leave by themselves.
    stopping = asyncio.get_running_loop().create_task(server.stop(grace))
    try:
        async with asyncio.timeout(grace):
            await handlers.idle()
    except TimeoutError:
        logger.warning("%d calls did not end within the grace of %g s and are cancelled", handlers.active, grace)
    await server.stop(_FAREWELL)
    await stopping


def _warn_of_strangers(config: ServerConfig) -> None:
    if config.listen.host in ("127.0.0.1", "localhost", "::1", "[::1]"):
        return
    if not config.access.keys and config.access.keys_file is None:
        logger.warning(
            "listening on %s without keys: whoever reaches the port may call the model; `keys` in the configuration "
            "lists who may",
            config.listen.host,
        )


class _Stop:
    """SIGTERM or Ctrl-C: the first asks for a drain, the second ends the process."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask)

    @property
    def asked(self) -> bool:
        """True after the first signal."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    def _ask(self) -> None:
        if self._asked.is_set():
            os._exit(EXIT_FORCED)
        self._asked.set()


def _give_up(message: str, code: int, details: str = "") -> int:
    print(f"runner: {message}", file=sys.stderr, flush=True)
    if details:
        print(details, file=sys.stderr, flush=True)
    return code
