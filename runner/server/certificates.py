"""The server's certificate, its key, and the authorities of its clients: from files, read again when they change.

Knows nothing of gRPC. What a transport gets has been checked: a certificate and a key that do not belong together,
which is what one sees in the middle of a renewal, never reach it.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from runner.errors import ConfigError
from runner.server.changing_files import ChangingFiles

logger = logging.getLogger("runner.server")

_MAX_BYTES = 1024 * 1024
"""bytes of one file: hundreds of certificates."""


class Pem(NamedTuple):
    """What the files hold.

    Attributes:
        certificate: the server's, and behind it those up to its authority.
        key: the certificate's, not encrypted.
        client_ca: who signs the certificates that clients must have; None: they need none.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Files(Protocol):
    """Where the files are, as `config.Tls` says it; None: there is no such file."""

    @property
    def certificate(self) -> Path | None:
        """The server's, and behind it those up to its authority."""
        ...

    @property
    def key(self) -> Path | None:
        """The certificate's."""
        ...

    @property
    def client_ca(self) -> Path | None:
        """Who signs the certificates that clients must have."""
        ...


class Certificates:
    """Reads the files, and reads them again. May be asked from any thread: gRPC shakes hands in threads of its own."""

    def __init__(self, tls: Files, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the files for the first time.

        Args:
            tls: where they are. There must be a certificate.
            clock: instants, in seconds.

        Raises:
            ConfigError: one is missing, cannot be read, or does not fit the others.
        """
        if tls.certificate is None or tls.key is None:
            missing = "tls.certificate" if tls.certificate is None else "tls.key"
            raise ConfigError(f"{missing}: got nothing, and TLS needs a certificate and its key")
        self._certificate, self._key, self._client_ca = tls.certificate, tls.key, tls.client_ca
        files = [file for file in (tls.certificate, tls.key, tls.client_ca) if file is not None]
        self._watch = ChangingFiles(files, clock)
        self._watch.changed()
        self._lock = threading.Lock()
        self.pem = self._read()

    @property
    def of_clients(self) -> bool:
        """Whether clients must have certificates too."""
        return self._client_ca is not None

    def renewed(self) -> Pem | None:
        """Return what the files hold now if that is new; None if they are as they were, or wrong: the log has why."""
        with self._lock:
            if not self._watch.changed():
                return None
            try:
                self.pem = self._read()
            except ConfigError as exc:
                logger.error("the certificate stays as it was: %s", exc)
                return None
            logger.info("the certificate is read from %s again", self._certificate)
            return self.pem

    def _read(self) -> Pem:
        found = self._bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Python takes a certificate from a path only. A passphrase it would ask for at the terminal.
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")
        except (ssl.SSLError, ValueError, OSError) as exc:
            raise ConfigError(
                f"{self._certificate} and {self._key}: are not a certificate and its key, both as PEM and the key "
                f"not encrypted ({getattr(exc, 'reason', None) or exc})"
            ) from None
        if found.client_ca is not None:
            try:
                context.load_verify_locations(cadata=found.client_ca.decode("ascii"))
            except (ssl.SSLError, ValueError) as exc:
                raise ConfigError(f"{self._client_ca}: holds no certificates as PEM ({exc})") from None
        if self._bytes() != found:
            raise ConfigError(f"{self._certificate}: was changed while it was read")
        return found

    def _bytes(self) -> Pem:
        return Pem(
            _bytes(self._certificate), _bytes(self._key), None if self._client_ca is None else _bytes(self._client_ca)
        )


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{file}: is longer than {_MAX_BYTES} bytes")
    return data
