"""The scanner against protobuf: it reads what protobuf reads, whatever the order of the bytes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InvalidInput
from runner.wire import envelope, varint
from runner.wire.envelope import Target, scan
from runner.wire.payload import VIEW_FROM
from runner.wire.pb import inference_pb2 as pb
from runner.wire.run import split


def request(*texts: str, method: str | None = "predict") -> pb.PostModelOutputsRequest:
    """A call with one input for each text, as the official client builds it."""
    message = pb.PostModelOutputsRequest(model_id="m", version_id="v")
    message.user_app_id.user_id = "u"
    message.user_app_id.app_id = "a"
    for text in texts:
        entry = message.inputs.add()
        if method is not None:
            entry.data.metadata["_method_name"] = method
        part = entry.data.parts.add(id="prompt")
        part.data.string_value = text
    return message


def check(data: bytes) -> None:
    """Assert that scanner and protobuf agree on these bytes; inputs are told apart, not judged, by the scanner."""
    try:
        expected = pb.PostModelOutputsRequest.FromString(data)
    except DecodeError:
        with pytest.raises((InvalidInput, DecodeError)):
            for entry in scan(data).inputs:
                pb.Input.FromString(entry)
        return
    if expected.inputs and "_method_name" in (fields := expected.inputs[0].data.metadata.fields):
        value = fields["_method_name"]
        if value.WhichOneof("kind") != "string_value":
            with pytest.raises(InvalidInput, match="is text"):
                scan(data)
            return
        method = value.string_value
    else:
        method = None
    found = scan(data)
    view = scan(memoryview(bytearray(data)).toreadonly())
    assert view == found
    assert all(isinstance(each, bytes) or len(each) >= VIEW_FROM for each in view.inputs)
    selector = expected.runner_selector
    assert found.target == Target(
        user_id=expected.user_app_id.user_id,
        app_id=expected.user_app_id.app_id,
        model_id=expected.model_id,
        version_id=expected.version_id,
        deployment_id=selector.deployment.id,
        nodepool_id=selector.nodepool.id,
        compute_cluster_id=selector.nodepool.compute_cluster.id,
    )
    params = expected.model.model_version.output_info.params
    assert type(params).FromString(found.params) == params
    assert found.method == method
    assert [pb.Input.FromString(entry) for entry in found.inputs] == list(expected.inputs)
    if found.run is not None:
        assert len(found.inputs) > 1
        assert split(found.run, len(found.inputs)) == found.inputs


def test_the_specified_call() -> None:
    call = bytes.fromhex(
        "2231122f2a1b0a190a0c5f6d6574686f645f6e616d6512091a07707265646963749a010f0a05ca01026869120670726f6d7074"
    )
    found = scan(call)
    assert found == (Target(), b"", "predict", [call[2:]], None)
    check(call)


def test_ids_selector_and_old_style_parameters() -> None:
    message = request("hi")
    message.model.model_version.output_info.params["temperature"] = 0.5
    message.runner_selector.deployment.id = "d"
    message.runner_selector.nodepool.id = "n"
    message.runner_selector.nodepool.compute_cluster.id = "c"
    found = scan(message.SerializeToString())
    assert found.target == Target(
        user_id="u",
        app_id="a",
        model_id="m",
        version_id="v",
        deployment_id="d",
        nodepool_id="n",
        compute_cluster_id="c",
    )
    assert found.params == message.model.model_version.output_info.params.SerializeToString()
    assert found.method == "predict"


def test_no_inputs() -> None:
    assert scan(b"") == (Target(), b"", None, [], None)
    check(request().SerializeToString())


def test_no_method_name() -> None:
    assert scan(request("x", method=None).SerializeToString()).method is None


def test_a_method_name_that_is_no_text() -> None:
    message = request("x", method=None)
    message.inputs[0].data.metadata["_method_name"] = 5
    with pytest.raises(InvalidInput, match="text"):
        scan(message.SerializeToString())


@pytest.mark.parametrize("sizes", [(1,) * 32, (1, 2, 3), (200, 200, 1), (20_000, 20_000, 3, 20_000)])
def test_lists_of_inputs(sizes: tuple[int, ...]) -> None:
    message = request(*("x" * size for size in sizes))
    found = scan(message.SerializeToString())
    assert found.inputs == [entry.SerializeToString() for entry in message.inputs]


@pytest.mark.parametrize("method", ["predict", None])
def test_long_inputs_are_left_where_they_lie(method: str | None) -> None:
    data = request("x" * 100, "y" * 50_000, "y" * 50_000, "z", method=method).SerializeToString()
    for unusual in (b"", b"\x38\x01"):  # the fast way and the slow one
        found = scan(data + unusual)
        assert [type(entry) for entry in found.inputs] == [bytes, memoryview, memoryview, bytes]
        assert all(entry.obj == data + unusual for entry in found.inputs if isinstance(entry, memoryview))
        check(data + unusual)
    first = request("y" * 50_000, method="m" * 10).SerializeToString()
    assert scan(first).method == "m" * 10
    assert all(type(key) is bytes for key in envelope._methods)


def test_every_truncation() -> None:
    message = request("hello", "worlds")
    message.runner_selector.deployment.id = "d"
    data = message.SerializeToString()
    for size in range(len(data)):
        check(data[:size])


def test_pieces_are_merged_as_protobuf_does() -> None:
    first, second = request("one"), request("two", method="other")
    joined = first.SerializeToString() + second.SerializeToString()
    assert len(scan(joined).inputs) == 2
    check(joined)
    # the metadata of one input in two pieces, and its data in two pieces: the later name wins
    pieces = first.inputs[0].data.SerializeToString() + second.inputs[0].data.SerializeToString()
    twice = pb.PostModelOutputsRequest(inputs=[pb.Input()]).SerializeToString()[:1]
    for entry in (
        b"\x12" + varint.encode(len(pieces)) + pieces,
        first.inputs[0].SerializeToString() + second.inputs[0].SerializeToString(),
    ):
        data = twice + varint.encode(len(entry)) + entry
        assert scan(data).method == "other"
        check(data)


@pytest.mark.parametrize(
    "entry", [b"", b"\x12\x00", b"\x12\x80\x80\x80\x00", b"\x12\x01\x2a", b"\x12\x02\x2a\x00", b"\x12"]
)
def test_inputs_with_next_to_nothing_in_them(entry: bytes) -> None:
    check(b"\x22" + varint.encode(len(entry)) + entry)


def test_fields_we_do_not_know() -> None:
    unknown = b"\x38\x01" + b"\x92\x03\x02hi" + b"\x9d\x03abcd" + b"\x99\x03abcdefgh" + b"\x93\x03\x22\x01\x00\x94\x03"
    data = unknown + request("x", "y").SerializeToString() + unknown
    assert scan(data).inputs == [entry.SerializeToString() for entry in request("x", "y").inputs]
    check(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x93\x03",
        b"\x94\x03",
        b"\x22",
        b"\x22\x05",
        b"\x0a\x01\xff",
        b"\x12\x01\xff",
        b"\xff" * 20,
        b"\x07",
        b"\x02\x00",
    ],
)
def test_hostile_bytes(data: bytes) -> None:
    check(data)
    with pytest.raises(InvalidInput):
        scan(data)


def test_counts_are_bounded() -> None:
    with pytest.raises(InvalidInput, match="inputs"):
        scan(b"\x22\x00" * 2_000_000)
    with pytest.raises(InvalidInput, match="inputs"):
        scan(b"\x38\x01" + b"\x22\x00" * 2_000)
    with pytest.raises(InvalidInput, match="beside the inputs"):
        scan(b"\x12" + varint.encode(2_000_000) + b"x" * 2_000_000)
    with pytest.raises(InvalidInput, match="fields"):
        scan(b"\x0a\x00" * 2_000_000)
    with pytest.raises(InvalidInput, match="fields"):
        scan(b"\x38\x01" * 2_000_000)
    parts = b"\x9a\x01\x00" * 200_000
    entry = b"\x12" + varint.encode(len(parts)) + parts
    with pytest.raises(InvalidInput, match="fields"):
        scan(b"\x22" + varint.encode(len(entry)) + entry)


def test_caches_are_bounded() -> None:
    for number in range(2_000):
        message = request("x", method=f"method{number}")
        message.model_id = f"model{number}"
        assert scan(message.SerializeToString()).method == f"method{number}"
    assert len(envelope._targets) <= 512
    assert len(envelope._methods) <= 512
    long = request("x", method="m" * 10_000)
    assert scan(long.SerializeToString()).method == "m" * 10_000
    assert max(map(len, envelope._methods)) < 10_000


texts = st.text(max_size=6)
values = st.builds(
    lambda text, blob, number: pb.Data(string_value=text, bytes_value=blob, int_value=number),
    texts,
    st.binary(max_size=200),
    st.integers(-(2**63), 2**63 - 1),
)
parts = st.builds(lambda name, data: pb.Part(id=name, data=data), texts, values)


@st.composite
def inputs(draw: st.DrawFn) -> pb.Input:
    entry = pb.Input(id=draw(texts))
    if draw(st.booleans()):
        entry.data.parts.extend(draw(st.lists(parts, max_size=3)))
    if draw(st.booleans()):
        entry.data.metadata["_method_name"] = draw(texts | st.integers(0, 5))
    if draw(st.booleans()):
        entry.data.concepts.add(name=draw(texts))
    return entry


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    message = pb.PostModelOutputsRequest(
        model_id=draw(texts), version_id=draw(texts), inputs=draw(st.lists(inputs(), max_size=3))
    )
    if draw(st.booleans()):
        message.user_app_id.user_id = draw(texts)
    if draw(st.booleans()):
        message.runner_selector.nodepool.id = draw(texts)
    if draw(st.booleans()):
        message.model.model_version.output_info.params["k"] = draw(texts)
    return message.SerializeToString()


@settings(max_examples=150, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3))
def test_agrees_with_protobuf(pieces: list[bytes]) -> None:
    check(b"".join(pieces))


@settings(max_examples=300, deadline=None)
@given(requests(), st.data())
def test_agrees_with_protobuf_on_damaged_bytes(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        if damaged:
            damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    check(bytes(damaged[: draw.draw(st.integers(0, len(damaged)))]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=30))
def test_agrees_with_protobuf_on_any_bytes(data: bytes) -> None:
    check(data)


_apart = (
    st.builds(pb.PostModelOutputsRequest, model_id=texts).map(lambda message: message.SerializeToString())
    # A varint, a group, and a field of another number that nobody knows: in order they go another way.
    | st.sampled_from([b"", b"\x50\x07", b"\x53\x08\x01\x54", b"\x5a\x02xy", b"\x22\x00", b"\xa2\x00\x00"])
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(_apart, inputs(), _apart), min_size=2, max_size=2), st.data())
def test_what_a_request_means_does_not_depend_on_the_one_before(
    pair: list[tuple[bytes, pb.Input, bytes]], draw: st.DataObject
) -> None:
    (before, entry, after), (_, other, _) = pair
    first, second = (
        before + pb.PostModelOutputsRequest(inputs=[each]).SerializeToString() + after for each in (entry, other)
    )
    changed = bytearray(second)
    for _ in range(draw.draw(st.integers(0, 2))):
        changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(changed)) | st.just(len(changed)))
    outcome(first)
    then = outcome(bytes(changed[:cut]))
    envelope._remember_layout(b"none is like this", b"", Target(), b"")
    assert outcome(bytes(changed[:cut])) == then


def outcome(data: bytes) -> object:
    try:
        return scan(data)
    except InvalidInput as exc:
        return exc.message


@given(st.integers(0, 2**64 - 1))
def test_varints(value: int) -> None:
    encoded = varint.encode(value)
    assert varint.decode(b"x" + encoded + b"y", 1) == (value, 1 + len(encoded))


def test_metadata_that_is_too_long_is_not_parsed() -> None:
    entry = pb.Input()
    entry.data.metadata["_method_name"] = "predict"
    entry.data.metadata["x"] = "x" * envelope.MAX_HEAD_BYTES
    with pytest.raises(InvalidInput, match="bytes of metadata"):
        scan(pb.PostModelOutputsRequest(inputs=[entry]).SerializeToString())
