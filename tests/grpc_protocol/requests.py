"""Heads of requests, as HTTP/2 gives them."""

from __future__ import annotations

from dataclasses import dataclass

USUAL = (
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)"),
    (b"grpc-accept-encoding", b"identity, deflate, gzip"),
)


@dataclass
class Head:
    fields: tuple[tuple[bytes, bytes], ...] = USUAL
    method: bytes = b"POST"
    path: bytes = b"/pkg.Service/Method"


def head(*more: tuple[bytes, bytes], without: bytes = b"", **changes: bytes) -> Head:
    return Head((*[field for field in USUAL if field[0] != without], *more), **changes)
