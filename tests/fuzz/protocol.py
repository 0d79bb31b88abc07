"""What is fuzzed of our own HTTP/2 and gRPC: header blocks against another decoder, heads, bodies and single values.

A message is a list of pieces, each behind two bytes of its length: blocks of one connection, or reads of one socket.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import hpack

from runner.grpc_protocol.compression import compress, decompressor
from runner.grpc_protocol.messages import Message, MessageReader, Packed, frame
from runner.grpc_protocol.metadata import read_pairs
from runner.grpc_protocol.request import Refusal, read_head
from runner.grpc_protocol.status import CallFailure, encode_message
from runner.grpc_protocol.timeout import parse_timeout
from runner.http2.hpack import CompressionError, HeaderDecoder, HeaderEncoder, HeaderListTooLarge

Field = tuple[bytes, bytes]

RECORDED = Path(__file__).parents[1] / "http2" / "recorded"

_LIMIT = 16 * 1024
_READ = 8 * 1024
"""What is read of a message where reading it takes long. A header block has no more in practice."""

_OF_OURS = ("a size update stands behind a field", "an integer is longer than 32 bits")
"""Where we are stricter than the other decoder."""


def plain(message: Message | Packed) -> Message:
    """Return a message as it was before it was compressed, if it was."""
    return message.plain() if isinstance(message, Packed) else message


def pieces(message: bytes) -> Iterator[bytes]:
    """Yield the pieces of a message; the last may be cut off."""
    position = 0
    while position < len(message):
        start = position + 2
        position = start + int.from_bytes(message[position:start], "big")
        yield message[start:position]


def joined(parts: Sequence[bytes]) -> bytes:
    """Return pieces as one message."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def header_blocks(case: int, message: bytes) -> None:
    """A connection reads header blocks, and another decoder has the last word about what is in them."""
    sizes = (4096, 100, 0, 8192)
    decoder = HeaderDecoder(max_list_bytes=_LIMIT)
    encoder, again = HeaderEncoder(), HeaderDecoder(max_list_bytes=_LIMIT)
    other = hpack.Decoder(max_header_list_size=1 << 30)
    for number, block in enumerate(pieces(message[:_READ])):
        if number == 1 and case % 4:
            decoder.set_max_table_bytes(sizes[case % 4])
            other.max_allowed_table_size = sizes[case % 4]
        try:
            fields = decoder.decode(block)
        except CompressionError as exc:
            if str(exc) not in _OF_OURS and "made smaller" not in str(exc):
                _refused_by(other, block)
            return
        except HeaderListTooLarge:
            other.decode(block, raw=True)
            continue
        assert [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)] == fields
        assert decoder._used == other.header_table._current_size
        assert again.decode(encoder.encode(fields)) == fields


def _refused_by(other: hpack.Decoder, block: bytes) -> None:
    try:
        other.decode(block, raw=True)
    except hpack.HPACKError:
        return
    raise AssertionError("another decoder takes what we refuse")


@dataclass
class _Head:
    fields: Sequence[Field]
    method: bytes = b"POST"
    path: bytes = b"/pkg.Service/Method"


def call_head(case: int, message: bytes) -> None:
    """A stream begins: its head is a call, or is refused with a whole response."""
    parts = list(pieces(message))
    fields = [*zip(parts[::2], parts[1::2], strict=False)]
    if case % 2:
        fields += [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
    try:
        call = read_head(_Head(fields))
    except Refusal as refusal:
        said = {name for name, _ in refusal.fields}
    else:
        said = {b":status", b"grpc-status", b"grpc-message"}
        assert all(name != "content-type" for name, _ in call.metadata)
    assert {b":status", b"grpc-status", b"grpc-message"} <= said


def body(case: int, message: bytes) -> None:
    """The body of a call comes in pieces, and what they lie in is read over."""
    decompress = (None, decompressor("gzip"), decompressor("deflate"))[case % 3]
    reader, other = (MessageReader(_LIMIT, decompress, memory_for) for memory_for in (None, _lend))
    with contextlib.suppress(CallFailure):
        for piece in pieces(message):
            memory = bytearray(piece)
            found = reader.feed(piece, 0, len(piece))
            same = other.feed(memoryview(memory), 0, len(memory))
            memory[:] = b"\xee" * len(memory)
            for each, its in zip(found, same, strict=True):
                assert len(plain(each)) <= _LIMIT
                assert plain(its) == plain(each)


def _lend(size: int) -> memoryview | None:
    return memoryview(bytearray(size)) if size % 2 else None


def value(case: int, message: bytes) -> None:
    """Single values of fields."""
    message = message[:_READ]
    text = message.decode(errors="replace")
    assert unquote(encode_message(text).decode()) == text
    with contextlib.suppress(CallFailure):
        assert parse_timeout(message) >= 0
    with contextlib.suppress(CallFailure):
        list(read_pairs("x-bin", message))


# --- Seeds ------------------------------------------------------------------------------------------------------------


def recorded() -> Iterator[tuple[int, bytes]]:
    """Yield what real clients sent, and our own blocks for the same."""
    for file in sorted(RECORDED.glob("*.json")):
        blocks = [bytes.fromhex(text) for text in json.loads(file.read_text())]
        decoder, encoder = HeaderDecoder(), HeaderEncoder()
        for case in range(4):
            yield case, joined(blocks)
        yield 0, joined([encoder.encode(decoder.decode(block)) for block in blocks])
    yield 1, joined([b"\x40\x01a\x011", b"\x3f\x45\xbe"])
    yield 2, joined([b"\x40\x01a\x011", b"\x20\x82"])


def heads() -> Iterator[tuple[int, bytes]]:
    """Yield the fields of calls."""
    for file in sorted(RECORDED.glob("*.json")):
        decoder = HeaderDecoder()
        for block in json.loads(file.read_text()):
            yield 0, joined([text for field in decoder.decode(bytes.fromhex(block)) for text in field])
    more = [b"grpc-encoding", b"gzip", b"x-bin", b"AAE=", b"grpc-timeout", b"5S"]
    yield 1, joined(more)


def bodies() -> Iterator[tuple[int, bytes]]:
    """Yield messages in pieces."""
    plain = b"".join(map(frame, (b"", b"abc", bytes(300), bytes(_LIMIT))))
    for size in (1, 3, 7, 1000):
        yield 0, joined([plain[start : start + size] for start in range(0, min(len(plain), 50 * size), size)])
    for case, encoding in ((1, "gzip"), (2, "deflate")):
        coded = frame(compress(encoding, b"abc" * 100), compressed=True) + frame(b"plain")
        yield case, joined([coded])
        yield case, joined([coded[:4], coded[4:20], coded[20:]])


def values() -> Iterator[tuple[int, bytes]]:
    """Yield values of fields."""
    for each in (b"30S", b"100000u", b"s%C3%BC%25", b"AAE=", b"AAE,/w", b""):
        yield 0, each
