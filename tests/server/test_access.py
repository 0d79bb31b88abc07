from __future__ import annotations

import pytest

from runner.errors import Unauthenticated
from runner.server.access import Access


def test_without_keys_everybody_may_call():
    Access(()).check([])
    Access(()).check([("authorization", "Key whatever")])


@pytest.mark.parametrize("given", ["Key alpha", "Key beta", "key beta", "Bearer beta", "bearer  beta "])
def test_a_key_lets_a_call_pass(given):
    Access(("alpha", "beta")).check([("x-request-id", "1"), ("authorization", given)])


@pytest.mark.parametrize(
    "given", ["", "Key", "Key ", "Key gamma", "alpha", "Basic alpha", "Key alphabeta", "Keyalpha", "Key ö"]
)
def test_anything_else_is_refused_without_naming_a_key(given):
    with pytest.raises(Unauthenticated) as told:
        Access(("alpha", "beta")).check([("authorization", given)])
    assert "alpha" not in str(told.value)
    assert "gamma" not in str(told.value)


def test_no_key_and_a_key_of_bytes_are_refused():
    for metadata in ([], [("authorization", b"Key alpha")], [("x-authorization", "Key alpha")]):
        with pytest.raises(Unauthenticated):
            Access(("alpha",)).check(metadata)


def test_a_key_has_a_name_by_which_its_calls_share():
    access = Access(["one", "two"])
    assert access.check([("authorization", "Key two")]) == "key 2"
    assert Access([]).check([]) == ""
