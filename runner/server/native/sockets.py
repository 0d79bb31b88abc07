"""Sockets to listen on: of a host and a port, of a path, or handed over by systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping

_BACKLOG = 1024
"""connections that the kernel keeps until we take them."""

_FIRST_FD = 3
"""The first file descriptor that systemd hands over (sd_listen_fds)."""

UNIX = "unix:"


def open_sockets(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return listening sockets: for each address of the host, at one port.

    Args:
        host: a name or an address of this machine; `unix:PATH` is a socket in the file system, without a port.
        port: 0: a free one.
        reuse_port: share it with other processes that do so too; the kernel spreads connections over them.

    Raises:
        OSError: the port or the path cannot be had.
    """
    if host.startswith(UNIX):
        return [_unix(host.removeprefix(UNIX))]
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            opened = socket.socket(family, kind, protocol)
            sockets.append(opened)
            # A port of a server that has just ended may be taken; one that is in use may not.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((address[0], port, *address[2:]))
            port = opened.getsockname()[1]  # one port for all addresses
            opened.listen(_BACKLOG)
            opened.setblocking(False)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def inherited_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for this process; none if it has not."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    sockets: list[socket.socket] = []
    for number in range(_FIRST_FD, _FIRST_FD + int(environment.get("LISTEN_FDS", "0"))):
        os.set_inheritable(number, False)  # not for the workers
        opened = socket.socket(fileno=number)
        opened.setblocking(False)
        sockets.append(opened)
    return sockets


def _unix(path: str) -> socket.socket:
    if not path:  # the kernel would make up a name
        raise OSError(errno.EINVAL, "unix: needs a path behind it")
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            os.unlink(path)
        opened.bind(path)
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except OSError as exc:
        opened.close()
        if exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EEXIST, "a server listens there, or it is no socket") from None
        raise
    return opened


def _is_left_over(path: str) -> bool:
    """Whether a path is a socket on which nobody listens: that of a server which was killed."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
