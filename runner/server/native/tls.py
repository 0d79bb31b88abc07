"""TLS for asyncio's transports: contexts made of certificates that are renewed while the server runs."""

from __future__ import annotations

import ssl
import tempfile
from typing import Protocol

from runner.server.certificates import Pem

_PROTOCOLS = ["h2", "http/1.1"]
"""What we speak behind the handshake (RFC 7301), the better one first."""


class Renewable(Protocol):
    """A certificate that may be another one later, as `Certificates` has it."""

    @property
    def pem(self) -> Pem:
        """The certificate as it is."""
        ...

    def renewed(self) -> Pem | None:
        """Return the certificate if it is another one than it was; asked at each handshake."""
        ...


def server_context(certificates: Renewable) -> ssl.SSLContext:
    """Return a context whose handshakes use the certificates as they are by then."""
    first = current = _context(certificates.pem)

    def choose(handshake: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        nonlocal current
        pem = certificates.renewed()
        if pem is not None:
            current = _context(pem)
        handshake.context = current

    first.sni_callback = choose
    return first


def _context(pem: Pem) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113, 9.2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION  # 9.2.1
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # of TLS 1.2, those that 9.2.2 leaves
    context.set_alpn_protocols(_PROTOCOLS)
    # Python takes a certificate from a path only. What was checked is what is used, whatever the files hold by now.
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem.key + b"\n" + pem.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    if pem.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem.client_ca.decode("ascii"))
    return context
