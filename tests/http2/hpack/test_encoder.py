from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2.hpack import HeaderDecoder, HeaderEncoder, encode_alone
from runner.http2.hpack import encoder as module
from tests.http2.hpack.test_decoder import FIELDS, oracle, read

REPLY = [(b":status", b"200"), (b"content-type", b"application/grpc")]


@given(
    st.lists(
        st.tuples(
            st.lists(FIELDS, max_size=8),
            st.lists(st.sampled_from([0, 1, 50, 300, 4096, 100_000]), max_size=3),
            st.sets(st.sampled_from([b"te", b"x-a"])),
            st.integers(1, 3),
        ),
        max_size=12,
    ),
    st.sampled_from([0, 64, 4096, 65536]),
)
def test_the_oracle_and_our_decoder_read_what_is_written(blocks, ours):
    encoder = HeaderEncoder(max_table_bytes=ours)
    decoder, other = HeaderDecoder(max_list_bytes=1 << 20), oracle()
    for fields, sizes, sensitive, times in blocks:
        for size in sizes:
            encoder.set_peer_max_table_bytes(size)
            decoder.set_max_table_bytes(size)
            other.max_allowed_table_size = size
        for _ in range(times):
            block = encoder.encode(fields, sensitive)
            assert decoder.decode(block) == fields
            assert read(other, block) == fields
            assert encoder._used == decoder._used == other.header_table._current_size
            assert len(encoder._fields) == len(encoder._entries)


def test_a_list_that_is_sent_often_becomes_indexes():
    encoder, decoder = HeaderEncoder(), HeaderDecoder()
    blocks = [encoder.encode(REPLY) for _ in range(4)]
    assert [decoder.decode(block) for block in blocks] == [REPLY] * 4
    assert blocks[2] == blocks[3] == b"\x88\xbe"
    assert blocks[3] is blocks[2]
    assert len(blocks[1]) < len(blocks[0]), "Huffman's code is for what joins the table"


def test_what_is_sent_once_leaves_the_table_alone():
    encoder = HeaderEncoder()
    for number in range(1000):
        encoder.encode([(b"grpc-status", b"13"), (b"grpc-message", b"failed after %d ms" % number)])
    assert len(encoder._entries) == 1
    assert len(encoder._seen) <= module._SEEN


def test_what_would_fill_the_table_stays_out_of_it():
    encoder = HeaderEncoder()
    for _ in range(3):
        encoder.encode([(b"x", b"y" * 1200)])
    assert not encoder._entries


def test_what_is_secret_is_marked_so_and_kept_nowhere():
    encoder = HeaderEncoder()
    for _ in range(3):
        block = encoder.encode([*REPLY, (b"x-key", b"secret")], sensitive={b"x-key"})
        (*_, last) = hpack.Decoder().decode(encoder.encode([(b"x-key", b"secret")], {b"x-key"}), raw=True)
        assert isinstance(last, hpack.NeverIndexedHeaderTuple)
    assert block.endswith(b"\x10\x05x-key\x06secret")
    kept = (*encoder._seen, *encoder._fields, *(field for key in encoder._remembered for field in key))
    assert (b"x-key", b"secret") not in kept


def test_what_is_remembered_is_bounded():
    encoder = HeaderEncoder()
    for status in range(100, 999):
        for _ in range(3):
            encoder.encode([(b":status", b"%d" % status)])
    assert 0 < len(encoder._remembered) <= module._REMEMBERED


@pytest.mark.parametrize(
    ("sizes", "updates"),
    [
        ([4096], ""),
        ([100_000], ""),
        ([100], "3f45"),
        ([0], "20"),
        ([0, 4096], "203fe11f"),
        ([100, 0, 30], "203e"),
    ],
)
def test_size_updates(sizes, updates):
    encoder = HeaderEncoder()
    for size in sizes:
        encoder.set_peer_max_table_bytes(size)
    assert encoder.encode([(b":status", b"200")]).hex() == updates + "88"
    assert encoder.encode([(b":status", b"200")]).hex() == "88", "a size is told once"


def test_a_table_of_our_own_choice_is_told_at_once():
    assert HeaderEncoder(max_table_bytes=0).encode([]) == b"\x20"


@given(st.lists(FIELDS, max_size=8))
def test_a_block_that_stands_alone_leaves_any_table_as_it_is(fields):
    decoder, other = HeaderDecoder(max_list_bytes=1 << 20), oracle()
    for reader in (decoder, other):
        reader.decode(b"\x40\x01a\x011")
    block = encode_alone(fields)
    assert decoder.decode(block) == read(other, block) == fields
    assert decoder._used == other.header_table._current_size == 34


def test_repr():
    encoder = HeaderEncoder()
    encoder.encode(REPLY)
    encoder.encode(REPLY)
    assert repr(encoder) == "<HeaderEncoder: 1 entries, 60 of 4096 bytes>"
