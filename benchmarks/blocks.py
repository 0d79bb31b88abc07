"""Header blocks of unary calls as real clients make them: one that repeats, and those that never do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import hpack
from hpack import NeverIndexedHeaderTuple as OutOfTable

Fields = list[tuple[bytes, bytes]]

PATH = b"/clarifai.api.V2/PostModelOutputs"
KEY = b"Key 0123456789abcdef0123456789abcdef"


def trace_parent() -> bytes:
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01".encode()


def common(path: bytes, agent: bytes) -> Fields:
    return [
        (b":path", path),
        (b":authority", b"127.0.0.1:8000"),
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-accept-encoding", b"identity, deflate, gzip"),
        (b"user-agent", agent),
    ]


def repeated(path: bytes = PATH) -> Iterator[bytes]:
    """Yield grpcio's block of a call without a deadline, which is the same each time."""
    encoder = hpack.Encoder()
    fields = common(path, b"grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)")
    while True:
        yield encoder.encode(fields, huffman=False)


def of_grpcio(path: bytes = PATH) -> Iterator[bytes]:
    """Yield blocks of grpcio: its own fields are in the table, a call's are plain literals that stay out of it."""
    encoder = hpack.Encoder()
    fields = common(path, b"grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)")
    for number in itertools.count(30_000):
        own = [(b"grpc-timeout", b"%dm" % number), (b"traceparent", trace_parent()), (b"authorization", KEY)]
        yield encoder.encode([*fields, *(OutOfTable(*field) for field in own)], huffman=False)


def of_grpc_js(path: bytes = PATH) -> Iterator[bytes]:
    """Yield blocks of grpc-js: nearly all fields join the table, in Huffman's code; a path and a key do not."""
    encoder = hpack.Encoder()
    first, *fields = common(path, b"grpc-node-js/1.14.7")
    for number in itertools.count(30_000):
        own = [(b"traceparent", trace_parent()), (b"grpc-timeout", b"%dm" % number)]
        yield encoder.encode([OutOfTable(*first), OutOfTable(b"authorization", KEY), *fields, *own])


def of_go(path: bytes = PATH) -> Iterator[bytes]:
    """Yield blocks of grpc-go: every field joins the table, in Huffman's code."""
    encoder = hpack.Encoder()
    fields = common(path, b"grpc-go/1.76.0")
    for number in itertools.count(29_990_000):
        yield encoder.encode([*fields, (b"grpc-timeout", b"%du" % number), (b"traceparent", trace_parent())])
