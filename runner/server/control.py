"""The control socket: how somebody on this machine tells a running server to serve another version.

A Unix socket in a directory of the server's user, which nobody else can enter; the kernel says who is at the other
end, and only that user and root are listened to. So there is no key to keep, nothing to reach over the network, and
the answer comes back: what took over, or why it did not. One request a connection, a line of JSON each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import struct
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast

from runner.errors import ConfigError, LoadError, RunnerError

logger = logging.getLogger("runner.server")

Request: TypeAlias = Mapping[str, object]
Answer: TypeAlias = Mapping[str, object]

MAX_LINE_BYTES: Final = 64 * 1024
"""A request is two short texts, and an answer may bring a traceback."""

MAX_REQUESTS: Final = 16
"""Requests that wait for their answers. They are carried out one by one."""

_PATIENCE: Final = 5.0
"""seconds for the request to come, once somebody has connected."""

_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group


def socket_path(host: str, port: int) -> Path:
    """Return where the server that listens there has its control socket.

    `$XDG_RUNTIME_DIR/runner` if there is such a directory, else one of this user's own in the directory for temporary
    files.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        directory = Path(runtime) / "runner"
    else:
        directory = Path(tempfile.gettempdir()) / f"runner-{os.getuid()}"
    # A host may be the path of a socket.
    return directory / f"{host.strip('[]').replace('/', '_') or 'any'}_{port}.sock"


@contextlib.asynccontextmanager
async def control_socket(path: Path, answer: Callable[[Request], Awaitable[Answer]]) -> AsyncGenerator[None]:
    """Answer requests for as long as the block lasts.

    Args:
        path: from `socket_path`. A socket that was left there is replaced: whoever listens on the same port is this
            server.
        answer: returns the answer to a request, or raises `ConfigError` or `LoadError`.

    Raises:
        OSError: the directory belongs to somebody else or can be entered by others, or the socket cannot be made.
    """
    _make_way(path)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(handlers) >= MAX_REQUESTS:
            writer.close()
            return
        task = cast(asyncio.Task[None], asyncio.current_task())
        handlers.add(task)
        task.add_done_callback(handlers.discard)
        try:
            await _serve(reader, writer, answer)
        except asyncio.CancelledError:
            pass  # the server is going, and says nothing more
        finally:
            writer.close()

    server = await asyncio.start_unix_server(handle, path, limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        _remove(path)


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Request], Awaitable[Answer]]
) -> None:
    peer = cast(socket.socket, writer.get_extra_info("socket"))
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user not in (os.getuid(), 0):
        logger.warning("user %d is not listened to on the control socket", user)
        return
    try:
        async with asyncio.timeout(_PATIENCE):
            line = await reader.readline()
        request: object = json.loads(line)
    except (TimeoutError, ValueError, RecursionError, ConnectionError):
        return  # nobody who knows how to ask
    if not isinstance(request, dict):
        return
    try:
        told = {"done": await answer(cast(Request, request))}
    except (ConfigError, LoadError) as exc:
        told = {"error": str(exc), "details": getattr(exc, "details", "")[-MAX_LINE_BYTES // 2 :]}
    with contextlib.suppress(ConnectionError):
        writer.write(json.dumps(told).encode() + b"\n")
        await writer.drain()


def ask(path: Path, request: Request, timeout: float | None = None) -> Answer:
    """Ask a server on this machine; wait for its answer.

    Args:
        path: from `socket_path`.
        request: what to do.
        timeout: seconds; None: loading a model takes as long as it takes.

    Raises:
        LoadError: the server says that it did not work, and why.
        RunnerError: nobody answers there.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline(2 * MAX_LINE_BYTES)
        except OSError as exc:
            raise RunnerError(
                f"no server of this user answers at {path} ({exc.strerror or exc}); it is named after the host and "
                "port that the server was told to listen on"
            ) from None
    if not line:
        raise RunnerError(f"the server at {path} went away without an answer")
    told = cast("dict[str, object]", json.loads(line))
    if "error" in told:
        raise LoadError(str(told["error"]), details=str(told.get("details", "")))
    return cast(Answer, told["done"])


def _make_way(path: Path) -> None:
    """Make a directory that only this user can enter, refuse one that somebody else has put there; empty the place."""
    directory = path.parent
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} is not a directory that only this user can enter")
    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
