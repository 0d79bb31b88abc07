"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Signed(NamedTuple):
    """Paths of a certificate and its key, both as PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates. `ca` is what has to be trusted."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("there is no openssl command, which makes the certificates")
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.ca = directory / "ca.pem"
        self._key = directory / "ca-key.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN=authority {directory.name}", "-keyout", self._key, "-out", self.ca),
        )

    def sign(self, name: str) -> Signed:
        """Return a certificate of this authority, good for loopback and for a client."""
        signed = Signed(self._directory / f"{name}.pem", self._directory / f"{name}-key.pem")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.ca, "-CAkey", self._key),
            *("-keyout", signed.key, "-out", signed.certificate),
        )
        return signed

    def _openssl(self, *arguments: object) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
