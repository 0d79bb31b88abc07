"""Files that may change while the server runs: keys and certificates, as a person or a platform replaces them.

Looked at when what they hold is needed, once a second at most: an idle server looks at nothing, and a busy one pays
for one `stat` a second. Events of the kernel would be sooner, but do not come where such files mostly live: a mounted
secret changes by a link above the file, and a network file system tells nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

LOOK_INTERVAL = 1.0
"""seconds between two looks at least."""

_Version: TypeAlias = "tuple[tuple[int, ...] | None, ...]"


class ChangingFiles:
    """Says when files are to be read again. They count as unread when it is made."""

    def __init__(self, files: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet.

        Args:
            files: links are followed.
            clock: instants, in seconds.
        """
        self._files = tuple(files)
        self._clock = clock
        self._looked: float | None = None
        self._version: _Version = ()

    def changed(self) -> bool:
        """Return True if one of them is another than at the last look, or if this is the first one."""
        now = self._clock()
        if self._looked is not None and now < self._looked + LOOK_INTERVAL:
            return False
        self._looked = now
        version = tuple(_version(file) for file in self._files)
        if version == self._version:
            return False
        self._version = version
        return True


def _version(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    # The time of its last change counts beside that of what it holds: who may read it changes the first one only, and
    # programs that copy files put the second one back.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
