"""The bytes of the messages of ingress processes."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.processes.framing import JOIN_BELOW, SHARED_TAG
from runner.processes.shared import create_pair, open_pair
from runner.server.ingress.frames import pack, unpack
from runner.server.ingress.messages import (
    Beat,
    Call,
    Cancel,
    Credit,
    Drain,
    Encrypt,
    EndInput,
    Failed,
    FromIngress,
    Item,
    Left,
    Message,
    Ready,
    Result,
    RpcKind,
    Serve,
    ToIngress,
)

IDS = st.integers(0, 2**64 - 1)
PAYLOADS = st.binary(max_size=60) | st.sampled_from([b"x" * (JOIN_BELOW - 1), b"y" * JOIN_BELOW, b"z" * 100_000])
INSTANTS = st.floats(0, 1e9)
KINDS = st.builds(RpcKind, st.text(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
MESSAGES = st.one_of(
    st.builds(Call, IDS, st.binary(), st.none() | INSTANTS, st.text(), PAYLOADS),
    st.builds(Item, IDS, PAYLOADS),
    st.builds(Result, IDS, st.binary(), PAYLOADS, st.binary()),
    st.builds(Credit, IDS, st.integers(0, 2**32 - 1), IDS),
    st.builds(EndInput, IDS),
    st.builds(Cancel, IDS),
    st.builds(Failed, IDS, st.integers(0, 16), st.text(), PAYLOADS, st.binary()),
    st.builds(Left, IDS),
    st.builds(Ready, IDS),
    st.builds(Drain, INSTANTS),
    st.just(Beat()),
    st.builds(Encrypt, st.binary(), st.binary(), st.none() | st.binary(min_size=1)),
    st.builds(
        Serve,
        rpcs=st.lists(KINDS, max_size=3).map(tuple),
        max_message_bytes=st.integers(0, 2**31),
        compress_replies=st.booleans(),
        max_age=INSTANTS,
        age_grace=INSTANTS,
    ),
)


def frame_of(message: Message, shared: typing.Any = None) -> memoryview:
    out: list[bytes | memoryview] = []
    size = pack(message, out, shared)
    frame = memoryview(bytearray(b"".join(out)))
    assert len(frame) == size == 4 + int.from_bytes(frame[:4], "little")
    return frame


def plain(message: typing.Any) -> typing.Any:
    """A long payload is a view."""
    return message._replace(payload=bytes(message.payload)) if hasattr(message, "payload") else message


@given(MESSAGES)
def test_what_is_packed_is_unpacked(message):
    assert plain(unpack(frame_of(message))) == message


def test_every_message_is_tried_and_has_a_number_of_its_own():
    every = {*typing.get_args(ToIngress), *typing.get_args(FromIngress)}
    assert set(typing.get_args(Message)) == every
    assert len({each.TAG for each in every}) == len(every)
    assert len(every) == 13


@pytest.mark.parametrize("make", [Call, Item, Result])
def test_long_payloads_lie_in_shared_memory(make):
    payload = bytes(range(256)) * 400
    messages = {
        Call: Call(1, b"head", 2.5, "id", payload),
        Item: Item(1, payload),
        Result: Result(1, b"begin", payload, b"trailers"),
    }
    ours, descriptors = create_pair(1 << 20)
    theirs = open_pair(*descriptors)
    frame = frame_of(messages[make], ours.writer)
    assert len(frame) < 200
    assert frame[4] == SHARED_TAG
    found = unpack(frame, theirs.reader)
    assert theirs.reader.lent == 1
    assert plain(found) == messages[make]
    del found
    assert theirs.reader.lent == 0


@given(st.binary(max_size=80))
def test_nonsense_is_refused(body):
    frame = memoryview(bytearray((len(body)).to_bytes(4, "little") + body))
    try:
        found = unpack(frame)
    except ValueError:
        return
    assert isinstance(found, typing.get_args(Message))


def test_a_message_without_a_payload_cannot_have_one_elsewhere():
    ours, descriptors = create_pair(1 << 20)
    theirs = open_pair(*descriptors)
    frame = bytes(frame_of(Item(1, bytes(100_000)), ours.writer))
    head = frame[: len(frame) - 13]
    with pytest.raises(ValueError, match="no payload"):
        unpack(memoryview(bytearray(head + frame_of(Cancel(1)))), theirs.reader)
    with pytest.raises(ValueError, match="unknown tag"):
        unpack(memoryview(bytearray(frame)))
