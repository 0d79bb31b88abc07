from __future__ import annotations

import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import example, given
from hypothesis import strategies as st

from runner.http2.hpack import huffman
from runner.http2.hpack.errors import CompressionError

TEXTS = st.binary(max_size=80) | st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=80).map(
    str.encode
)


def outcome(decode, coded: bytes) -> bytes | None:
    try:
        return decode(coded)
    except CompressionError:
        return None


def test_the_code_is_that_of_appendix_b():
    ours = [(int(huffman._CODES[symbol], 2), len(huffman._CODES[symbol])) for symbol in range(257)]
    assert ours == list(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))


@given(TEXTS)
@example(b"")
@example(bytes(range(256)))
def test_what_is_encoded_is_decoded(text):
    coded = huffman.encode(text)
    assert huffman.decode(coded) == text
    assert huffman._by_states(coded) == text


@given(st.binary(max_size=40) | TEXTS.map(huffman.encode), st.integers(0, 40), st.binary(max_size=2))
@example(b"\x1f" * 9 + b"\xfe", 40, b"")
@example(b"\x1f" * 9 + b"\xff", 40, b"")
@example(b"\xff\xff" + b"\x00" * 20, 40, b"")
def test_zlib_and_the_state_machine_agree(coded, cut, tail):
    coded = coded[:cut] + tail
    assert outcome(huffman.decode, coded) == outcome(huffman._by_states, coded)


@pytest.mark.parametrize("ones", range(8, 32))
@pytest.mark.parametrize("text", [b"a" * 16, b"a" * 17, b"a" * 18, b"a" * 19, b"1" * 21, b"/clarifai.api.V2/Post"])
def test_more_than_seven_bits_of_padding_are_refused(text, ones):
    bits = "".join(map(huffman._CODES.__getitem__, text)) + "1" * ones
    if len(bits) % 8:
        bits += "1" * (8 - len(bits) % 8)
    with pytest.raises(CompressionError):
        huffman.decode(int(bits, 2).to_bytes(len(bits) // 8, "big"))


@pytest.mark.parametrize("length", [1, 9, 30])
def test_padding_other_than_ones_is_refused(length):
    text = b"a" * length + b"0"
    bits = "".join(map(huffman._CODES.__getitem__, text))
    padding = -len(bits) % 8
    assert padding
    for wrong in range(2**padding - 1):
        whole = bits + f"{wrong:0{padding}b}"
        decoded = outcome(huffman.decode, int(whole, 2).to_bytes(len(whole) // 8, "big"))
        assert decoded is None or len(decoded) > len(text), "bits that are a symbol are text"


@pytest.mark.parametrize("before", [b"", b"a" * 3, b"a" * 30])
def test_the_end_of_string_symbol_is_refused(before):
    bits = "".join(map(huffman._CODES.__getitem__, before)) + "1" * 30
    bits += "1" * (-len(bits) % 8)
    with pytest.raises(CompressionError):
        huffman.decode(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def test_states_are_no_more_than_the_nodes_of_the_tree():
    for first in range(256):
        for second in range(256):
            outcome(huffman._by_states, bytes((first, second, 0, first)))
    assert len(huffman._STATES) <= 256
