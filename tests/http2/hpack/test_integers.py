from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2.hpack.errors import CompressionError
from runner.http2.hpack.integers import encode_integer, read_rest


@pytest.mark.parametrize(
    ("number", "prefix", "encoded"), [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (31, 5, "1f00"), (30, 5, "1e")]
)
def test_examples(number, prefix, encoded):
    assert encode_integer(number, prefix, 0).hex() == encoded


@given(st.integers(0, 2**32 - 1), st.integers(4, 7))
def test_round_trip(number, prefix):
    encoded = encode_integer(number, prefix, 0)
    full = (1 << prefix) - 1
    if len(encoded) == 1:
        assert encoded[0] == number < full
    else:
        assert encoded[0] == full
        assert read_rest(encoded, 1, full) == (number, len(encoded))


def test_the_bits_before_the_prefix_are_kept():
    assert encode_integer(1337, 5, 0x20)[0] == 0x3F


def test_an_integer_that_never_ends_is_refused():
    with pytest.raises(CompressionError):
        read_rest(b"\x80" * 100 + b"\x00", 0, 31)
    with pytest.raises(IndexError):
        read_rest(b"\x80\x80", 0, 31)
