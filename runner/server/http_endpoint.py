"""The HTTP port: listening, and how many connections there are."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from runner.server.http_app import HttpApp
from runner.server.http_protocol import HttpProtocol

MAX_CONNECTIONS: Final = 256
"""Probes and scrapers of a whole cluster. Over it, the connection that was made first is closed: whoever holds idle
ones must not keep the probes out, and a missed probe is repeated."""


class HttpEndpoint:
    """Owns the port and its connections."""

    def __init__(self, app: HttpApp) -> None:
        self._app = app
        self._server: asyncio.Server | None = None
        self._connections: dict[HttpProtocol, None] = {}  # in the order in which they were made

    async def listen(self, host: str, port: int) -> int:
        """Open the port, and answer from now on.

        Returns:
            The port; another than was asked for if that was 0.

        Raises:
            OSError: the port cannot be had.
        """
        # Not shared with another server's: that would be a mistake, and should be told.
        self._server = await asyncio.get_running_loop().create_server(self._connect, host.strip("[]"), port)
        return cast(int, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _connect(self) -> HttpProtocol:
        if len(self._connections) >= MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.abort()
        protocol = HttpProtocol(self._app, self._lost)
        self._connections[protocol] = None
        return protocol

    def _lost(self, protocol: HttpProtocol) -> None:
        self._connections.pop(protocol, None)

    def __repr__(self) -> str:
        return f"<HttpEndpoint {len(self._connections)} connections>"
