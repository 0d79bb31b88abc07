"""Header sections, read. What makes one malformed is in test_conformance.py, by section."""

from __future__ import annotations

import pytest

from runner.http2.errors import MalformedMessage
from runner.http2.fields import check_trailers, read_request
from tests.http2.peer import REQUEST


def test_a_request() -> None:
    head = read_request([*REQUEST, (b"te", b"trailers"), (b"x", b""), (b"content-length", b"12")])
    assert (head.method, head.scheme, head.path, head.authority) == (b"POST", b"http", b"/test", b"localhost")
    assert head.content_length == 12
    assert head.fields == [(b"te", b"trailers"), (b"x", b""), (b"content-length", b"12")]
    assert head.meaning is None


def test_names_are_looked_at_again_after_many_others() -> None:
    for number in range(3000):
        check_trailers([(b"x-%d" % number, b"y")])
        with pytest.raises(MalformedMessage):
            check_trailers([(b"X-%d" % number, b"y")])
    for name in (b"connection", b"Upper"):
        with pytest.raises(MalformedMessage):
            check_trailers([(name, b"y")])


@pytest.mark.parametrize("values", [(b"a", b"b\n"), (b"\nb", b"a"), (b"a\n", b"\nb"), (b"a", b"\0"), (b"", b" ")])
def test_values_are_looked_at_together(values: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedMessage):
        check_trailers([(b"x", values[0]), (b"y", values[1]), (b"z", b"")])
