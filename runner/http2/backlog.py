"""What waits for peers to read it, on many connections together."""

from __future__ import annotations

from collections.abc import Callable


class Backlog:
    """Counts the bytes of DATA that are queued with streams.

    Windows are the peer's to open, and one that opens none makes us keep all it has asked for: on one connection, as
    many answers as it may have streams, however long each is.

    Args:
        limit: bytes that may wait.
        exceeded: told when there are more, each time that it becomes more still.
    """

    def __init__(self, limit: int, exceeded: Callable[[], None]) -> None:
        self.size = 0
        self.limit = limit
        self._exceeded = exceeded

    def add(self, size: int) -> None:
        """So many bytes more wait."""
        self.size += size
        if self.size > self.limit:
            self._exceeded()

    def remove(self, size: int) -> None:
        """So many have left, or were dropped."""
        self.size -= size
