"""The life of a server: listen, load, serve, drain, exit.

listening      the port answers at once; health says NOT_SERVING, and calls wait within their bounds
serving        every replica was ready; the line `serving <model> on <host>:<port>` went to stdout
draining       SIGTERM or Ctrl-C: NOT_SERVING first, while calls are still taken for `drain_delay_ms`; then no new
               ones, and those in flight have `grace_ms` to end
exit           0 after a drain, and also while loading; `EXIT_CONFIG` if the configuration is wrong,
               `EXIT_CANNOT_LOAD` if the model cannot be loaded, `EXIT_CANNOT_LISTEN` if the port cannot be had;
               a second signal ends it at once, `EXIT_FORCED` of `signals.py`

While it serves, the model may be replaced: see `replacement.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import uvloop

from runner.allocator import keep_freed_memory
from runner.config import Drain, ServerConfig
from runner.engine import Engine
from runner.errors import ConfigError, LoadError
from runner.execution.loading import find_model_file, load_class
from runner.execution.undeterred import run_undeterred
from runner.logs import start_log
from runner.server.announcement import announce
from runner.server.assembly import (
    build_catalog,
    build_engine,
    build_keyring,
    build_service,
    build_transport,
    inline_host,
    process_host,
)
from runner.server.certificates import Certificates
from runner.server.control import control_socket, socket_path
from runner.server.fitness import Fitness
from runner.server.health import Health
from runner.server.http_app import HttpApp
from runner.server.http_endpoint import HttpEndpoint
from runner.server.ingress.transport import IngressTransport
from runner.server.reflection import reflection_rpcs
from runner.server.replacement import Replacement
from runner.server.service_rpcs import service_rpcs
from runner.server.signals import Signals
from runner.server.watched_directory import WatchedDirectory

logger = logging.getLogger("runner.server")

EXIT_CONFIG = 2
EXIT_CANNOT_LOAD = 3
EXIT_CANNOT_LISTEN = 4

_LAST_WORDS = 1.0
"""seconds in which calls that were cancelled at the end of the grace may stop: generators are closed, and what a model
does in `finally` runs. Code that blocks does not keep the server."""


Configure = Callable[[Path], ServerConfig]
"""Reads the configuration, with that of a model directory."""


def run(model_dir: Path, configure: Configure, *, inline: bool = False, reload: bool = False) -> int:
    """Serve a model directory until told to stop; return the process's exit code.

    Args:
        model_dir: holds `model.py`.
        configure: reads the whole configuration; called again when the model is replaced.
        inline: run the model in this process, where breakpoints work; it cannot be replaced there.
        reload: replace the model when its source changes.

    Raises:
        ConfigError: the configuration is wrong.
    """
    config = configure(model_dir)
    if inline and reload:
        raise ConfigError("--inline and --reload: a model that runs in the server's own process cannot be replaced")
    if reload:
        # Python takes a compiled file for current if the source has the same size and second of change.
        os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    start_log(config.log)
    keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        main = _serve(model_dir, config, configure, inline=inline, reload=reload)
        return run_undeterred(runner.get_loop(), main) if inline else runner.run(main)


async def _serve(model_dir: Path, config: ServerConfig, configure: Configure, *, inline: bool, reload: bool) -> int:
    signals = Signals()
    try:
        find_model_file(model_dir)
        keyring = build_keyring(config)
        host_for = inline_host(lambda: load_class(model_dir)) if inline else process_host(config, keyring)
        engine = build_engine(config, model_dir, host_for)
        catalog = build_catalog(config)
        service = build_service(config, engine, keyring, catalog)
        certificates = Certificates(config.tls) if config.tls else None
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD)
    except ConfigError as exc:
        return _give_up(str(exc), EXIT_CONFIG)
    if config.listen.ingress and config.listen.transport != "native":
        return _give_up("ingress: needs the native transport, and transport is grpcio", EXIT_CONFIG)
    fitness = Fitness()
    rpcs = {**service_rpcs(service), **Health(fitness).rpcs(), **reflection_rpcs()}
    transport = build_transport(config, rpcs, HttpApp(fitness), keyring, engine)
    try:
        port = await transport.listen(config.listen.host, config.listen.port, certificates)
    except OSError as exc:
        where = _place(config.listen.host, config.listen.port)
        return _give_up(f"cannot listen on {where}: {_why_not(exc)}", EXIT_CANNOT_LISTEN)
    # Metrics are for the port of probes alone: whoever reaches the other one may have no key.
    ingress = transport.statistics if isinstance(transport, IngressTransport) else None
    http = HttpEndpoint(HttpApp(fitness, engine.statistics, ingress))
    if config.listen.http_port is not None:
        # Beside a socket in the file system, for this machine.
        http_host = "127.0.0.1" if config.listen.host.startswith("unix:") else config.listen.host
        try:
            http_port = await http.listen(http_host, config.listen.http_port)
        except OSError as exc:
            await transport.close()
            where = _place(http_host, config.listen.http_port)
            return _give_up(f"cannot listen for HTTP on {where}: {_why_not(exc)}", EXIT_CANNOT_LISTEN)
        logger.info("/livez, /readyz, /startupz and /metrics are on http://%s:%d", http_host, http_port)
    _warn_of_strangers(config)
    where = _place(config.listen.host, port)
    logger.info("loading %s on %s; calls to %s wait for it", config.model.id, _labels(engine), where)
    try:
        async with engine:
            if not await _started(engine, signals):
                return 0
            engine.follow_ready(fitness.set_ready)
            async with contextlib.AsyncExitStack() as stack:
                if not inline:
                    replacement = Replacement(engine, catalog, model_dir, configure, grace=config.drain.grace)
                    await _let_replace(stack, replacement, signals, socket_path(config.listen.host, port))
                    if reload:
                        _watch(stack, replacement, model_dir)
                announce(f"serving {config.model.id} on {where}")
                await signals.wait()
                fitness.drain()
            _say_goodbye(engine, config.drain)
            await asyncio.sleep(config.drain.delay)
            await transport.drain(config.drain.grace)
            await engine.quiet(_LAST_WORDS)
            return 0
    except LoadError as exc:
        return _give_up(str(exc), EXIT_CANNOT_LOAD, exc.details)
    finally:
        fitness.drain()
        await transport.close()
        await http.close()


async def _let_replace(
    stack: contextlib.AsyncExitStack, replacement: Replacement, signals: Signals, path: Path
) -> None:
    """Have the model replaced by SIGHUP and by the control socket, until the stack is unwound."""
    stack.push_async_callback(replacement.close)
    signals.on_hangup(replacement.request)
    try:
        await stack.enter_async_context(control_socket(path, replacement.answer))
    except OSError as exc:
        logger.warning("there is no control socket, so that `runner swap` finds nobody: %s", exc)


def _watch(stack: contextlib.AsyncExitStack, replacement: Replacement, model_dir: Path) -> None:
    """Have the model replaced when its source changes, until the stack is unwound."""
    try:
        stack.enter_context(WatchedDirectory(model_dir, replacement.request))
    except OSError as exc:  # as a rule, this user watches as much as it may
        logger.warning("changes of %s are not seen, and the model stays as it is: %s", model_dir, exc)


async def _started(engine: Engine, signals: Signals) -> bool:
    """Wait for the replicas; return False if the server was told to stop meanwhile. Raises `LoadError`."""
    started = asyncio.get_running_loop().create_task(engine.started())
    stopped = asyncio.get_running_loop().create_task(signals.wait())
    try:
        await asyncio.wait((started, stopped), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            await started
        return started.done()
    finally:
        for task in (started, stopped):
            task.cancel()


def _warn_of_strangers(config: ServerConfig) -> None:
    if config.listen.host in ("127.0.0.1", "localhost", "::1", "[::1]") or config.listen.host.startswith("unix:"):
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


def _place(host: str, port: int) -> str:
    return host if host.startswith("unix:") else f"{host}:{port}"


def _why_not(exc: OSError) -> str:
    """Return why a port cannot be had, and what to do."""
    if isinstance(exc, socket.gaierror):
        return "the host is not known"
    match exc.errno:
        case errno.EADDRINUSE:
            return "it is taken, by another server perhaps; another --port may be free, and --port 0 finds one"
        case errno.EADDRNOTAVAIL:
            return "the host is not an address of this machine"
        case None:  # grpcio does not say
            return "it is taken (--port 0 finds a free one), or the host is not an address of this machine"
        case _:
            return exc.strerror or str(exc)


def _labels(engine: Engine) -> str:
    return ", ".join(
        label if count == 1 else f"{label} ({count} workers)"
        for label, count in Counter(place.label for place in engine.places).items()
    )


def _say_goodbye(engine: Engine, drain: Drain) -> None:
    """Say why the server does not end at once, to whoever has just pressed Ctrl-C."""
    record = engine.statistics()
    calls = record.waiting_calls + sum(replica.running for replica in record.replicas)
    if calls or drain.delay:
        delay = f"calls are taken for {drain.delay:g} s more; " if drain.delay else ""
        logger.info(
            "stopping: %s%d calls in flight have %g s to end, and a second signal ends the server at once",
            delay,
            calls,
            drain.grace,
        )


def _give_up(message: str, code: int, details: str = "") -> int:
    print(f"runner: {message}", file=sys.stderr, flush=True)
    if details:
        print(details, file=sys.stderr, flush=True)
    return code
