from __future__ import annotations

from urllib.parse import unquote

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.grpc_protocol.status import StatusCode, code_of_http, encode_message


def test_the_codes_are_those_of_grpc():
    assert {code.name: code.value for code in StatusCode} == {code.name: code.value[0] for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ok 100%", b"ok 100%25"),
        ("a\r\nb", b"a%0D%0Ab"),
        ("ü", b"%C3%BC"),
        ("~ !", b"~ !"),
        ("\x7f", b"%7F"),
        ("", b""),
    ],
)
def test_encoding(text, value):
    assert encode_message(text) == value
    assert unquote(value.decode()) == text


@given(st.text())
def test_round_trip(text):
    value = encode_message(text)
    assert value.isascii()
    assert unquote(value.decode()) == text


def test_what_is_no_text():
    assert encode_message("\ud800") == b"?"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, StatusCode.INTERNAL),
        (401, StatusCode.UNAUTHENTICATED),
        (403, StatusCode.PERMISSION_DENIED),
        (404, StatusCode.UNIMPLEMENTED),
        (415, StatusCode.UNKNOWN),
        (429, StatusCode.UNAVAILABLE),
        (500, StatusCode.UNKNOWN),
        (503, StatusCode.UNAVAILABLE),
    ],
)
def test_statuses_of_http(status, code):
    assert code_of_http(status) is code
