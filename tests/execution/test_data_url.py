from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.execution import data_url


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,", b""),
        ("data:,hello", b"hello"),
        ("DATA:text/plain;charset=utf-8,a%20b%2Cc", b"a b,c"),
        ("data:,caf%C3%A9", "café".encode()),
        ("data:,café", "café".encode()),
        ("data:,100%", b"100%"),
        ("data:;base64,aGk=", b"hi"),
        ("data:;base64,aGk", b"hi"),
        ("data:image/png;BASE64 ,aGk%3D", b"hi"),
        ("data:;base64,a G\nk =", b"hi"),
        ("data:;base64,", b""),
        ("data:,a#b", b"a"),
    ],
)
def test_what_it_holds(url, data):
    assert data_url.decode(url) == data


@pytest.mark.parametrize(
    "url", ["data:", "data:;base64", "data:#,x", "data:;base64,a", "data:;base64,a*Gk", "data:;base64,é"]
)
def test_what_it_refuses(url):
    with pytest.raises(ValueError, match=r"comma|base64"):
        data_url.decode(url)


@given(st.binary(max_size=200))
def test_base64_comes_back(data):
    assert data_url.decode("data:;base64," + base64.b64encode(data).decode()) == data


@given(st.sampled_from(["data:,", "data:;base64,", "data:"]), st.text(max_size=100))
def test_it_decodes_or_says_why_not(head, text):
    try:
        assert isinstance(data_url.decode(head + text), bytes)
    except ValueError as exc:
        reason = str(exc)
        assert reason in ("has no comma before its data", "is not valid base64")
