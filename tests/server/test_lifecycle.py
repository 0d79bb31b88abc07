"""What a server says before it serves. Its life is tested on real ones, in `tests/real`."""

from __future__ import annotations

import errno
import socket

import pytest

from runner.config import load_server_config
from runner.server.lifecycle import _warn_of_strangers, _why_not

TLS = {"certificate": "c.pem", "key": "k.pem"}


@pytest.mark.parametrize(
    ("config", "warnings"),
    [
        ({}, []),
        ({"host": "localhost"}, []),
        ({"host": "[::1]"}, []),
        ({"host": "unix:/run/model.sock", "transport": "native"}, []),
        ({"host": "0.0.0.0"}, ["without keys", "without TLS"]),
        ({"host": "[::]", "keys": ["k"]}, ["without TLS"]),
        ({"host": "10.0.0.1", "keys_file": "keys"}, ["without TLS"]),
        ({"host": "0.0.0.0", "tls": TLS}, ["without keys"]),
        ({"host": "0.0.0.0", "tls": TLS, "keys": ["k"]}, []),
        ({"host": "0.0.0.0", "tls": {**TLS, "client_ca": "ca.pem"}}, []),
    ],
)
def test_a_port_for_others_without_keys_or_tls_is_warned_of(config, warnings, caplog):
    _warn_of_strangers(load_server_config(None, config))
    assert len(caplog.messages) == len(warnings)
    for message, words in zip(caplog.messages, warnings, strict=True):
        assert words in message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "--port 0 finds one"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "the host is not an address of this machine"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the host is not known"),
        (OSError("Failed to bind to address"), "or the host is not an address of this machine"),
    ],
)
def test_why_a_port_cannot_be_had(error, told):
    assert told in _why_not(error)
