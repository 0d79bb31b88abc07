"""Header sections, read. What makes one malformed is in test_conformance.py, by section."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.http2 import fields
from runner.http2.errors import MalformedMessage
from runner.http2.fields import RequestHead, RequestReader, check_trailers, read_request
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
    assert len(fields._names) <= fields._NAMES_KEPT
    assert len(fields._ordinary) <= fields._NAMES_KEPT
    for name in (b"connection", b"Upper"):
        with pytest.raises(MalformedMessage):
            check_trailers([(name, b"y")])


@pytest.mark.parametrize("values", [(b"a", b"b\n"), (b"\nb", b"a"), (b"a\n", b"\nb"), (b"a", b"\0"), (b"", b" ")])
def test_values_are_looked_at_together(values: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedMessage):
        check_trailers([(b"x", values[0]), (b"y", values[1]), (b"z", b"")])


# --- Sections that never repeat --------------------------------------------------------------------------------------

FIELDS = st.sampled_from(
    [
        *REQUEST,
        (b":path", b"/other"),
        (b":unknown", b"x"),
        (b"te", b"trailers"),
        (b"te", b"gzip"),
        (b"content-length", b"3"),
        (b"content-length", b"x"),
        (b"x-a", b"1"),
        (b"x-a", b"2"),
        (b"x-b", b""),
        (b"x-b", b" bad"),
        (b"x-c", b"bad\n"),
        (b"Upper", b"x"),
        (b"connection", b"close"),
    ]
)


def read(reading: Callable[[], RequestHead]) -> tuple[object, ...] | None:
    try:
        head = reading()
    except MalformedMessage:
        return None
    return head.method, head.scheme, head.authority, head.path, head.fields, head.content_length


@given(st.lists(st.tuples(st.lists(FIELDS, max_size=6), st.sets(st.integers(0, 9))), min_size=1, max_size=6))
def test_what_is_read_apart_says_the_same_as_what_is_read_as_a_whole(sections) -> None:
    reader = RequestReader()
    for _ in range(2):  # names that were never seen are looked at with the rest
        for more, marked in sections:
            for section in ([*REQUEST, *more], more):
                fresh = sorted(position for position in marked if position < len(section))
                before = list(section)
                assert read(lambda: reader.read(section, fresh)) == read(lambda: read_request(section))  # noqa: B023
                assert section == before


def test_what_requests_share_is_one_object() -> None:
    reader = RequestReader()
    check_trailers([(b"x-trace", b"")])  # a name that is known
    shared = [*REQUEST, (b"te", b"trailers")]
    first = reader.read([*shared, (b"x-trace", b"1")], [5])
    second = reader.read([*shared[:4], (b"x-trace", b"2"), *shared[4:]], [4])
    assert first.common is second.common is not None
    assert (first.own, second.own) == ([(b"x-trace", b"1")], [(b"x-trace", b"2")])
    assert second.fields == [(b"x-trace", b"2"), (b"te", b"trailers")]
    assert reader.read(shared, []).common is None


def test_what_is_kept_of_requests_is_bounded() -> None:
    reader = RequestReader()
    check_trailers([(b"x-trace", b"")])
    for number in range(100):
        reader.read([*REQUEST, (b"x-long", b"%d" % number), (b"x-trace", b"1")], [5])
        assert len(reader._common) <= 16
    count = len(reader._common)
    reader.read([*REQUEST, (b"x-long", b"x" * 4096), (b"x-trace", b"1")], [5])
    assert len(reader._common) == count


def test_fields_said_twice_are_read_in_their_order() -> None:
    reader = RequestReader()
    check_trailers([(b"x-trace", b"")])
    head = reader.read([*REQUEST, (b"x-trace", b"1"), (b"x-trace", b"2")], [4])
    assert head.common is None
    assert head.fields == [(b"x-trace", b"1"), (b"x-trace", b"2")]
