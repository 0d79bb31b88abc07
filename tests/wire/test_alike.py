"""What is read by likeness is what a whole reading would have given, whatever came before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runner import ModelClass, Param
from runner.errors import InvalidInput
from runner.signature.hints import read_method
from runner.wire import run
from runner.wire.alike import Frames, Memory
from runner.wire.call import CallCodec


class Model(ModelClass):
    @ModelClass.method
    def say(self, text: str, mark: str = Param("!", choices=["!", "?"]), times: int = 1) -> str:
        return text

    @ModelClass.method
    def double(self, row: np.ndarray, scale: float = 2.0) -> np.ndarray:
        return row


def codec(name: str) -> CallCodec:
    return CallCodec(read_method(Model, name, getattr(Model, name)))


def outcome(codec: CallCodec, payload: bytes) -> Any:
    try:
        arguments = codec.decode_call(payload)
    except InvalidInput as error:
        return error.message, error.path
    return {
        name: (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else (type(value), value)
        for name, value in arguments.items()
    }


texts = st.text(max_size=6)
calls = st.builds(
    lambda text, mark, times: {"text": text, "mark": mark, "times": times},
    texts,
    st.sampled_from(["!", "?", "text", "%"]),
    st.integers(0, 2),
)
changes = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2)


def mutated(payload: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(payload)
    for place, value in changes:
        changed[place % len(changed)] = value
    return bytes(changed)


@given(st.lists(st.tuples(calls, changes), max_size=8))
def test_calls_with_a_text(sent: list[tuple[dict[str, Any], list[tuple[int, int]]]]) -> None:
    learning = codec("say")
    for arguments, change in sent:
        payload = mutated(learning.encode_call(arguments), change)
        assert outcome(learning, payload) == outcome(codec("say"), payload)


@given(st.lists(st.tuples(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3), changes), max_size=8))
def test_calls_with_an_array(sent: list[tuple[list[float], list[tuple[int, int]]]]) -> None:
    learning = codec("double")
    for numbers, change in sent:
        payload = mutated(learning.encode_call({"row": np.array(numbers, np.float32)}), change)
        assert outcome(learning, payload) == outcome(codec("double"), payload)
        assert outcome(learning, memoryview(bytearray(payload))) == outcome(codec("double"), payload)


@given(st.lists(texts, max_size=8))
def test_texts_as_results(values: list[str]) -> None:
    learning = codec("say")
    for value in values:
        assert learning.encode_output(value) == codec("say").encode_output(value)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["f4", "i8", ">f4", "u1"]), st.sampled_from([(3,), (2, 2), (), (0,)]), st.integers(0, 9)
        ),
        max_size=8,
    )
)
def test_arrays_as_results(arrays: list[tuple[str, tuple[int, ...], int]]) -> None:
    learning = codec("double")
    for dtype, shape, number in arrays:
        value = np.full(shape, number, dtype)
        assert learning.encode_output(value) == codec("double").encode_output(value)
        turned = value.T[::-1] if value.ndim else value  # of another layout in memory
        assert learning.encode_output(turned) == codec("double").encode_output(turned)


def test_the_second_of_a_kind_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = codec("say")
    assert learning.decode_call(learning.encode_call({"text": "one"}))["text"] == "one"
    payload = learning.encode_call({"text": "two"})
    monkeypatch.setattr("runner.wire.message.parse", None)  # whoever parses fails
    assert learning.decode_call(payload) == {"text": "two", "mark": "!", "times": 1}


def test_each_call_has_an_array_of_its_own() -> None:
    learning = codec("double")
    payload = learning.encode_call({"row": np.arange(3.0)})
    first, second, third = (learning.decode_call(payload)["row"] for _ in range(3))
    second[:] = 7  # type: ignore[index]
    np.testing.assert_array_equal(first, np.arange(3.0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(third, np.arange(3.0))  # type: ignore[arg-type]


def test_a_value_that_is_there_twice_is_not_learned() -> None:
    memory: Memory[str] = Memory()
    memory.learn(b"aXbXc", b"X", "meaning")
    assert memory.find(b"aYbXc") is None
    memory.learn(b"aXbc", b"X", "meaning")
    found = memory.find(b"aYbc")
    assert found is not None
    assert (found.start, found.end, found.meaning) == (1, 2, "meaning")
    assert memory.find(b"aYbd") is None
    frames = Frames()
    frames.learn("key", b"aXbXc", b"X")
    assert frames.get("key") is None


def test_what_is_remembered_is_bounded() -> None:
    memory: Memory[int] = Memory()
    for number in range(5000):
        text = b"X" * (1 + number % 1500)
        memory.learn(b"%04d" % number + text, text, number)
    assert repr(memory) == "<Memory of 1024 messages>"


# Several at once.


def run_of(payloads: list[bytes]) -> bytes:
    return b"".join(run.pieces(run.INPUT_TAG, payloads))


def at_once(learning: CallCodec, payloads: list[bytes], kind: type = bytes) -> list[Any] | None:
    """Return what `decode_alike` makes of them, each as `outcome` has it."""
    found = learning.decode_alike(kind(run_of(payloads)), len(payloads))
    if found is None:
        return None
    assert np.array_equal(found.arguments[found.name], found.values[0])  # type: ignore[call-overload]
    every = [{**found.arguments, found.name: value} for value in found.values]
    return [
        {
            name: (value.dtype.str, value.shape, value.tobytes())
            if isinstance(value, np.ndarray)
            else (type(value), value)
            for name, value in arguments.items()
        }
        for arguments in every
    ]


@given(st.lists(st.tuples(calls, changes), min_size=2, max_size=6), st.booleans())
def test_several_calls_with_a_text(sent: list[tuple[dict[str, Any], list[tuple[int, int]]]], one: bool) -> None:
    learning = codec("say")
    given_all = [arguments | sent[0][0] if one else arguments for arguments, _ in sent]
    given_all = [arguments | {"text": f"{number:4}"} for number, arguments in enumerate(given_all)]
    payloads = [
        mutated(learning.encode_call(arguments), change) for arguments, (_, change) in zip(given_all, sent, strict=True)
    ]
    expected = [outcome(learning, payload) for payload in payloads]
    found = at_once(learning, payloads)
    assert found is None or found == expected
    assert at_once(codec("say"), payloads) is None  # nothing like them was read before


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4), min_size=2, max_size=5),
    st.sampled_from([(4,), (2, 2), (1, 2, 2)]),
    st.sampled_from(["f4", "f8", ">f4", "i2"]),
    changes,
    st.integers(0, 4),
)
def test_several_calls_with_an_array(
    rows: list[list[float]], shape: tuple[int, ...], dtype: str, change: list[tuple[int, int]], place: int
) -> None:
    learning = codec("double")
    with np.errstate(all="ignore"):
        payloads = [learning.encode_call({"row": np.array(row).reshape(shape).astype(dtype)}) for row in rows]
    place %= len(payloads)
    payloads[place] = mutated(payloads[place], change)
    expected = [outcome(learning, payload) for payload in payloads]
    found = at_once(learning, payloads, bytearray)
    assert found is None or found == expected
    if not change:
        assert found is not None


def test_arrays_of_a_declared_kind_are_converted_at_once() -> None:
    class Declared(ModelClass):
        @ModelClass.method
        def double(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
            return row

    learning = CallCodec(read_method(Declared, "double", Declared.double))
    payloads = [codec("double").encode_call({"row": np.full(3, float(number))}) for number in range(3)]
    expected = [outcome(learning, payload) for payload in payloads]
    found = learning.decode_alike(run_of(payloads), 3)
    assert found is not None
    assert found.values.dtype == np.float32  # type: ignore[attr-defined]
    assert at_once(learning, payloads) == expected


@pytest.mark.parametrize(
    "texts", [["one", "four"], ["one", "a\ud7ff"], ["one", "two", "six", "twelve"]], ids=["longer", "wider", "last"]
)
def test_several_calls_of_several_lengths_are_read_one_by_one(texts: list[str]) -> None:
    learning = codec("say")
    payloads = [learning.encode_call({"text": text}) for text in texts]
    learning.decode_call(payloads[0])
    assert at_once(learning, payloads) is None


def test_a_text_that_is_none_is_left_to_be_told_alone() -> None:
    learning = codec("say")
    payload = learning.encode_call({"text": "one"})
    learning.decode_call(payload)
    assert at_once(learning, [payload, payload.replace(b"one", b"o\xff\xff")]) is None
    marked = learning.encode_call({"text": "!", "mark": "?"})  # the value that differs may be the one with choices
    learning.decode_call(marked)
    assert at_once(learning, [marked, marked.replace(b"?", b"#")]) is None


@given(
    st.sampled_from(["f4", "i8", ">f4", "u1"]),
    st.sampled_from([(1, 3), (3, 2, 2), (2, 0), (2,), (5, 1), (2, 20, 30)]),
    st.booleans(),
)
def test_several_arrays_as_results(dtype: str, shape: tuple[int, ...], turned: bool) -> None:
    learning = codec("double")
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if turned:
        values = np.asfortranarray(values[::-1])
    expected = b"".join(run.pieces(run.OUTPUT_TAG, [codec("double").encode_output(value) for value in values]))
    found = learning.encode_outputs(values)
    if found is None:
        assert values.ndim < 2 or not values.size or not values.dtype.isnative
    else:
        assert bytes(found) == expected


def test_what_is_no_array_of_rows_is_written_one_by_one() -> None:
    assert codec("double").encode_outputs([np.zeros(3), np.zeros(3)]) is None
    assert codec("say").encode_outputs(["a", "b"]) is None
    assert codec("say").encode_outputs(np.zeros((2, 3))) is None  # type: ignore[arg-type]
