from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.grpc_protocol.metadata import decode_binary, encode_binary, read_pairs, write_fields
from runner.grpc_protocol.status import CallFailure


@given(st.binary(max_size=50))
def test_base64_with_and_without_padding(value):
    assert b"=" not in encode_binary(value)
    assert decode_binary(encode_binary(value)) == value
    assert decode_binary(base64.b64encode(value)) == value


@pytest.mark.parametrize("value", [b"A", b"A A=", b"A*==", b"AAA=AAAA", b"====", b"AA===", b"\xff\xff"])
def test_what_is_no_base64(value):
    with pytest.raises(CallFailure, match="x-bin"):
        read_pairs("x-bin", value)


def test_several_values_in_one_field():
    assert list(read_pairs("x-bin", b"AAE,AAE=,,/w==")) == [
        ("x-bin", b"\0\1"),
        ("x-bin", b"\0\1"),
        ("x-bin", b""),
        ("x-bin", b"\xff"),
    ]
    assert list(read_pairs("x", b"a,b")) == [("x", "a,b")], "a text may hold commas"


@given(st.lists(st.tuples(st.just("x-bin"), st.binary(max_size=9)) | st.just(("x-a", "a b,c")), max_size=5))
def test_round_trip(pairs):
    assert [pair for name, value in write_fields(pairs) for pair in read_pairs(name.decode(), value)] == pairs


@pytest.mark.parametrize("value", ["a\nb", "ü", " a", "a ", "\x7f"])
def test_a_text_that_cannot_travel(value):
    with pytest.raises(ValueError, match="metadata x"):
        write_fields([("x", value)])
