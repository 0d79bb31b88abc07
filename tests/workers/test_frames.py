"""Every message survives its bytes, and garbage is told from it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import CallError, ErrorKind, call_error
from runner.execution.times import Times
from runner.processes.framing import JOIN_BELOW, SHARED_TAG
from runner.signature.method import Cardinality
from runner.signature.published import Lane, Published
from runner.statistics import BatchStatistics
from runner.workers.frames import pack, unpack
from runner.workers.messages import (
    Call,
    Calls,
    Cancel,
    Credit,
    EndInput,
    Failed,
    Item,
    Items,
    Load,
    LoadFailed,
    Message,
    Mixed,
    Payload,
    Ran,
    Ready,
    Result,
    Results,
    Room,
)

ids = st.integers(0, 2**64 - 1)
payloads = st.binary(max_size=100) | st.just(b"x" * JOIN_BELOW)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.none() | st.floats(0, 1e9)

published = st.builds(
    Published,
    name=texts,
    cardinality=st.sampled_from(Cardinality),
    lane=texts.map(Lane),
    clarifai=st.binary(max_size=20),
    native=st.binary(max_size=20),
    idempotent=st.booleans(),
    max_batch_size=ids,
    priority=st.integers(-9, 9),
    slo=st.none() | st.floats(0, 10),
    timeout=st.none() | st.floats(0, 10),
    max_timeout=st.none() | st.floats(0, 10),
)
seconds = st.floats(0, 1e9, width=32)
messages = st.one_of(
    st.lists(st.tuples(ids, st.binary(max_size=100)), max_size=40).map(
        lambda items: Items(tuple(each for each, _ in items), tuple(payload for _, payload in items))
    ),
    st.builds(
        Call,
        ids,
        st.integers(0, 65535),
        payloads,
        st.binary(max_size=50),
        times,
        texts,
        st.binary(max_size=50),
        st.integers(1, 1024),
    ),
    st.lists(
        st.tuples(times, texts.map(lambda text: text.replace("\n", " ")), st.binary(max_size=50)),
        min_size=1,
        max_size=5,
    ).flatmap(
        lambda calls: st.builds(
            Calls,
            ids,
            st.integers(0, 65535),
            payloads,
            st.just(tuple(left for left, _, _ in calls)),
            st.just(tuple(request_id for _, request_id, _ in calls)),
            st.just(tuple(metadata for _, _, metadata in calls)) | st.just((calls[0][2],)),
        )
    ),
    st.lists(
        st.builds(Times, seconds, seconds, seconds, seconds, st.integers(0, 65535)), min_size=1, max_size=5
    ).flatmap(lambda each: st.builds(Results, ids, st.just(len(each)), payloads, st.just(tuple(each)))),
    st.builds(
        Results,
        ids,
        st.integers(1, 65535),
        payloads,
        st.builds(Times, seconds, seconds, seconds, seconds, st.integers(0, 65535)).map(lambda each: (each,)),
    ),
    st.builds(Item, ids, payloads),
    st.builds(Result, ids, payloads, st.builds(Times, seconds, seconds, seconds, seconds, st.integers(0, 65535))),
    st.builds(
        Ran,
        name=texts,
        batches=ids,
        entries=ids,
        cost=seconds,
        seconds=seconds,
        device_seconds=seconds,
        reasons=st.dictionaries(texts, ids),
        sizes=st.dictionaries(texts, ids),
        longest_wait=seconds,
        oom_splits=ids,
        latest=st.none()
        | st.builds(
            BatchStatistics,
            reason=texts,
            size=ids,
            cost=seconds,
            key=texts,
            waited=seconds,
            seconds=seconds,
            device_seconds=seconds,
        ),
    ),
    st.builds(Room, texts.map(Lane), ids),
    st.builds(EndInput, ids),
    st.builds(Cancel, ids),
    st.builds(Credit, ids, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)),
    st.builds(Ready, st.lists(published, max_size=3).map(tuple)),
    st.builds(LoadFailed, texts, texts),
    st.builds(
        Load,
        model_dir=texts,
        device=texts,
        num_threads=ids,
        max_streams=ids,
        allow_private_urls=st.booleans(),
        fetch_timeout=st.floats(0, 100),
        fetch_max_bytes=ids,
        fetch_max_redirects=ids,
        options=st.dictionaries(texts, st.dictionaries(texts, st.integers() | st.none())),
    ),
)


def framed(message: Message) -> bytes:
    pieces: list[Payload] = []
    length = pack(message, pieces)
    data = b"".join(pieces)
    assert length == len(data)
    return data


@given(messages)
def test_unpack_is_the_inverse_of_pack(message: Message) -> None:
    data = framed(message)
    assert struct.unpack_from("<I", data)[0] == len(data) - 4
    arrived = unpack(memoryview(bytearray(data)))
    assert type(arrived) is type(message)
    assert arrived == message


@pytest.mark.parametrize("kind", ErrorKind)
def test_an_error_arrives_as_the_class_that_was_sent(kind: ErrorKind) -> None:
    error = call_error(kind, "told", details="more", path="images[3]")
    times = Times(0.5, 0.25, 0.125, 0.0, 3)
    arrived = unpack(memoryview(framed(Failed(7, error, times))))
    assert isinstance(arrived, Failed)
    assert (arrived.id, arrived.times) == (7, times)
    assert type(arrived.error) is type(error)
    assert (arrived.error.message, arrived.error.details, arrived.error.path) == ("told", "more", "images[3]")


@pytest.mark.parametrize("kind", ErrorKind)
def test_how_each_of_several_inputs_ended_arrives(kind: ErrorKind) -> None:
    error = call_error(kind, "told", details="more", path="images[3]")
    times = Times(0.5, 0.25, 0.125, 0.0, 3)
    long = bytes(JOIN_BELOW)
    arrived = unpack(memoryview(framed(Mixed(7, (b"one", error, b"", long), times))))
    assert isinstance(arrived, Mixed)
    one, failed, empty, last = arrived.ends
    assert (arrived.id, arrived.times, one, empty, last) == (7, times, b"one", b"", long)
    assert type(failed) is type(error)
    assert isinstance(failed, CallError)
    assert (failed.message, failed.details, failed.path) == ("told", "more", "images[3]")


def test_ends_that_are_cut_off_are_no_message() -> None:
    data = framed(Mixed(7, (b"one", b"two"), Times()))[:-1]
    with pytest.raises(ValueError, match="cannot be read"):
        unpack(memoryview(data))


def test_calls_without_deadlines_say_nothing_of_them() -> None:
    calls = Calls(7, 0, b"inputs", (None, None), ("a", "b"), (b"",))
    data = framed(calls)
    assert len(framed(calls._replace(times_left=(None, 1.0)))) == len(data) + 16
    broken = data[:17] + b"\1" + data[18:]  # one deadline of two calls
    with pytest.raises(ValueError, match="1 times and 1 blocks of metadata of 2 calls"):
        unpack(memoryview(broken))


def test_a_large_payload_is_neither_joined_nor_copied() -> None:
    payload = bytes(JOIN_BELOW)
    pieces: list[Payload] = []
    pack(Item(1, payload), pieces)
    assert pieces[1] is payload
    frame = bytearray(b"".join(pieces))
    arrived = unpack(memoryview(frame))
    assert isinstance(arrived, Item)
    assert isinstance(arrived.payload, memoryview)
    assert arrived.payload.obj is frame


class Memory:
    """Both ends of shared memory, of which there is always enough."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def put(self, payload: Payload) -> int:
        self.payloads.append(payload)
        return 4096 * len(self.payloads)

    def view(self, position: int, size: int) -> memoryview:
        payload = memoryview(self.payloads[position // 4096 - 1])
        if len(payload) != size:
            raise ValueError("another size")
        return payload


@pytest.mark.parametrize("change", [-1, 1])
def test_items_that_are_not_as_long_as_they_say_are_no_message(change: int) -> None:
    data = bytearray(framed(Items((1, 2), (b"one", b"two"))))
    data[4 + 1 + 2 + 16] += change  # the first one's length
    with pytest.raises(ValueError, match="2 items come to"):
        unpack(memoryview(data))


@given(messages)
def test_a_payload_in_shared_memory_is_not_in_the_frame(message: Message) -> None:
    memory: Any = Memory()
    pieces: list[Payload] = []
    size = pack(message, pieces, memory)
    frame = b"".join(pieces)
    assert len(frame) == size
    assert int.from_bytes(frame[:4], "little") + 4 == size
    long = isinstance(message, Call | Calls | Item | Result | Results) and len(message.payload) >= JOIN_BELOW
    assert len(memory.payloads) == long
    assert size < JOIN_BELOW or not long
    assert unpack(memoryview(frame), memory) == message
    if long:
        with pytest.raises(ValueError, match="unknown message tag 239"):
            unpack(memoryview(frame))


@pytest.mark.parametrize(
    "message",
    [Cancel(1), EndInput(1), Credit(1, 2, 3), Room(Lane("a"), 1), Item(1, b"has one"), Result(1, b"has one")],
    ids=lambda message: type(message).__name__,
)
def test_what_has_no_payload_elsewhere_is_refused(message: Message) -> None:
    memory: Any = Memory()
    memory.put(b"elsewhere")
    pieces: list[Payload] = []
    pack(message, pieces)
    for inner in (b"".join(pieces), b"", b"\0\0\0\0", b"\1\0\0\0" + bytes([SHARED_TAG])):
        head = struct.pack("<IBQI", 13 + len(inner), SHARED_TAG, 4096, len(b"elsewhere"))
        with pytest.raises(ValueError, match="on the link to a worker"):
            unpack(memoryview(head + inner), memory)


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown message tag 99"):
        unpack(memoryview(b"\x01\x00\x00\x00\x63"))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x00\x00\x00",
        b"\x03\x00\x00\x00\x02\x00\x00",  # a call that ends in its head
        b"\x03\x00\x00\x00\x01{}",
        b"\x03\x00\x00\x00\x10[]",
        b'\x0b\x00\x00\x00\x13{"id": "\xff"}',
    ],
)
def test_what_cannot_be_read_is_one_kind_of_error(frame: bytes) -> None:
    with pytest.raises(ValueError, match="on the link to a worker"):
        unpack(memoryview(frame))
