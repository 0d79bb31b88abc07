from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2.hpack import CompressionError, HeaderDecoder, HeaderEncoder, HeaderListTooLarge, huffman
from runner.http2.hpack import decoder as module
from runner.http2.hpack.static import cost_of

NAMES = st.sampled_from([b":method", b":path", b"te", b"grpc-timeout", b"x-a", b"cookie"]) | st.binary(
    min_size=1, max_size=5
)
VALUES = st.sampled_from([b"POST", b"/", b"trailers", b"30S", b"", b"\\{|}" * 4]) | st.binary(max_size=70)
FIELDS = st.tuples(NAMES, VALUES)
KINDS = st.sampled_from([hpack.HeaderTuple, hpack.NeverIndexedHeaderTuple])
LISTS = st.lists(st.tuples(FIELDS, KINDS), max_size=12)
SIZES = st.sampled_from([0, 1, 40, 100, 4096])


def oracle() -> hpack.Decoder:
    return hpack.Decoder(max_header_list_size=1 << 24)


def read(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@given(st.lists(st.tuples(LISTS, st.booleans(), st.none() | SIZES, st.booleans()), max_size=12))
def test_reads_what_the_oracle_writes(blocks):
    encoder, decoder = hpack.Encoder(), HeaderDecoder(max_list_bytes=1 << 20)
    for fields, coded, size, again in blocks:
        if size is not None:
            encoder.header_table_size = size
        made = [kind(*field) for field, kind in fields]
        for _ in range(1 + again):
            block = encoder.encode(made, huffman=coded)
            assert decoder.decode(block) == [field for field, _ in fields]
            assert decoder._used == encoder.header_table._current_size


@given(st.lists(st.tuples(LISTS, st.booleans()), min_size=1, max_size=6), st.data())
def test_takes_broken_blocks_as_the_oracle_does(blocks, data):
    """After any blocks that are well, a broken one means the same to both, or is an error to both."""
    encoder, decoder, other = hpack.Encoder(), HeaderDecoder(max_list_bytes=1 << 24, max_fields=1 << 20), oracle()
    for fields, coded in blocks:
        block = encoder.encode([kind(*field) for field, kind in fields], huffman=coded)
        broken = bytearray(block)
        for _ in range(data.draw(st.integers(0, 3), label="changes")):
            at = data.draw(st.integers(0, len(broken)), label="at")
            match data.draw(st.sampled_from(["set", "insert", "cut"]), label="change"):
                case "set" if at < len(broken):
                    broken[at] = data.draw(st.integers(0, 255))
                case "insert":
                    broken[at:at] = data.draw(st.binary(max_size=3))
                case _:
                    del broken[at:]
        try:
            expected = read(other, bytes(broken))
        except hpack.HPACKError:
            expected = None
        if expected is None or _late_resize(broken):
            with pytest.raises(CompressionError):
                decoder.decode(broken)
            return
        assert decoder.decode(broken) == expected


def _late_resize(block: bytes) -> bool:
    """Return whether we refuse what the oracle takes: a size update behind a field, or an integer of over 32 bits."""
    strict = HeaderDecoder(max_list_bytes=1 << 24, max_fields=1 << 20)
    strict._table += [(b"", b"")] * 200
    try:
        strict.decode(block)
    except CompressionError as exc:
        return "size update stands" in str(exc) or "32 bits" in str(exc)
    return False


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_read_or_refused(blocks):
    decoder = HeaderDecoder()
    for block in blocks:
        try:
            decoder.decode(block)
        except HeaderListTooLarge:
            continue
        except CompressionError:
            return
        assert decoder._used == sum(map(cost_of, decoder._table[module._NEWEST :])) <= 4096


# --- What is remembered ----------------------------------------------------------------------------------------------


def test_a_block_that_comes_again_is_the_same_section():
    decoder = HeaderDecoder()
    first = decoder.read(b"\x83\x86")
    first.reading = "what was made of it"
    assert decoder.read(b"\x83\x86") is first
    assert decoder.decode(memoryview(b"\x83\x86")) is first.fields


def test_the_same_bytes_mean_something_else_once_the_table_has_changed():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(b"\xbe") == [(b"a", b"1")]
    decoder.decode(b"\x40\x01b\x012")
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]


def test_a_list_that_was_too_large_changed_the_table_too():
    decoder = HeaderDecoder(max_list_bytes=200)
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(b"\xbe") == [(b"a", b"1")]
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\x40\x01b\x012" * 8)
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]


def test_a_resized_table_forgets_blocks():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x011")
    decoder.decode(b"\xbe")
    decoder.decode(b"\x20")  # to 0, and all is evicted
    with pytest.raises(CompressionError):
        decoder.decode(b"\xbe")


def test_what_is_remembered_is_bounded():
    decoder = HeaderDecoder(max_list_bytes=1 << 16)
    for number in range(3 * module._REMEMBERED):
        decoder.decode(b"\x00\x01a\x04%04d" % number)
        decoder.decode(b"\x00\x01a\x7f\x81\x07" + b"x" * 1024)
    assert len(decoder._remembered) <= module._REMEMBERED
    assert max(map(len, decoder._remembered)) <= module._REMEMBERED_BYTES
    for number in range(3 * module._KNOWN_TEXTS):
        text = huffman.encode(b"%d" % number)
        decoder.decode(b"\x00\x01a" + bytes((0x80 | len(text),)) + text)
    assert len(module._known) <= module._KNOWN_TEXTS


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_a_small_block_that_stands_for_much_is_refused():
    decoder = HeaderDecoder(max_list_bytes=16 * 1024, max_fields=1000)
    decoder.decode(b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\xbe" * 100)
    assert decoder.decode(b"\xbe")[0][1] == b"x" * 3968


def test_what_a_block_costs_grows_with_its_length_only():
    """Of runs of indexed fields that are broken by something else, the rest of the block was copied for each."""

    class Counted(bytes):
        looked_at = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            Counted.looked_at += 1 if isinstance(found, int) else len(found)
            return found

    block = Counted(b"\x82\x01\x00" * 2000)
    assert len(HeaderDecoder(max_list_bytes=1 << 20, max_fields=1 << 20).read(block).fields) == 4000
    assert Counted.looked_at < 100 * len(block)


def test_fields_beyond_the_number_are_not_added_up(monkeypatch):
    decoder = HeaderDecoder(max_fields=3)
    monkeypatch.setattr(module, "cost_of", lambda field: pytest.fail("added up"))
    with pytest.raises(HeaderListTooLarge, match="more than 3 header fields"):
        decoder.decode(b"\x83" * 60_000)


def test_the_number_of_fields_is_bounded():
    decoder = HeaderDecoder(max_fields=3, max_list_bytes=1 << 20)
    assert len(decoder.decode(b"\x83\x83\x83")) == 3
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\x83\x83\x83\x83")


def test_a_list_that_is_too_large_is_read_to_its_end():
    decoder = HeaderDecoder(max_list_bytes=100)
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\x00\x01a\x7f\x01" + b"x" * 128 + b"\x40\x01b\x012")
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]
    with pytest.raises(CompressionError):
        decoder.decode(b"\x00\x01a\x7f\x01" + b"x" * 128 + b"\x80")


def test_a_size_update_behind_a_field_that_was_let_go_is_refused():
    decoder = HeaderDecoder(max_list_bytes=100)
    with pytest.raises(CompressionError):
        decoder.decode(b"\x00\x01a\x7f\x01" + b"x" * 128 + b"\x20")


def test_repr():
    decoder = HeaderDecoder()
    decoder.decode(HeaderEncoder().encode([(b"a", b"1")]) + b"\x40\x01a\x011")
    assert repr(decoder) == "<HeaderDecoder: 1 entries, 34 of 4096 bytes>"
