"""Which pages of a piece of memory are taken. Pure: numbers of pages in, numbers of pages out.

The first block that fits is given, from the front on: so the same few pages are used again and again, which the
processor still has in its caches, and the ones behind them are never touched.
"""

from __future__ import annotations

from typing import Final

_FREE: Final = b"\0"
_TAKEN: Final = b"\1"


class Blocks:
    """Blocks of neighbouring pages."""

    def __init__(self, pages: int) -> None:
        """Have so many pages, all free."""
        self.pages = pages
        self._pages = bytearray(pages)  # 0: free. To look for a run of zeros is a search for bytes, which C does.
        self._sizes: dict[int, int] = {}  # of the blocks that are taken, by their first page
        self.taken = 0  # pages
        self.reached = 0  # one more than the last page that was ever taken

    def take(self, pages: int) -> int:
        """Take a block; return its first page, -1 if none fits.

        Args:
            pages: how many, 1 or more.
        """
        first = self._pages.find(_FREE * pages)
        if first >= 0:
            self._pages[first : first + pages] = _TAKEN * pages
            self._sizes[first] = pages
            self.taken += pages
            self.reached = max(self.reached, first + pages)
        return first

    def free(self, first: int) -> bool:
        """Give a block back by its first page; False if no block that is taken begins there."""
        pages = self._sizes.pop(first, 0)
        self._pages[first : first + pages] = _FREE * pages
        self.taken -= pages
        return pages > 0

    def __repr__(self) -> str:
        return f"<Blocks {len(self._sizes)} taken, {self.taken} of {self.pages} pages>"
