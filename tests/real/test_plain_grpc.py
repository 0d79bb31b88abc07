"""Plain grpcio stubs that send bytes: what both services say, in their own way, whatever arrives.

Every answer, refusals included, is due at once, and the worker goes on.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from runner.wire.pb import inference_pb2 as pb

pytestmark = pytest.mark.real

CLARIFAI = "/clarifai.api.V2"
NATIVE = "/runner.v1.Inference"
ANSWER_WITHIN = 3.0  # seconds; one, on a machine with nothing else to do

SUCCESS = 10000
MIXED_STATUS = 10010
NOT_IMPLEMENTED = 10040
MODEL_INVALID_REQUEST = 21203
MODEL_PREDICTION_FAILED = 21313
MODEL_BUSY_PLEASE_RETRY = 21354


@pytest.fixture(scope="module")
def types(serve) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serve("types", "--allow-private-urls").address) as channel:
        yield channel


@pytest.fixture(scope="module")
def misbehaving(serve) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serve("misbehaving").address) as channel:
        yield channel


def input_of(method: str | None, **arguments: pb.Data) -> pb.Input:
    data = pb.Data(parts=[pb.Part(id=name, data=value) for name, value in arguments.items()])
    if method is not None:
        data.metadata["_method_name"] = method
    return pb.Input(data=data)


def request(method: str | None, **arguments: pb.Data) -> bytes:
    return pb.PostModelOutputsRequest(inputs=[input_of(method, **arguments)]).SerializeToString()


def post(channel: grpc.Channel, message: bytes, *, service: str = CLARIFAI) -> pb.MultiOutputResponse:
    reply = channel.unary_unary(f"{service}/PostModelOutputs")(message, timeout=ANSWER_WITHIN)
    return pb.MultiOutputResponse.FromString(reply)


def generate(channel: grpc.Channel, message: bytes, *, service: str = CLARIFAI) -> list[pb.MultiOutputResponse]:
    replies = channel.unary_stream(f"{service}/GenerateModelOutputs")(message, timeout=ANSWER_WITHIN)
    return [pb.MultiOutputResponse.FromString(reply) for reply in replies]


def stream(channel: grpc.Channel, *messages: bytes, service: str = CLARIFAI) -> list[pb.MultiOutputResponse]:
    replies = channel.stream_stream(f"{service}/StreamModelOutputs")(iter(messages), timeout=ANSWER_WITHIN)
    return [pb.MultiOutputResponse.FromString(reply) for reply in replies]


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, pb.ErrorDetail]:
    """Return the status code and the detail with which a call of the native service is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    detail = pb.ErrorDetail()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = pb.RpcStatus.FromString(value if isinstance(value, bytes) else value.encode())
            assert status.details[0].Unpack(detail)
    return error.code(), detail


def result(response: pb.MultiOutputResponse) -> pb.Data:
    assert response.status.code == SUCCESS, response
    (part,) = response.outputs[0].data.parts
    assert part.id == "return"
    return part.data


def refused(response: pb.MultiOutputResponse, code: int, *words: str) -> None:
    """Assert a refusal that names these words and nothing that is not the caller's business."""
    text = str(response)
    assert response.status.code == code, text
    for word in words:
        assert word in response.status.description + response.status.details, text
    for secret in ("Traceback", ".py", "site-packages"):
        assert secret not in text


def still_serving(channel: grpc.Channel) -> None:
    assert result(post(channel, request("echo_str", value=pb.Data(string_value="hi")))).string_value == "hi"


# --- Both services ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [CLARIFAI, NATIVE])
def test_unary(types, service):
    response = post(types, request("echo_int", value=pb.Data(int_value=-7)), service=service)
    assert result(response).int_value == -7


@pytest.mark.parametrize("service", [CLARIFAI, NATIVE])
def test_discovery(types, service):
    reply = types.unary_unary(f"{service}/GetModelVersion")(b"", timeout=ANSWER_WITHIN)
    version = pb.SingleModelVersionResponse.FromString(reply)
    assert version.status.code == SUCCESS
    assert version.model_version.id
    assert "echo_str" in [signature.name for signature in version.model_version.method_signatures]


def test_partial_failure(types):
    message = pb.PostModelOutputsRequest(
        inputs=[
            input_of("echo_int", value=pb.Data(int_value=1)),
            input_of("echo_int", value=pb.Data(string_value="two")),
            input_of("echo_int", value=pb.Data(int_value=3)),
        ]
    )
    for service in (CLARIFAI, NATIVE):
        response = post(types, message.SerializeToString(), service=service)
        assert response.status.code == MIXED_STATUS
        assert [output.status.code for output in response.outputs] == [SUCCESS, MODEL_INVALID_REQUEST, SUCCESS]
        assert [output.data.parts[0].data.int_value for output in response.outputs if output.data.parts] == [1, 3]


def test_native_errors_are_statuses(types, misbehaving):
    wrong_type = request("echo_int", value=pb.Data(string_value="two"))
    code, detail = refusal(lambda: post(types, wrong_type, service=NATIVE))
    assert (code, detail.kind) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input")
    assert detail.path == "value"

    code, detail = refusal(lambda: post(types, request("no_such_method"), service=NATIVE))
    assert detail.kind == "method_not_found"
    assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED)

    failing = request("fail", text=pb.Data(string_value="the cat is out"))
    code, detail = refusal(lambda: post(misbehaving, failing, service=NATIVE))
    assert detail.kind == "model_error"
    assert "the cat is out" in detail.message


def test_deadline(misbehaving):
    call = misbehaving.unary_unary(f"{NATIVE}/PostModelOutputs")
    code, _ = refusal(lambda: call(request("sleep", seconds=pb.Data(float_value=1.0)), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


# --- Health and reflection --------------------------------------------------------------------------------------------


def test_health(types):
    stub = health_pb2_grpc.HealthStub(types)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "clarifai.api.V2", "runner.v1.Inference"):
        check = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(check, timeout=ANSWER_WITHIN).status == serving
        watch = stub.Watch(check)
        assert next(watch).status == serving
        watch.cancel()
    code, _ = refusal(lambda: stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=ANSWER_WITHIN))
    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(types, version):
    call = types.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="runner.v1.Inference"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="clarifai.api.V2"),
    ]
    services, native, clarifai = call(iter(questions), timeout=ANSWER_WITHIN)
    names = {service.name for service in services.list_services_response.service}
    assert {"runner.v1.Inference", "clarifai.api.V2", "grpc.health.v1.Health"} <= names
    assert b"PostModelOutputs" in b"".join(native.file_descriptor_response.file_descriptor_proto)
    assert b"StreamModelOutputs" in b"".join(clarifai.file_descriptor_response.file_descriptor_proto)


# --- Methods and RPCs that do not fit ---------------------------------------------------------------------------------


def test_unknown_method(types):
    refused(post(types, request("no_such_method")), NOT_IMPLEMENTED, "no_such_method")
    (response,) = generate(types, request("no_such_method"))
    refused(response, NOT_IMPLEMENTED, "no_such_method")
    (response,) = stream(types, request("no_such_method"))
    refused(response, NOT_IMPLEMENTED, "no_such_method")
    still_serving(types)


def test_wrong_kind_of_rpc(types, misbehaving):
    echo = request("echo_str", value=pb.Data(string_value="characters"))
    (response,) = generate(types, echo)
    refused(response, NOT_IMPLEMENTED, "echo_str")
    (response,) = stream(types, echo)
    refused(response, NOT_IMPLEMENTED, "echo_str")
    refused(post(misbehaving, request("endless")), NOT_IMPLEMENTED, "endless")
    still_serving(types)


def test_unknown_rpc(types):
    for service in (CLARIFAI, NATIVE):
        code, _ = refusal(lambda service=service: types.unary_unary(f"{service}/DropTables")(b"", timeout=1))
        assert code is grpc.StatusCode.UNIMPLEMENTED


def test_without_a_method_name(types):
    # A call without a name and with parts is for `predict`.
    response = post(types, request(None, text=pb.Data(string_value="ab")))
    assert result(response).string_value == "abab"


# --- Hostile input ----------------------------------------------------------------------------------------------------


def test_missing_and_unknown_arguments(types):
    refused(post(types, request("scale")), MODEL_INVALID_REQUEST, "text")
    extra = request("scale", text=pb.Data(string_value="a"), colour=pb.Data(string_value="b"))
    refused(post(types, extra), MODEL_INVALID_REQUEST, "colour")


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("echo_str", pb.Data(int_value=1)),
        ("echo_int", pb.Data(string_value="1")),
        ("echo_int", pb.Data(float_value=1.5)),
        ("echo_float", pb.Data(bool_value=True)),
        ("echo_bytes", pb.Data(text=pb.Text(raw="x"))),
        ("echo_bool", pb.Data(bytes_value=b"x")),
        ("echo_ndarray", pb.Data(bytes_value=b"1234")),
        ("echo_image", pb.Data(audio=pb.Audio(base64=b"x"))),
        ("echo_ints", pb.Data(int_value=1)),
        ("echo_tuple", pb.Data(parts=[pb.Part(id="0", data=pb.Data(string_value="a"))])),
    ],
)
def test_wrong_wire_type(types, method, wrong):
    refused(post(types, request(method, value=wrong)), MODEL_INVALID_REQUEST, "value")


def test_bad_input_never_reaches_the_model(misbehaving):
    def calls() -> int:
        return result(post(misbehaving, request("calls"))).int_value

    before = calls()
    refused(post(misbehaving, request("fail", text=pb.Data(int_value=1))), MODEL_INVALID_REQUEST, "text")
    assert calls() == before


@pytest.mark.parametrize(
    "lie",
    [
        pb.NDArray(buffer=b"1234", shape=[1_000_000, 1_000_000], dtype="float32"),
        pb.NDArray(buffer=b"1234", shape=[2**32 - 1] * 8, dtype="float32"),
        pb.NDArray(buffer=b"1234", shape=[3], dtype="float32"),
        pb.NDArray(buffer=b"12345678", shape=[1], dtype="object"),
        pb.NDArray(buffer=b"12345678", shape=[1], dtype="O"),
        pb.NDArray(buffer=b"12345678", shape=[1], dtype="datetime64[s]"),
        pb.NDArray(buffer=b"1234", shape=[1], dtype="i4,f4"),
        pb.NDArray(buffer=b"1234", shape=[1], dtype="no such type"),
        pb.NDArray(buffer=b"1234", shape=[1], dtype=""),
    ],
    ids=["huge", "overflow", "short", "object", "O", "datetime", "record", "unknown", "empty"],
)
def test_lying_arrays(types, lie):
    refused(post(types, request("echo_ndarray", value=pb.Data(ndarray=lie))), MODEL_INVALID_REQUEST, "value")
    still_serving(types)


def test_bytes_that_are_no_image(types):
    picture = request("image_size", image=pb.Data(image=pb.Image(base64=b"\x89PNG\r\n\x1a\nnot really")))
    refused(post(types, picture), MODEL_INVALID_REQUEST, "image")


def field(number: int, payload: bytes) -> bytes:
    """Return one length-delimited protobuf field."""
    length, size = len(payload), b""
    while length > 0x7F:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    tag = number << 3 | 2
    head = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return head + size + bytes([length]) + payload


def nested_value(depth: int) -> bytes:
    """Return a google Value of lists in lists, deeper than any parser likes."""
    value = b"\x11" + struct.pack("<d", 1.0)
    for _ in range(depth):
        value = field(6, field(1, value))  # Value.list_value of ListValue.values
    return value


def nested_struct(depth: int) -> bytes:
    return field(1, field(1, b"deep") + field(2, nested_value(depth)))  # Struct.fields entry: key, value


def test_json_10_000_deep_as_text(types):
    for method in ("echo_json", "echo_dict", "echo_list"):
        deep = request(method, value=pb.Data(string_value="[" * 10_000 + "]" * 10_000))
        refused(post(types, deep), MODEL_INVALID_REQUEST)
    still_serving(types)


@pytest.mark.parametrize("where", ["value", "metadata"])
def test_json_10_000_deep_as_struct(types, where):
    data = bytearray(input_of("echo_json").data.SerializeToString())
    if where == "value":
        data += field(19, field(1, field(26, nested_struct(10_000))) + field(2, b"value"))
    else:
        data = bytearray(field(5, nested_struct(10_000)))
    deep = field(4, field(2, bytes(data)))
    refused(post(types, deep), MODEL_INVALID_REQUEST)
    still_serving(types)


def test_parts_10_000_deep(types):
    """Messages of our own, each within another: lists of lists of lists, as many as there are bytes for."""
    data = b""
    for _ in range(10_000):
        data = field(19, field(1, data))  # Data.parts, Part.data
    for method in ("echo_matrix", "echo_json"):
        deep = input_of(method).data.SerializeToString() + field(19, field(1, data) + field(2, b"value"))
        refused(post(types, field(4, field(2, deep))), MODEL_INVALID_REQUEST)
    still_serving(types)


WELL_FORMED = request("echo_str", value=pb.Data(string_value="hi"))
HOSTILE = {
    "empty": b"",
    "no inputs": pb.PostModelOutputsRequest(model_id="m").SerializeToString(),
    "empty input": pb.PostModelOutputsRequest(inputs=[pb.Input()]).SerializeToString(),
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "length beyond the end": b"\x22\xff\xff\xff\xff\x0f",
    "group": b"\x23\x24",
    "method name of another type": field(
        4, field(2, field(5, field(1, field(1, b"_method_name") + field(2, b"\x20\x01"))))
    ),
    "no unicode": request("echo_str", value=pb.Data(string_value="hi")).replace(b"hi", b"\xff\xfe"),
    **{f"cut at {end}": WELL_FORMED[:end] for end in range(1, len(WELL_FORMED), 5)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes(types, name):
    for response in (post(types, HOSTILE[name]), *generate(types, HOSTILE[name]), *stream(types, HOSTILE[name])):
        refused(response, response.status.code)
        assert response.status.code in (MODEL_INVALID_REQUEST, NOT_IMPLEMENTED)
    still_serving(types)


@pytest.mark.parametrize("name", ["ones", "length beyond the end", "no unicode"])
def test_hostile_bytes_to_the_native_service(types, name):
    code, detail = refusal(lambda: post(types, HOSTILE[name], service=NATIVE))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert detail.kind == "invalid_input"


def test_message_over_the_limit(serve, config_file):
    server = serve("types", "--config", config_file("max_message_bytes: 1048576\n"))
    with grpc.insecure_channel(server.address) as channel:
        large = request("echo_bytes", value=pb.Data(bytes_value=bytes(1_100_000)))
        refused(post(channel, large), MODEL_INVALID_REQUEST, "1048576")
        code, detail = refusal(lambda: post(channel, large, service=NATIVE))
        assert (code, detail.kind) == (grpc.StatusCode.INVALID_ARGUMENT, "message_too_large")
        # Far over the limit, the message is not even received.
        huge = request("echo_bytes", value=pb.Data(bytes_value=bytes(8_000_000)))
        code, _ = refusal(lambda: post(channel, huge))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        still_serving(channel)


def test_overload_is_told_at_once(serve, config_file):
    server = serve("misbehaving", "--config", config_file("num_threads: 1\nmax_queued_calls: 2\n"))
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"{CLARIFAI}/PostModelOutputs")
        message = request("sleep", seconds=pb.Data(float_value=0.2))
        pending = [call.future(message, timeout=20) for _ in range(20)]
        codes = [pb.MultiOutputResponse.FromString(each.result()).status.code for each in pending]
    assert set(codes) == {SUCCESS, MODEL_BUSY_PLEASE_RETRY}
    assert codes.count(SUCCESS) >= 3


def test_abandoned_calls_are_forgotten(misbehaving):
    """A caller that leaves takes its stream with it."""
    arrived = threading.Event()
    call = misbehaving.unary_stream(f"{CLARIFAI}/GenerateModelOutputs")(request("endless"))
    next(call)
    arrived.set()
    call.cancel()
    waiting = misbehaving.unary_unary(f"{CLARIFAI}/PostModelOutputs")
    reply = waiting(request("wait_open_streams", count=pb.Data(int_value=0)), timeout=15)
    assert result(pb.MultiOutputResponse.FromString(reply)).bool_value
