"""What becomes of a process that a model has forked: it is no worker, and says nothing for one.

It has everything that its worker had, and may do with it what a forked process does. If it comes back to our code
instead of ending, as it does after `sys.exit()` in a method, it would answer its parent's calls a second time and wait
for others for ever. So there it ends.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final, NoReturn, TypeVar

_STDERR: Final = 2

Call = TypeVar("Call")


def leave(*_: Any) -> NoReturn:
    """End this process, a forked one, without the interpreter's farewell: what it would flush is its parent's."""
    with contextlib.suppress(OSError):
        os.write(_STDERR, b"a process that the model has forked came back from the model's code, and is ended\n")
    os._exit(1)


class ParentsCalls(dict[int, Call]):
    """In the place of the calls under way, which are the parent's: whoever has something to say of one leaves."""

    def __contains__(self, key: object) -> bool:
        leave(key)

    def __setitem__(self, key: int, value: Call) -> None:
        leave(key)

    def __delitem__(self, key: int) -> None:
        leave(key)

    def get(self, *args: Any) -> NoReturn:
        """See `leave`."""
        leave(args)

    def pop(self, *args: Any) -> NoReturn:
        """See `leave`."""
        leave(args)

    def update(self, *args: Any) -> None:
        """See `leave`."""
        leave(args)
