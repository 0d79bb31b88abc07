"""The keys that count now: those of the configuration, and those of a file that may change."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from runner.api_keys import ApiKey, check_keys, read_keys_file
from runner.errors import ConfigError
from runner.server.changing_files import ChangingFiles

logger = logging.getLogger("runner.server")


class Keyring:
    """Finds a key by its value. A file that has become wrong leaves the keys as they were, and the log says so."""

    def __init__(
        self, keys: Sequence[ApiKey], file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file for the first time.

        Args:
            keys: those of the configuration.
            file: holds further ones; None: there is no file.
            clock: instants, in seconds.

        Raises:
            ConfigError: the file cannot be read, or is wrong.
        """
        self.wanted = bool(keys) or file is not None
        """Whether a call needs a key at all: an empty file lets nobody in, not everybody."""
        self._own = tuple(keys)
        self._file = file
        self._watch = ChangingFiles([] if file is None else [file], clock)
        self._watch.changed()
        self._keys: tuple[ApiKey, ...] = ()
        self._digests: list[bytes] = []
        self._take(self._read())

    def find(self, value: str) -> ApiKey | None:
        """Return the key of this value, None if there is none."""
        if self._file is not None and self._watch.changed():
            try:
                self._take(self._read())
            except ConfigError as exc:
                logger.error("the keys stay as they were: %s", exc)
            else:
                logger.info("%s has changed: %d keys count now", self._file, len(self._keys))
        # Digests are of one length, and every one is compared: how long it takes tells nothing about the keys.
        digest = _digest(value)
        found: ApiKey | None = None
        for key, known in zip(self._keys, self._digests, strict=True):
            if hmac.compare_digest(digest, known):
                found = key
        return found

    def withholds(self, name: str, value: str) -> bool:
        """Whether a variable of the environment is one that a key came from, or holds one under another name."""
        return any(name == key.env or value == key.value for key in self._keys)

    def _read(self) -> tuple[ApiKey, ...]:
        if self._file is None:
            return self._own
        return check_keys(str(self._file), (*self._own, *read_keys_file(self._file)))

    def _take(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys
        self._digests = [_digest(key.value) for key in keys]

    def __repr__(self) -> str:
        return f"<Keyring {len(self._keys)} keys>"


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
