"""What carries the bytes of RPCs: a seam with two sides, grpcio and our own HTTP/2."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """Serves the RPCs it was made with."""

    async def listen(self, host: str, port: int) -> int:
        """Open the port, and serve from now on.

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
