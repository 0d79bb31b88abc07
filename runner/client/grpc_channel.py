"""What both gRPC transports share: the paths of the service, the options of a channel, and how a status is read."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import grpc

from runner.client.address import Address, Trust
from runner.client.failures import DETAILS_KEY, from_grpc
from runner.errors import CallError, Cancelled, DeadlineExceeded
from runner.wire.statistics import decode_times

__all__ = [
    "CLOSED",
    "NO_TRUST",
    "FailedCall",
    "call_error_of",
    "channel_options",
    "credentials",
    "deadline_of",
    "path_of",
    "texts_of",
]

SERVICE = "runner.v1.Inference"
NO_TRUST = Trust()
"""The well-known authorities, and no certificate of our own."""

CLOSED = "the client was closed while the call was begun"
"""gRPC raises a ValueError then."""

MAX_MESSAGE_BYTES = 1 << 30
"""The largest message sent or taken, the protocol's own bound; the server has a smaller one, and it says so."""

KEEPALIVE_SECONDS = 60
"""How often a connection with a call on it is probed: NATs forget idle ones after minutes. Servers may object to more
than one probe in a while; ours allows this."""

AHEAD_BYTES = 256 * 1024
"""What the server may be ahead of a stream's reader within HTTP/2; a longer message is let in when it is asked for. At
a round trip of 100 ms that still is 2.5 MB/s for each stream."""


def texts_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Return what of metadata is text."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def path_of(rpc: str) -> str:
    """Return the HTTP/2 path of an RPC."""
    return f"/{SERVICE}/{rpc}"


def channel_options(address: Address) -> list[tuple[str, int]]:
    """Return the options of a channel to this address."""
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),  # a call may be silent for hours: probe it all the same
        # A server that was restarted is found again within seconds; gRPC's own maximum is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Channels to one address would otherwise share a connection, and with it the wait after a failure.
        ("grpc.use_local_subchannel_pool", 1),
        # A server should stop soon after its reader. By itself gRPC takes up to 16 MiB that nobody has asked for.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", AHEAD_BYTES),
    ]
    if _is_loopback(address.host):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy from the environment leads away from this machine
    return options


def credentials(trust: Trust) -> grpc.ChannelCredentials:
    """Return the credentials of an encrypted connection.

    Raises:
        OSError: a file cannot be read.
    """
    files = (trust.root_certificates_path, trust.client_key_path, trust.client_certificate_path)
    return grpc.ssl_channel_credentials(*(Path(file).read_bytes() if file else None for file in files))


class FailedCall(Protocol):
    """What a failed call of either library can tell."""

    def code(self) -> grpc.StatusCode:
        """The status code."""
        ...

    def details(self) -> str | None:
        """The status's text."""
        ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Keys and values that came after the last message."""
        ...


def deadline_of(timeout: float | None) -> float:
    """Return the instant at which a call that begins now is out of time."""
    return math.inf if timeout is None else time.monotonic() + timeout


def call_error_of(failed: FailedCall, address: Address, deadline: float) -> CallError:
    """Return our exception for gRPC's."""
    metadata = tuple(failed.trailing_metadata() or ())
    details = dict(metadata).get(DETAILS_KEY)
    code: int = failed.code().value[0]
    packed = details if isinstance(details, bytes) else None
    error = from_grpc(code, failed.details() or "", packed, target=str(address))
    error.times = decode_times(texts_of(metadata))
    if packed is None and isinstance(error, Cancelled) and time.monotonic() >= deadline:
        # gRPC in the server ends the call at the same instant as gRPC here, and calls that CANCELLED.
        return DeadlineExceeded("the deadline passed")
    return error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
