"""Short items that go together: chunks of streams that are sent before the link writes make one message.

A chunk of a few words is less than what a message of its own costs at both ends of a link. Nobody waits for company:
what is here leaves with the next write, or before anything else that is sent.
"""

from __future__ import annotations

from typing import Final

from runner.workers.frames import new_items
from runner.workers.messages import Item, Items

SHORT: Final = 1024
"""bytes of a payload from which on an item goes by itself."""

MOST: Final = 32
"""Items in one message: half of a stream's window, so that credit for the first half of it comes back while the second
is on its way."""


class ShortItems:
    """Those that wait for the next write."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, item: Item) -> bool:
        """Have an item of less than `SHORT` bytes wait; True if that is as many as go together."""
        self._items.append(item)
        return len(self._items) >= MOST

    def take(self) -> Item | Items | None:
        """Return the message that has all that wait."""
        items, self._items = self._items, []
        if len(items) > 1:
            ids, payloads = zip(*items, strict=True)
            return new_items((ids, payloads))
        return items[0] if items else None

    def __len__(self) -> int:
        return len(self._items)
