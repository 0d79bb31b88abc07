"""Large arrays: the answers of small ones, with fewer copies on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner.errors import InvalidInput
from runner.signature.method import REQUIRED, Argument, Cardinality, MethodSignature
from runner.signature.tree import Array, Kind, Leaf, Node, OptionalOf
from runner.wire.call import CallCodec, EncodeError
from runner.wire.message import APART_FROM, MessageReader, serialize
from runner.wire.pb import inference_pb2 as pb

INT, BYTES = Leaf(Kind.INT), Leaf(Kind.BYTES)
ARRAY = Array()
SIZE = 2 * APART_FROM


def method(*nodes: Node, result: Node = ARRAY, streamed: bool = False) -> CallCodec:
    """A method with arguments a, b, ... of these types; `streamed`: the first of them is."""
    return CallCodec(
        MethodSignature(
            name="predict",
            cardinality=Cardinality.BIDI if streamed else Cardinality.UNARY,
            arguments=tuple(
                Argument(
                    name=name,
                    node=node,
                    default=None if isinstance(node, OptionalOf) else REQUIRED,
                    streamed=streamed and name == "a",
                )
                for name, node in zip("abcd", nodes, strict=False)
            ),
            result=result,
        )
    )


ONE = method(ARRAY)
MIXED = method(ARRAY, INT, OptionalOf(ARRAY))
PIXELS = (np.arange(SIZE) % 251).astype(np.uint8).reshape(2, -1)


def writable(payload: bytes) -> memoryview:
    return memoryview(bytearray(payload))


def by_protobuf(**values: Any) -> bytes:
    """The call as protobuf alone writes it."""
    message = pb.Input()
    message.data.metadata["_method_name"] = "predict"
    for name, value in values.items():
        part = message.data.parts.add(id=name)
        if isinstance(value, int):
            part.data.int_value = value
        else:
            part.data.ndarray.CopyFrom(
                pb.NDArray(buffer=value.tobytes(), shape=value.shape, dtype=value.dtype.newbyteorder("=").name)
            )
    return message.SerializeToString()


ARRAYS = [
    PIXELS,
    PIXELS.T,
    PIXELS[:, ::2],
    PIXELS.reshape(1, 2, -1, 1),
    np.linspace(0, 1, SIZE, dtype=np.float64),
    np.linspace(0, 1, SIZE).astype(np.float16),
    np.linspace(0, 1, SIZE).astype(np.complex64),
    np.broadcast_to(np.float32(1.5), (4, SIZE)),
    np.asfortranarray(np.arange(SIZE, dtype=np.int32).reshape(4, -1)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_what_is_written_and_what_is_read(array: Any):
    payload = ONE.encode_call({"a": array})
    assert payload == by_protobuf(a=array)
    reads = [ONE.decode_call(payload)["a"], ONE.decode_call(writable(payload))["a"]]
    output = ONE.encode_output(array, (1, 2, 300))
    reads.append(ONE.decode_output(output))
    message = pb.Output.FromString(output)
    assert (message.status.code, message.prompt_tokens, message.cached_tokens) == (10000, 1, 300)
    assert message.data.parts[0].data.ndarray.buffer == array.tobytes()
    for read in reads:
        assert isinstance(read, np.ndarray)
        assert read.dtype == array.dtype
        assert read.shape == array.shape
        assert read.flags.behaved
        assert read.flags.c_contiguous
        assert read.tobytes() == array.tobytes()


def test_bytes_in_another_order():
    swapped = np.arange(SIZE, dtype=">i4")
    assert ONE.encode_call({"a": swapped}) == by_protobuf(a=swapped.astype("<i4"))
    message = pb.Input()
    part = message.data.parts.add(id="a")
    part.data.ndarray.CopyFrom(pb.NDArray(buffer=swapped.tobytes(), shape=swapped.shape, dtype=">i4"))
    read = ONE.decode_call(writable(message.SerializeToString()))["a"]
    assert isinstance(read, np.ndarray)
    assert read.dtype.isnative
    assert np.array_equal(read, swapped)


def lies_in(array: object, payload: memoryview) -> bool:
    return np.shares_memory(array, np.frombuffer(payload, np.uint8))  # type: ignore[arg-type]


def test_an_array_lies_over_a_payload_that_was_given_away():
    payload = writable(ONE.encode_call({"a": PIXELS}))
    first = ONE.decode_call(payload)["a"]
    assert lies_in(first, payload)
    again = writable(ONE.encode_call({"a": PIXELS}))  # as before but for the numbers: known by now
    second = ONE.decode_call(again)["a"]
    assert lies_in(second, again)
    assert np.array_equal(second, PIXELS)  # type: ignore[arg-type]


def test_an_array_never_lies_over_bytes():
    payload = ONE.encode_call({"a": PIXELS})
    array: Any = ONE.decode_call(payload)["a"]
    array[:] = 7
    assert payload == ONE.encode_call({"a": PIXELS})


def test_an_array_that_is_not_aligned_is_moved():
    for dtype in (np.float32, np.float64, np.complex128):
        array = np.ones(SIZE, dtype)
        for shift in range(16):
            payload = memoryview(bytearray(shift) + ONE.encode_call({"a": array}))[shift:]
            read: Any = ONE.decode_call(payload)["a"]
            assert read.flags.behaved
            assert np.array_equal(read, array)


def test_a_small_part_of_a_long_message_does_not_keep_it():
    codec = method(ARRAY, BYTES)
    payload = writable(codec.encode_call({"a": PIXELS, "b": b"x" * 10 * SIZE}))
    read = codec.decode_call(payload)
    assert not lies_in(read["a"], payload)
    assert np.array_equal(read["a"], PIXELS)  # type: ignore[arg-type]


def test_several_arrays_and_calls_that_differ():
    other, scalar = np.arange(SIZE, dtype=np.float32), np.zeros((), np.float32)
    for a, b, c in [
        (PIXELS, 1, other),
        (other, 2, PIXELS),
        (PIXELS, 2, None),
        (other[:1], 2, other),
        (other, 2, scalar),
    ]:
        for _ in range(2):
            payload = MIXED.encode_call({"a": a, "b": b, "c": c})
            assert payload == by_protobuf(**{"a": a, "b": b} | ({} if c is None else {"c": c}))
            read = MIXED.decode_call(writable(payload))
            assert read["b"] == b
            assert np.array_equal(read["a"], a)  # type: ignore[arg-type]
            assert read["c"] is None if c is None else np.array_equal(read["c"], c)  # type: ignore[arg-type]


def test_equal_sizes_with_another_number_name_or_type_are_told_apart():
    codec = method(ARRAY, INT)
    variants: list[dict[str, Any]] = [
        {"a": PIXELS, "b": 1},
        {"a": PIXELS, "b": 2},
        {"a": PIXELS.view(np.int8)[:, ::-1], "b": 2},
        {"a": PIXELS.T, "b": 2},
    ]
    for values in variants * 2:
        read = codec.decode_call(codec.encode_call(values))
        assert read["b"] == values["b"]
        assert np.array_equal(read["a"], values["a"])  # type: ignore[arg-type]
    unknown = codec.encode_call(variants[0]).replace(b"\x12\x01a", b"\x12\x01z")
    with pytest.raises(InvalidInput, match="no such argument"):
        codec.decode_call(unknown)


def test_an_output_is_put_together_once_and_by_whoever_sends_it():
    codec = method(ARRAY)
    joined: list[list[int]] = []

    def join(pieces: Any) -> bytes:
        joined.append([len(piece) for piece in pieces])
        return b"".join(pieces)

    expected = codec.encode_output(PIXELS)
    codec.join = join
    for usage in (None, None, (1, 2, 3)):
        output = codec.encode_output(PIXELS, usage)
        assert (output == expected) is (usage is None)
    assert [sizes[1] for sizes in joined] == [SIZE] * 3
    assert codec.encode_output(PIXELS[:, :5]) == method(ARRAY).encode_output(PIXELS[:, :5])
    assert len(joined) == 3  # a short one is nobody's business


def test_what_is_remembered_is_bounded_and_free_of_numbers():
    reader = MessageReader(pb.Input, ["a"])
    for value in range(3):
        reader.read(ONE.encode_call({"a": np.full_like(PIXELS, value)}))
    assert len(reader._seen) == 1
    for extra in range(200):
        reader.read(ONE.encode_call({"a": np.zeros(SIZE + extra, np.int8)}))
        reader.read(by_protobuf(a=PIXELS, b=extra))
    assert len(reader._seen) <= 64
    known = dict(reader._seen)
    reader.read(method(ARRAY, BYTES).encode_call({"a": PIXELS, "b": b"x" * 5000}))
    assert reader._seen == known


def test_items_and_optional_results():
    codec = method(ARRAY, INT, result=OptionalOf(ARRAY), streamed=True)
    payload = codec.encode_item(PIXELS)
    assert payload == by_protobuf(a=PIXELS)
    for given in (payload, writable(payload)):
        assert np.array_equal(codec.decode_item(given), PIXELS)  # type: ignore[arg-type]
    assert codec.decode_output(codec.encode_output(None)) is None
    assert np.array_equal(codec.decode_output(codec.encode_output(PIXELS)), PIXELS)  # type: ignore[arg-type]


def test_the_first_of_two_items_counts():
    item = pb.Input.FromString(by_protobuf(a=PIXELS))
    item.data.parts.add(id="a").data.ndarray.CopyFrom(pb.NDArray(buffer=b"ab", shape=[2], dtype="uint8"))
    codec = method(ARRAY, streamed=True)
    assert np.array_equal(codec.decode_item(item.SerializeToString()), PIXELS)  # type: ignore[arg-type]
    item.data.parts.reverse()
    assert np.array_equal(codec.decode_item(item.SerializeToString()), [97, 98])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="twice"):
        ONE.decode_call(item.SerializeToString())


def test_large_arrays_that_lie_are_refused():
    good = pb.Input.FromString(by_protobuf(a=PIXELS))
    good.data.parts[0].data.ndarray.shape.append(3)
    with pytest.raises(InvalidInput, match=f"but {SIZE} were sent") as caught:
        ONE.decode_call(good.SerializeToString())
    assert caught.value.path == "a"
    good.data.parts[0].data.ndarray.dtype = "object"
    with pytest.raises(InvalidInput, match="array of numbers"):
        ONE.decode_call(good.SerializeToString())
    with pytest.raises(InvalidInput, match="valid message"):
        ONE.decode_call(by_protobuf(a=PIXELS)[:-1])
    with pytest.raises(InvalidInput, match="needs an array of int64, got one of float32") as caught:
        method(result=Array("int64")).decode_output(ONE.encode_output(np.ones(SIZE, np.float32)))
    assert caught.value.path == "return"


def test_old_style_results_have_theirs_in_the_data():
    output = pb.Output.FromString(ONE.encode_output(PIXELS, old_style=True))
    assert output.data.ndarray.buffer == PIXELS.tobytes()


def test_lists_as_old_style_parameters():
    from google.protobuf.struct_pb2 import Struct

    params = Struct()
    params["a"] = [0.5] * SIZE
    read: Any = ONE.decode_call(b"", params.SerializeToString())["a"]
    assert read.shape == (SIZE,)


def test_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(SIZE, dtype=torch.float32).reshape(2, -1)
    assert ONE.encode_output(tensor.T) == ONE.encode_output(tensor.numpy().T)


def test_no_message_has_two_gibibytes():
    message = pb.Output()
    part = message.data.parts.add(id="return")
    part.data.ndarray.dtype = "uint8"
    with pytest.raises(EncodeError, match="cannot be sent as one message: it has 21474836"):
        serialize(message, {0: np.zeros(2**31 - 20, np.uint8).data})
