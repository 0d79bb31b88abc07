"""What reading header blocks costs: python benchmarks/header_blocks.py [--blocks 2000] [--rounds 10].

Blocks as real clients make them, whole ones that repeat and such that never do: each call has a deadline and a trace id
of its own. Every figure is the least of the rounds, in microseconds a block. The decoder saw none of them before.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence

import hpack
from bench import machine
from hpack import NeverIndexedHeaderTuple as OutOfTable

from runner.grpc_protocol.request import read_head
from runner.http2.hpack import HeaderDecoder

Fields = list[tuple[bytes, bytes]]

KEY = b"Key 0123456789abcdef0123456789abcdef"


def trace_parent() -> bytes:
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01".encode()


def common(agent: bytes) -> Fields:
    return [
        (b":path", b"/clarifai.api.V2/PostModelOutputs"),
        (b":authority", b"127.0.0.1:8000"),
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-accept-encoding", b"identity, deflate, gzip"),
        (b"user-agent", agent),
    ]


def repeated() -> Iterator[bytes]:
    """Yield grpcio's block of a call without a deadline, which is the same each time."""
    encoder = hpack.Encoder()
    fields = common(b"grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)")
    while True:
        yield encoder.encode(fields, huffman=False)


def of_grpcio() -> Iterator[bytes]:
    """Yield blocks of grpcio: its own fields are in the table, a call's are plain literals that stay out of it."""
    encoder = hpack.Encoder()
    fields = common(b"grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)")
    for number in itertools.count(30_000):
        own = [(b"grpc-timeout", b"%dm" % number), (b"traceparent", trace_parent()), (b"authorization", KEY)]
        yield encoder.encode([*fields, *(OutOfTable(*field) for field in own)], huffman=False)


def of_grpc_js() -> Iterator[bytes]:
    """Yield blocks of grpc-js: nearly all fields join the table, in Huffman's code; a path and a key do not."""
    encoder = hpack.Encoder()
    path, *fields = common(b"grpc-node-js/1.14.7")
    for number in itertools.count(30_000):
        own = [(b"traceparent", trace_parent()), (b"grpc-timeout", b"%dm" % number)]
        yield encoder.encode([OutOfTable(*path), OutOfTable(b"authorization", KEY), *fields, *own])


def of_go() -> Iterator[bytes]:
    """Yield blocks of grpc-go: every field joins the table, in Huffman's code."""
    encoder = hpack.Encoder()
    fields = common(b"grpc-go/1.76.0")
    for number in itertools.count(29_990_000):
        yield encoder.encode([*fields, (b"grpc-timeout", b"%du" % number), (b"traceparent", trace_parent())])


class Head:
    """A request's head, without HTTP/2."""

    method, path = b"POST", b"/clarifai.api.V2/PostModelOutputs"

    def __init__(self, fields: Fields) -> None:
        self.fields = [field for field in fields if field[0][:1] != b":"]


def timed(work: Callable[..., object], items: Sequence[object]) -> float:
    """Return the microseconds that `work` takes for one of the items."""
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / len(items) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2000, help="blocks in a round (default 2000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds (default 10)")
    options = parser.parse_args()
    print(f"{machine()}; least of {options.rounds} rounds, µs a block\n")
    print(f"| blocks | bytes | decoded | by hpack {hpack.__version__} | read as a call |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for maker in (repeated, of_grpcio, of_grpc_js, of_go):
        blocks = maker()
        ours, other = HeaderDecoder(), hpack.Decoder()
        figures: list[tuple[float, float, float]] = []
        for _ in range(1 + options.rounds):
            some = [next(blocks) for _ in range(options.blocks)]
            decoded = timed(ours.decode, some)
            lists: list[Fields] = []
            start = time.perf_counter()
            lists += [other.decode(block, raw=True) for block in some]
            by_other = (time.perf_counter() - start) / len(some) * 1e6
            figures.append((decoded, by_other, timed(read_head, [Head(fields) for fields in lists])))
        decoded, by_other, as_call = (min(column) for column in zip(*figures[1:], strict=True))
        name = maker.__name__.replace("_", " ")
        print(f"| {name} | {len(some[-1])} | {decoded:.2f} | {by_other:.1f} | {as_call:.2f} |")


if __name__ == "__main__":
    main()
