"""What carries the bytes of RPCs: a seam with two sides, grpcio and our own HTTP/2."""

from __future__ import annotations

from typing import Protocol

from runner.server.certificates import Certificates


class Transport(Protocol):
    """Serves the RPCs it was made with."""

    async def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """Open the port, and serve from now on.

        Args:
            host: an address of this machine.
            port: 0: a free one.
            certificates: encrypt with them, and with those that take their place; None: do not encrypt.

        Returns:
            The port; another than was asked for if that was 0.

        Raises:
            OSError: the port cannot be had.
        """
        ...

    async def drain(self, grace: float) -> None:
        """Take no more calls, give those in flight `grace` seconds to end, and cancel the rest."""

    async def close(self) -> None:
        """Stop at once. Harmless after `drain`."""
