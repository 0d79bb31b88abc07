"""Each call has an id under which logs speak of it."""

from __future__ import annotations

from runner.server.request_ids import RequestIds, brought_id


def test_a_call_may_bring_its_own() -> None:
    assert brought_id([("x-id", "1"), ("x-request-id", "abc")]) == "abc"
    assert brought_id([("x-request-id", "first"), ("x-request-id", "last")]) == "last"
    assert brought_id([("x-request-id", "r" * 1000)]) == "r" * 128
    assert brought_id([("x-request-id", b"bytes"), ("x-id", "1")]) == ""


def test_others_get_one_that_nobody_else_has() -> None:
    one, other = RequestIds(), RequestIds()
    ids = [one.new(), one.new(), other.new(), other.new()]
    assert len(set(ids)) == 4
    assert len({each.partition("-")[0] for each in ids}) == 2
