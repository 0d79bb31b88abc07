"""Connections that reach the public internet only.

A name is looked up once, every address it has is judged, and the very address that was judged is connected to. A
second look-up between check and connect is what DNS rebinding lives on. TLS still verifies the name: httpcore hands it
to `start_tls` by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias, cast

import httpcore

from runner.execution.public_address import is_public

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> the IP addresses of the host, numeric hosts included. Raises OSError."""

MAX_ADDRESSES = 4
"""Addresses tried for one host. Each gets its share of the time, so that a dead first one leaves some for the next."""


class AddressRefused(Exception):
    """The host has an address that is not public. The text never names it: it would map the network we are in."""


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the operating system. Also turns `127.1`, `0x7f000001` and the like into the address they mean."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, with a guard in front. Keeps no state between connections.

    Args:
        allow_private: connect to anything; for tests, and where clients are trusted as much as the machine.
        resolver: looks names up.
    """

    def __init__(self, *, allow_private: bool, resolver: Resolver = system_resolver) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        # cast: httpcore declares another class of this name for machines without anyio
        self._network = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers.

        Raises:
            AddressRefused: one of the addresses is not public; a mix of public and private ones is an attack.
            httpcore.ConnectError: no such host, or nothing answers.
            httpcore.ConnectTimeout: nothing answered in time.
        """
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError) as exc:  # the idna codec raises the latter for names over 63 characters
            raise httpcore.ConnectError("the host name is not known") from exc
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise AddressRefused("the host has an address that is not public")
        tried = addresses[:MAX_ADDRESSES]
        failure: Exception = httpcore.ConnectError("the host name has no address")
        for address in tried:
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    timeout=None if timeout is None else timeout / len(tried),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """No URL leads to a Unix socket."""
        raise AddressRefused("Unix sockets are not public")

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore calls it between retries."""
        await asyncio.sleep(seconds)
