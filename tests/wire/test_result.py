"""What a result looks like, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from runner.errors import InvalidInput
from runner.signature.method import Cardinality, MethodSignature
from runner.signature.tree import Array, Json, JsonShape, Kind, Leaf, ListOf, LiteralOf, Node, TupleOf
from runner.types import Frame, Image, NamedFields, Text
from runner.wire.mismatch import EncodeError
from runner.wire.pb import inference_pb2 as pb
from runner.wire.result import ResultCodec

STR, INT, FLOAT, BOOL = map(Leaf, (Kind.STR, Kind.INT, Kind.FLOAT, Kind.BOOL))
IMAGE = Leaf(Kind.IMAGE)


def method(*, result: Node = STR, cardinality: Cardinality = Cardinality.UNARY) -> ResultCodec:
    return ResultCodec(MethodSignature(name="predict", cardinality=cardinality, arguments=(), result=result))


PROMPT = method()


class TestResults:
    @pytest.mark.parametrize(
        ("node", "value", "read"),
        [
            (INT, np.int64(5), 5),
            (INT, np.array(5), 5),
            (FLOAT, np.float32(0.5), 0.5),
            (FLOAT, 3, 3.0),
            (BOOL, np.True_, True),
            (BOOL, 1, True),
            (Leaf(Kind.BYTES), bytearray(b"x"), b"x"),
            (ListOf(FLOAT), np.array([0.5, 1.5], np.float32), [0.5, 1.5]),
            (TupleOf((INT, INT)), [1, 2], (1, 2)),
            (Json(JsonShape.OBJECT), {"cat": np.float32(0.5), 1: np.arange(2)}, {"cat": 0.5, "1": [0, 1]}),
        ],
    )
    def test_scalars_and_arrays_of_numpy(self, node: Node, value: object, read: object):
        calls = method(result=node)
        assert calls.decode_output(calls.encode_output(value)) == read

    @pytest.mark.parametrize(
        ("node", "value", "words"),
        [
            (STR, None, r"predict\(\) returned .*needs a str, got None"),
            (INT, 1.5, "needs an int, got float 1.5"),
            pytest.param(INT, 10**5000, "needs an int of 64 bits, got int of 16610 bits", id="a long int"),
            pytest.param(STR, 10**5000, "needs a str, got int of 16610 bits", id="a long int for a str"),
            (INT, np.datetime64("2020", "ns"), "needs an int, got datetime64"),
            (FLOAT, np.timedelta64(5, "ns"), "needs a float, got timedelta64"),
            (ListOf(FLOAT), np.ma.array([1.0, 2.0], mask=[0, 1]), r"return\[1\].*needs a float, got MaskedConstant"),
            (INT, np.array([1]), r"needs an int, got ndarray of shape \(1,\)"),
            (FLOAT, "1.5", "needs a float, got str '1.5'"),
            (BOOL, 2, "needs a bool, got int 2"),
            (ListOf(INT), [1, "x"], r"return\[1\].*needs an int, got str 'x'"),
            (ListOf(STR), "abc", "needs a list, got str 'abc'"),
            (ListOf(STR), {"a"}, "needs a list, got set"),
            (ListOf(STR), NamedFields(a=1), "needs a list, got NamedFields"),
            (ListOf(INT), bytearray(b"abc"), "needs a list, got bytearray of length 3"),
            (TupleOf((INT, INT)), (1,), "needs a tuple of 2, got tuple of length 1"),
            (LiteralOf(("a", "b")), "c", "needs one of 'a', 'b', got str 'c'"),
            (Json(JsonShape.OBJECT), [1], "needs a dict, got list"),
            (Json(JsonShape.ARRAY), 5, "needs a list, got int 5"),
            (Json(JsonShape.ARRAY), np.float32(0.5), "needs a list, got float 0.5"),
            (Json(JsonShape.ARRAY), None, "needs a list, got None"),
            (Json(), {"a": np.array(["2020"], "M8[ns]")}, r"return\.a.*type ndarray"),
            (Json(), {"a": np.timedelta64(5, "ns")}, r"return\.a.*type timedelta64"),
            (Json(), {"a": object()}, r"return\.a.*type object"),
            (Array(), np.array(["x"]), "array of numbers"),
            (Array(), np.full(100_000, None), "array of numbers, got one of dtype object"),
            (Array(), np.ma.array([1, 2], mask=[0, 1]), "got a masked one"),
            (IMAGE, Image(bytes=10), r"return\.bytes.*needs bytes, got int 10"),  # pyright: ignore[reportArgumentType]
            (IMAGE, Image(bytes="x"), r"return\.bytes.*needs bytes, got str 'x'"),  # pyright: ignore[reportArgumentType]
            (IMAGE, Image(url=5), r"return\.url.*needs a str, got int 5"),  # pyright: ignore[reportArgumentType]
            (Leaf(Kind.TEXT), Text(5), r"return\.text.*needs a str, got int 5"),  # pyright: ignore[reportArgumentType]
            (Leaf(Kind.TEXT), Text("\ud800"), r"return\.text.*cannot be sent as UTF-8"),
            (Leaf(Kind.TEXT), "\ud800", "cannot be sent as UTF-8"),
            (Leaf(Kind.FRAME), Frame(time="1"), r"return\.time.*needs a float, got str '1'"),  # pyright: ignore[reportArgumentType]
            (IMAGE, b"png", "needs an Image, got bytes of length 3"),
        ],
    )
    def test_what_does_not_fit_says_both_what_and_where(self, node: Node, value: object, words: str):
        with pytest.raises(EncodeError, match=words):
            method(result=node).encode_output(value)

    def test_a_streamed_str_of_a_bidi_method_is_for_both_readers(self):
        calls = method(cardinality=Cardinality.BIDI)
        data = pb.Output.FromString(calls.encode_output("hi")).data.parts[0].data
        assert (data.string_value, data.text.raw) == ("hi", "hi")
        assert pb.Output.FromString(calls.encode_output("")).data.parts[0].data.HasField("text")
        assert calls.decode_output(calls.encode_output("")) == ""

    def test_a_value_beside_the_parts_is_read_too(self):
        assert PROMPT.decode_output(pb.Output(data=pb.Data(string_value="hi")).SerializeToString()) == "hi"

    def test_a_wrong_result_is_refused_with_its_path(self):
        sent = method(result=ListOf(INT)).encode_output([1])
        with pytest.raises(InvalidInput, match=r"return\[0\]: needs a str, got an int"):
            method(result=ListOf(STR)).decode_output(sent)
