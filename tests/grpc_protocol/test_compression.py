from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest

from runner.grpc_protocol import compression as module
from runner.grpc_protocol.compression import choose, compress, decompressor
from runner.grpc_protocol.status import CallFailure, StatusCode


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("message", [b"", b"x" * 100_000, bytes(range(256))])
def test_both_directions(encoding, message):
    decompress = decompressor(encoding)
    assert decompress(compress(encoding, message), len(message)) == message
    assert decompress(memoryview(compress(encoding, message)), 1 << 20) == message


def test_the_formats_are_those_of_others():
    assert decompressor("gzip")(gzip.compress(b"abc"), 10) == b"abc"
    assert decompressor("deflate")(zlib.compress(b"abc"), 10) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_stopped_at_the_limit(encoding):
    bomb = compress(encoding, bytes(64 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(CallFailure) as raised:
        decompressor(encoding)(bomb, 1000)
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(CallFailure):
        decompressor(encoding)(compress(encoding, b"x" * 11), 10)


@pytest.mark.parametrize("broken", [b"", b"abc", gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x"])
def test_what_is_broken(broken):
    with pytest.raises(CallFailure) as raised:
        decompressor("gzip")(broken, 100)
    assert raised.value.code is StatusCode.INTERNAL


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_long_messages_in_pieces(encoding, monkeypatch):
    monkeypatch.setattr(module, "_TAKEN", 512)
    monkeypatch.setattr(module, "_MADE", 4096)
    decompress = decompressor(encoding)
    for size in (0, 1, 4095, 4096, 4097, 3 * 4096, 20_000):
        for message in (bytes(size), random.Random(size).randbytes(size)):
            packed = compress(encoding, message)
            for short in (0, module._SHORT):
                monkeypatch.setattr(module, "_SHORT", short)
                assert decompress(packed, size) == message
                with pytest.raises(CallFailure, match="longer than" if size else "longer|cut off"):
                    decompress(compress(encoding, message + b"x"), size)
                with pytest.raises(CallFailure, match="cut off"):
                    decompress(packed[:-1], size)
                with pytest.raises(CallFailure, match="more behind its end"):
                    decompress(packed + b"x" * 1000, size)


def test_a_bomb_takes_no_memory_beyond_the_limit():
    bomb = gzip.compress(bytes(32 << 20))
    decompress = decompressor("gzip")
    assert decompress is not None
    tracemalloc.start()
    try:
        with pytest.raises(CallFailure):
            decompress(bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 4 * module._MADE
    finally:
        tracemalloc.stop()


def test_unknown_codings():
    assert decompressor("identity") is None
    with pytest.raises(CallFailure) as raised:
        decompressor("zstd")
    assert raised.value.code is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("identity, deflate, gzip", "gzip"),
        ("deflate", "deflate"),
        ("identity", "identity"),
        ("", "identity"),
        ("br", "identity"),
    ],
)
def test_negotiation(accepted, chosen):
    assert choose(accepted) == chosen
