"""The scanner of arrays against protobuf: what it takes out and puts in never changes what the message says."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.wire import array_scan, varint
from runner.wire.array_scan import INPUT_DATA, OUTPUT_DATA, cut, spread
from runner.wire.pb import inference_pb2 as pb

NAMES = frozenset((b"x", b"y"))
KINDS = {INPUT_DATA: pb.Input, OUTPUT_DATA: pb.Output}


def call(*names: str, size: int = 300) -> pb.Input:
    """A call as the official client builds it, of an array for each name."""
    message = pb.Input()
    message.data.metadata["_method_name"] = "predict"
    for position, name in enumerate(names):
        array = message.data.parts.add(id=name).data.ndarray
        array.buffer = bytes([position % 256]) * size
        array.shape.append(size)
        array.dtype = "uint8"
    return message


def field(number: int, content: bytes, padding: int = 0) -> bytes:
    """A field whose length takes so many bytes more than it has to."""
    length = bytearray(varint.encode(len(content)))
    for _ in range(padding):
        length[-1] |= 0x80
        length.append(0)
    return varint.encode(number << 3 | 2) + bytes(length) + content


def check(data: bytes, data_tag: int = INPUT_DATA, at_least: int = 1) -> bool:
    """Assert that protobuf reads the same from these bytes as from what is left and what was taken; say if any was."""
    found = cut(data, data_tag, NAMES, at_least)
    if found is None:
        return False
    try:
        expected = KINDS[data_tag].FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            KINDS[data_tag].FromString(found.message)
        return True
    message = KINDS[data_tag].FromString(found.message)
    for index, (start, end) in found.ranges.items():
        part = message.data.parts[index]
        assert part.id.encode() in NAMES
        assert end - start >= at_least
        assert [field.name for field, _ in part.data.ListFields()] == ["ndarray"]
        assert not part.data.ndarray.buffer
        part.data.ndarray.buffer = data[start:end]
    assert message == expected
    return True


@pytest.mark.parametrize("names", [("x",), ("x", "y"), ("z", "x"), ("z", "y", "z2", "x")])
def test_what_clients_send_is_found(names: tuple[str, ...]):
    message = call(*names)
    data = message.SerializeToString()
    assert check(data)
    found = cut(memoryview(data), INPUT_DATA, NAMES, 1)
    assert found is not None
    assert list(found.ranges) == [index for index, name in enumerate(names) if name in "xy"]


def test_outputs():
    data = call("x").data
    data.ClearField("metadata")
    output = pb.Output(status=pb.Status(code=10000, description="Ok"), data=data, prompt_tokens=3, cached_tokens=200)
    assert check(output.SerializeToString(), OUTPUT_DATA)


def test_small_arrays_and_other_parts_stay():
    message = call("x", "y")
    message.data.parts[0].data.ndarray.buffer = b"small"
    message.data.parts.add(id="z").data.bytes_value = b"z" * 1000
    message.data.parts.add(id="x2").data.string_value = "z" * 1000
    found = cut(message.SerializeToString(), INPUT_DATA, NAMES, 100)
    assert found is not None
    assert list(found.ranges) == [1]
    message.data.parts[1].data.ndarray.buffer = b""
    assert found.message == message.SerializeToString()


ARRAY = field(1, b"n" * 200) + field(2, b"\xc8\x01") + field(3, b"uint8")
DATA = field(20, ARRAY)
PART = field(1, DATA) + field(2, b"x")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(field(2, field(19, PART)) * 2, id="data twice"),
        pytest.param(field(2, field(19, PART), 1), id="length of data"),
        pytest.param(field(2, field(19, PART, 1)), id="length of part"),
        pytest.param(field(2, field(19, field(1, DATA, 1) + field(2, b"x"))), id="length of the part's data"),
        pytest.param(field(2, field(19, field(1, field(20, ARRAY, 1)) + field(2, b"x"))), id="length of array"),
        pytest.param(field(2, field(19, field(1, field(20, field(1, b"n", 8))) + field(2, b"x"))), id="of numbers"),
        pytest.param(field(2, field(19, field(2, b"x") + field(1, DATA))), id="id first"),
        pytest.param(field(2, field(19, PART + field(2, b"y"))), id="two ids"),
        pytest.param(field(2, field(19, field(1, DATA) + PART)), id="the part's data twice"),
        pytest.param(field(2, field(19, field(1, DATA + DATA) + field(2, b"x"))), id="two arrays"),
        pytest.param(field(2, field(19, field(1, DATA + field(25, b"[1]")) + field(2, b"x"))), id="text beside it"),
        pytest.param(field(2, field(19, field(1, field(20, ARRAY + ARRAY)) + field(2, b"x"))), id="numbers twice"),
        pytest.param(field(2, field(19, field(1, DATA))), id="no id"),
        pytest.param(field(2, DATA), id="old style"),
        pytest.param(field(2, field(19, PART) + b"\xab\x01\xac\x01"), id="group"),
        pytest.param(field(2, field(19, PART)) + b"\x3b\x3c", id="group around"),
        pytest.param(field(2, field(19, PART)) + b"\x00", id="no field"),
        pytest.param(field(2, field(19, PART) + field(19, b"") * 300), id="very many parts"),
        pytest.param(field(1, b"") * 300 + field(2, field(19, PART)), id="very many fields"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_unusual_forms_are_left_alone(data: bytes):
    assert cut(data, INPUT_DATA, NAMES, 1) is None


def test_the_search_is_bounded():
    junk = field(2, field(19, PART) + b"\x9a\x01\x00" * 5_000_000)
    assert cut(junk, INPUT_DATA, NAMES, 1) is None


@pytest.mark.parametrize("names", [("x",), ("z", "x", "y"), ("x",) * 300])
@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_putting_numbers_in_writes_what_protobuf_writes(names: tuple[str, ...], size: int):
    message = call(*names, size=size)
    whole = message.SerializeToString()
    sizes: list[tuple[int, int]] = []
    taken: list[bytes] = []
    for index, part in enumerate(message.data.parts):
        if part.id != "z":
            sizes.append((index, size))
            taken.append(part.data.ndarray.buffer)
            part.data.ndarray.buffer = b""
    first, *others = spread(message.SerializeToString(), INPUT_DATA, sizes)
    assert first + b"".join(numbers + piece for numbers, piece in zip(taken, others, strict=True)) == whole


def test_every_truncation():
    data = call("x", "z", "y", size=40).SerializeToString()
    for size in range(len(data)):
        check(data[:size])


# Fields of each message on the way to the numbers: mostly as clients send them, but also in any order, missing, or
# there several times. About a quarter of the messages are cut.


def mostly(usual: st.SearchStrategy[bytes], other: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.integers(0, 15).flatmap(lambda roll: other if roll == 15 else usual)


def fields(*choices: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return mostly(st.tuples(*choices).map(b"".join), st.lists(st.one_of(*choices), max_size=4).map(b"".join))


def framed(number: int, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    padding = st.integers(0, 31).map(lambda roll: {30: 1, 31: 9}.get(roll, 0))
    return st.builds(field, st.just(number), content, padding)


shapes = framed(2, st.binary(max_size=3)) | st.integers(0, 300).map(lambda size: b"\x10" + varint.encode(size))
arrays = fields(framed(1, st.binary(max_size=200)), shapes, framed(3, st.sampled_from((b"uint8", b"int8", b"\xff"))))
values = mostly(framed(20, arrays), framed(25, st.just(b"[1]")))
parts = fields(
    framed(1, mostly(values, fields(values, values))), framed(2, st.sampled_from((b"x", b"x", b"y", b"z", b"\xff")))
)
datas = st.lists(mostly(framed(19, parts), framed(5, st.just(b"")) | values), max_size=4).map(b"".join)
messages = st.lists(framed(2, datas) | framed(1, st.just(b"id")), min_size=1, max_size=2).map(b"".join)
shaped = st.lists(framed(19, parts), min_size=1, max_size=3).map(lambda found: field(2, b"".join(found)))


@settings(max_examples=500, deadline=None)
@given(shaped | messages)
def test_agrees_with_protobuf(data: bytes):
    check(data)


@settings(max_examples=600, deadline=None)
@given(st.integers(1, 60), st.data())
def test_agrees_with_protobuf_on_damaged_bytes(size: int, draw: st.DataObject):
    damaged = bytearray(call("x", "y", size=size).SerializeToString())
    for _ in range(draw.draw(st.integers(1, 3))):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    check(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_agrees_with_protobuf_on_any_bytes(data: bytes):
    check(data)
    check(field(2, data))
    check(field(2, field(19, data)))
    check(field(2, field(19, field(1, field(20, data)) + field(2, b"x"))))


def test_damage_at_every_place():
    data = call("x", size=9).SerializeToString()
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    found = 0
    for bit in range(len(bits)):
        bits[bit] ^= 1
        found += check(np.packbits(bits).tobytes())
        bits[bit] ^= 1
    assert found > len(bits) // 4  # the numbers, the metadata, the shape and the dtype may be anything


def test_tags_are_those_of_the_messages():
    data = pb.Data(parts=[pb.Part(id="x")])
    assert pb.Input(data=data).SerializeToString()[0] == array_scan.INPUT_DATA
    assert pb.Output(data=data).SerializeToString()[0] == array_scan.OUTPUT_DATA
