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

import uvloop

from runner.allocator import keep_freed_memory
from runner.config import ServerConfig
from runner.engine import Engine
from runner.errors import ConfigError, LoadError
from runner.execution.loading import find_model_file, load_class
from runner.server.assembly import build_engine, build_keyring, build_service, inline_host, process_host
from runner.server.certificates import Certificates
from runner.server.health import Health
from runner.server.reflection import reflection_rpcs
from runner.server.rpcs import service_rpcs
from runner.server.transport import Transport
from runner.server.transport_grpcio import GrpcioTransport

logger = logging.getLogger("runner.server")

EXIT_CONFIG = 2
EXIT_CANNOT_LOAD = 3
EXIT_CANNOT_LISTEN = 4
EXIT_FORCED = 130

_LAST_WORDS = 1.0
"""seconds in which calls that were cancelled at the end of the grace may stop: generators are closed, and what a model
does in `finally` runs. Code that blocks does not keep the server."""


def run(model_dir: Path, config: ServerConfig, *, inline: bool = False) -> int:
    """Serve a model directory until told to stop; return the process's exit code.

    Args:
        model_dir: holds `model.py`.
        config: the whole configuration.
        inline: run the model in this process, where breakpoints work.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keep_freed_memory()
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
        certificates = Certificates(config.tls) if config.tls else None
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD)
    except ConfigError as exc:
        return _give_up(str(exc), EXIT_CONFIG)
    health = Health()
    transport: Transport = GrpcioTransport(
        {**service_rpcs(service), **health.rpcs(), **reflection_rpcs()},
        max_message_bytes=config.listen.max_message_bytes,
        hide_model_errors=config.hide_model_errors,
    )
    try:
        port = await transport.listen(config.listen.host, config.listen.port, certificates)
    except OSError:
        return _give_up(
            f"cannot listen on {config.listen.host}:{config.listen.port}: the port is taken (--port 0 finds a free "
            "one), or the host is not an address of this machine",
            EXIT_CANNOT_LISTEN,
        )
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
            await transport.drain(config.drain.grace)
            await engine.quiet(_LAST_WORDS)
            return 0
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD, exc.details)
    finally:
        health.set_serving(False)
        await transport.close()


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


def _warn_of_strangers(config: ServerConfig) -> None:
    if config.listen.host in ("127.0.0.1", "localhost", "::1", "[::1]"):
        return
    if not config.access.keys and config.access.keys_file is None and config.tls.client_ca is None:
        logger.warning(
            "listening on %s without keys: whoever reaches the port may call the model; `keys` in the configuration "
            "lists who may",
            config.listen.host,
        )
    if not config.tls:
        logger.warning(
            "listening on %s without TLS: whoever is on the way reads calls and keys; set `tls` in the configuration, "
            "unless a proxy in front of this server encrypts",
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
