"""Runs of messages: put together, taken apart, cut into parts, and told from what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InvalidInput
from runner.wire import run
from runner.wire.payload import VIEW_FROM
from runner.wire.pb import inference_pb2 as pb

messages = st.lists(st.binary(max_size=300) | st.just(b"x" * VIEW_FROM), max_size=20)


def joined(tag: bytes, payloads: list[bytes]) -> bytes:
    return b"".join(run.pieces(tag, payloads))


@given(messages)
def test_a_run_is_taken_apart_to_what_it_was_made_of(payloads: list[bytes]) -> None:
    assert run.split(joined(run.INPUT_TAG, payloads), len(payloads)) == payloads


def test_it_is_what_protobuf_writes() -> None:
    inputs = [pb.Input(id="a"), pb.Input(), pb.Input(id="b" * 200)]
    outputs = [pb.Output(id="a"), pb.Output()]
    assert joined(run.INPUT_TAG, [each.SerializeToString() for each in inputs]) == (
        pb.PostModelOutputsRequest(inputs=inputs).SerializeToString()
    )
    assert joined(run.OUTPUT_TAG, [each.SerializeToString() for each in outputs]) == (
        pb.MultiOutputResponse(outputs=outputs).SerializeToString()
    )


def test_long_messages_are_left_where_they_are() -> None:
    whole = bytearray(joined(run.INPUT_TAG, [b"short", bytes(VIEW_FROM)]))
    short, long = run.split(memoryview(whole), 2)
    assert isinstance(short, bytes)
    assert isinstance(long, memoryview)
    assert long.obj is whole


@given(st.binary(max_size=60), st.integers(1, 5))
def test_any_bytes_are_a_run_or_refused(data: bytes, count: int) -> None:
    try:
        found = run.split(data, count)
    except InvalidInput:
        return
    assert len(found) == count


@given(messages.filter(len), st.integers(1, 24), st.booleans())
def test_parts_are_runs_of_the_same_messages_in_order(payloads: list[bytes], size: int, whole: bool) -> None:
    known = joined(run.INPUT_TAG, payloads) if whole else None
    parts = list(run.parts(known, run.INPUT_TAG, payloads, size))
    assert all(1 <= count <= size for count, _ in parts)
    assert [each for count, part in parts for each in run.split(part, count)] == payloads


def test_parts_of_a_run_are_not_copied() -> None:
    payloads = [b"a" * 200, b"b", b"c"]
    whole = bytearray(joined(run.INPUT_TAG, payloads))
    for _, part in run.parts(memoryview(whole), run.INPUT_TAG, payloads, 2):
        assert isinstance(part, memoryview)
        assert part.obj is whole


def test_lengths_that_are_written_longer_than_they_have_to_be_do_no_harm() -> None:
    whole = b"".join((run.INPUT_TAG, b"\x81\x00", b"a", run.INPUT_TAG, b"\x82\x80\x00", b"bc", run.INPUT_TAG, b"\x00"))
    payloads = run.split(whole, 3)
    assert payloads == [b"a", b"bc", b""]
    parts = list(run.parts(whole, run.INPUT_TAG, payloads, 2))
    assert [each for count, part in parts for each in run.split(part, count)] == payloads


@pytest.mark.parametrize("data", [b"\x22", b"\x22\x05abc", b"\x22\x80", b"\x22\x00\x22"])
def test_what_ends_too_soon_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no run of"):
        run.split(data, 1)
