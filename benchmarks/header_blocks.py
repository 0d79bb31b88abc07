"""What reading header blocks costs: python benchmarks/header_blocks.py [--blocks 2000] [--rounds 10].

Blocks as real clients make them, whole ones that repeat and such that never do: each call has a deadline and a trace id
of its own. Every figure is the least of the rounds, in microseconds a block. The decoder saw none of them before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import hpack
from bench import machine
from blocks import PATH, Fields, of_go, of_grpc_js, of_grpcio, repeated

from runner.grpc_protocol.request import read_head
from runner.http2.hpack import HeaderDecoder


class Head:
    """A request's head, without HTTP/2."""

    method, path = b"POST", PATH

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
