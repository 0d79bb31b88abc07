"""What a server says before it serves. Its life is tested on real ones, in `tests/real`."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

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


@pytest.mark.parametrize("stdout", ["full", "closed at the other end"])
def test_a_server_whose_stdout_takes_nothing_serves_on(stdout):
    program = "from runner.server.lifecycle import _announce; _announce('serving x'); print('and serves on')"
    if stdout == "full":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        other_end, target = os.pipe()
        os.close(other_end)
    try:
        ended = subprocess.run([sys.executable, "-c", program], stdout=target, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(target)
    assert ended.returncode == 0
    assert "stdout cannot be written to" in ended.stderr
    assert "serving x" in ended.stderr
    assert "Exception" not in ended.stderr
