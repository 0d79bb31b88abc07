from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.grpc_protocol import messages as module
from runner.grpc_protocol.compression import compress, decompressor
from runner.grpc_protocol.messages import HEAD, Message, MessageReader, Packed, frame
from runner.grpc_protocol.status import CallFailure, StatusCode

MESSAGES = st.lists(st.binary(max_size=40) | st.sampled_from([15_000, 16_384, 40_000, 300_000]).map(bytes), max_size=6)


def plain(message: Message | Packed) -> Message:
    """Return a message as it was before it was compressed, if it was."""
    return message.plain() if isinstance(message, Packed) else message


def fed(reader: MessageReader, data: bytes, sizes: list[int] | None = None) -> list[bytes | memoryview]:
    messages: list[bytes | memoryview] = []
    position = 0
    for size in [*(sizes or []), len(data)]:
        piece = data[position : position + size]
        messages += map(plain, reader.feed(b"before" + piece + b"behind", 6, 6 + len(piece)))
        position += size
    return messages


@given(MESSAGES, st.lists(st.integers(0, 30) | st.integers(0, 100_000), max_size=20))
def test_messages_split_and_joined_anywhere(messages, sizes):
    reader = MessageReader(300_000)
    assert fed(reader, b"".join(map(frame, messages)), sizes) == messages
    assert reader.between
    assert not reader.missing


@given(MESSAGES, st.lists(st.integers(0, 30) | st.integers(0, 100_000), max_size=20))
def test_nothing_is_kept_of_memory_that_is_read_over(messages, sizes):
    reader = MessageReader(300_000)
    data = b"".join(map(frame, messages))
    found: list[bytes | memoryview] = []
    for size in [*sizes, len(data)]:
        memory = bytearray(data[:size])
        found += map(plain, reader.feed(memoryview(memory), 0, len(memory)))
        memory[:] = b"\xee" * len(memory)
        data = data[size:]
    assert found == messages
    assert reader.between


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.integers(1, 7))
def test_compressed_messages_in_pieces(messages, size):
    reader = MessageReader(30, decompressor("gzip"))
    data = b"".join(frame(compress("gzip", message), compressed=True) for message in messages)
    reader = MessageReader(100, decompressor("gzip"))
    assert fed(reader, data, [size] * (len(data) // size)) == messages


def test_compressed_and_plain_messages_take_turns():
    reader = MessageReader(100, decompressor("gzip"))
    data = frame(b"a") + frame(compress("gzip", b"b"), compressed=True) + frame(b"c")
    assert fed(reader, data) == [b"a", b"b", b"c"]


def test_a_long_message_stays_where_it_came_in():
    data = frame(bytes(20_000))
    (message,) = MessageReader(1 << 20).feed(data, 0, len(data))
    assert isinstance(message, memoryview)
    assert message.obj is data
    assert message.readonly


def test_a_view_does_not_keep_much_more_than_itself():
    data = frame(bytes(20_000)) + bytes(100_000)
    (message,) = MessageReader(1 << 20).feed(data, 0, 20_005)
    assert isinstance(message, bytes)


def test_a_long_message_in_pieces_is_collected_once_and_cannot_be_written_to():
    reader = MessageReader(1 << 20)
    data = frame(b"x" * 500_000)
    (message,) = fed(reader, data, [1000] * 400)
    assert isinstance(message, memoryview)
    assert message.readonly
    assert message == b"x" * 500_000


class Memory:
    """Lends memory. `asked`: the sizes."""

    def __init__(self, most: int = 1 << 20) -> None:
        self.asked: list[int] = []
        self.lent: list[memoryview] = []
        self._most = most

    def __call__(self, size: int) -> memoryview | None:
        self.asked.append(size)
        if size > self._most:
            return None
        self.lent.append(memoryview(bytearray(size)))
        return self.lent[-1]


def test_a_long_message_in_pieces_lies_where_the_taker_wants_it():
    memory = Memory()
    reader = MessageReader(1 << 20, memory_for=memory)
    data = frame(b"x" * 40_000) + frame(b"y" * 20_000) + frame(b"z" * 100) + frame(b"a" * 50_000)
    messages = fed(reader, data, [1000] * 100)
    assert messages == [b"x" * 40_000, b"y" * 20_000, b"z" * 100, b"a" * 50_000]
    assert memory.asked == [40_000, 20_000, 50_000]
    for message, lent in zip((messages[0], messages[1], messages[3]), memory.lent, strict=True):
        assert isinstance(message, memoryview)
        assert message.obj is lent.obj
        assert not message.readonly


def test_where_the_taker_has_no_memory_a_message_has_its_own():
    memory = Memory(most=30_000)
    reader = MessageReader(1 << 20, memory_for=memory)
    messages = fed(reader, frame(b"x" * 40_000) + frame(b"y" * 20_000) + frame(b"x" * 40_000), [1000] * 200)
    assert [isinstance(each, memoryview) and each.readonly for each in messages] == [True, False, True]
    assert len(memory.lent) == 1


def test_a_compressed_message_lies_in_memory_of_its_own():
    memory = Memory()
    packed = compress("gzip", bytes(index * 7919 % 251 for index in range(60_000)) * 4)
    reader = MessageReader(1 << 20, decompressor("gzip"), memory)
    (message,) = fed(reader, frame(packed, compressed=True), [700] * 50)
    assert len(message) == 240_000
    assert not memory.asked


@given(st.integers(1, 100_000), st.lists(st.integers(0, 40_000), max_size=6))
def test_the_middle_of_a_message_is_taken_and_nothing_else(size, steps):
    reader = MessageReader(1 << 20)
    data = frame(bytes(index % 251 for index in range(size))) + b"next"
    position = 0
    for step in steps:
        stop = min(position + step, len(data))
        inside = position >= HEAD and stop < HEAD + size
        if reader.middle(data, position, stop):
            assert inside
        else:
            assert not inside
            if stop > HEAD + size or reader.feed(data, position, stop):
                return
        position = stop
        assert reader.missing == (HEAD + size - position if position >= HEAD else 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the memory of this process as Linux shows it")
@pytest.mark.parametrize("size", [200_000, 7 << 20, 100 << 20])
def test_what_is_announced_takes_no_memory(size):
    readers = [MessageReader(1 << 30) for _ in range(max(2, (400 << 20) // size))]
    before = resident()
    for reader in readers:
        reader.feed(module.head(size) + b"x", 0, HEAD + 1)
        assert reader.missing == size - 1
        assert not reader.between
    assert resident() - before < 40 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_a_message_over_the_limit_is_refused_by_its_head():
    reader = MessageReader(10)
    assert fed(reader, frame(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(CallFailure) as raised:
        reader.feed(module.head(11), 0, HEAD)
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert reader._buffer is None


def test_a_message_over_the_limit_once_decompressed():
    reader = MessageReader(1000, decompressor("gzip"))
    with pytest.raises(CallFailure) as raised:
        fed(reader, frame(compress("gzip", bytes(1001)), compressed=True))
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_a_message_stays_compressed_until_it_is_taken():
    data = frame(compress("gzip", bytes(1_000_000)), compressed=True)
    (message,) = MessageReader(1 << 20, decompressor("gzip")).feed(data, 0, len(data))
    assert isinstance(message, Packed)
    assert len(message) == len(data) - HEAD
    assert message.plain() == bytes(1_000_000)


@pytest.mark.parametrize("size", [1, 100])
def test_a_compressed_message_without_a_coding(size):
    with pytest.raises(CallFailure) as raised:
        fed(MessageReader(100), frame(b"abc", compressed=True), [size])
    assert raised.value.code is StatusCode.INTERNAL


def test_a_flag_that_is_none():
    with pytest.raises(CallFailure) as raised:
        fed(MessageReader(100, decompressor("gzip")), b"\2\0\0\0\0")
    assert raised.value.code is StatusCode.INTERNAL


def test_a_head_in_pieces():
    reader = MessageReader(100)
    for byte in module.head(1):
        assert reader.feed(bytes((byte,)), 0, 1) == []
        assert not reader.between
    assert reader.feed(b"x", 0, 1) == [b"x"]
    assert reader.between


def test_a_message_that_does_not_fit_into_four_bytes():
    with pytest.raises(OverflowError):
        module.head(1 << 32)


def test_repr():
    reader = MessageReader(100)
    reader.feed(frame(b"abc"), 0, 7)
    assert repr(reader) == "<MessageReader: 2 of 3 bytes, head of 0>"
