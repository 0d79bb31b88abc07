from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner import Image, ModelClass
from runner.client.address import ModelIds
from runner.client.calls import ENDED, MethodCalls, RequestHead, Selector, read_methods, version_request
from runner.errors import InternalError, InvalidInput, ModelError, ModelLoading, Overloaded
from runner.signature.publish import publish
from runner.wire import reply
from runner.wire.call import CallCodec
from runner.wire.pb import inference_pb2 as pb


class Served(ModelClass):
    @ModelClass.method
    def predict(self, prompt: str, n: int = 1) -> str: ...

    @ModelClass.method
    def chat(self, messages: list[dict]) -> str: ...

    @ModelClass.method
    def slow(self, timeout: float = 1.0) -> float: ...

    @ModelClass.method
    def generate(self, prompt: str) -> Iterator[str]: ...

    @ModelClass.method
    def track(self, frames: Iterator[Image], scale: int = 2) -> Iterator[str]: ...


IDS = ModelIds(user_id="u", app_id="a", model_id="m", version_id="v")
HEAD = RequestHead(IDS, Selector(deployment_id="d"))


@pytest.fixture(scope="module")
def methods() -> dict[str, MethodCalls]:
    _, published = publish(Served)
    version = pb.ModelVersion(method_signatures=[pb.MethodSignature.FromString(method.native) for method in published])
    answer = pb.SingleModelVersionResponse(status=pb.Status(code=10000), model_version=version)
    return {name: MethodCalls(found, HEAD) for name, found in read_methods(answer.SerializeToString()).items()}


def prepare(calls: MethodCalls, *args, **kwargs):
    return calls.call(args, kwargs, timeout=None)


def sent(call) -> list[dict[str, object]]:
    """What a worker makes of the inputs of a request, by argument."""
    request = pb.PostModelOutputsRequest.FromString(call.request)
    assert request.user_app_id == pb.UserAppIDSet(user_id="u", app_id="a")
    assert (request.model_id, request.version_id, request.runner_selector.deployment.id) == ("m", "v", "d")
    return [{part.id: part.data for part in one.data.parts} for one in request.inputs]


def test_signatures_are_asked_for_by_id():
    assert pb.GetModelVersionRequest.FromString(version_request(IDS)) == pb.GetModelVersionRequest(
        user_app_id=pb.UserAppIDSet(user_id="u", app_id="a"), model_id="m", version_id="v"
    )
    with pytest.raises(ModelLoading, match="wait"):
        read_methods(
            pb.SingleModelVersionResponse(status=pb.Status(code=21351, description="wait")).SerializeToString()
        )


def test_methods_keep_their_order(methods):
    assert list(methods) == ["predict", "chat", "slow", "generate", "track"]


def test_only_what_was_passed_is_sent(methods):
    [one] = sent(prepare(methods["predict"], "hi"))
    assert {name: data.string_value for name, data in one.items()} == {"prompt": "hi"}
    [two] = sent(prepare(methods["predict"], "hi", n=0))
    assert list(two) == ["prompt", "n"]


def test_a_list_of_dicts_is_a_batch(methods):
    call = prepare(methods["predict"], [{"prompt": "a"}, {"prompt": "b", "n": 2}])
    assert call.batch == 2
    assert [list(entry) for entry in sent(call)] == [["prompt"], ["prompt", "n"]]


def test_chat_messages_are_one_value(methods):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert prepare(methods["chat"], messages).batch is None
    assert prepare(methods["chat"], messages=[{"any": "dicts"}]).batch is None
    assert prepare(methods["chat"], []).batch is None


def test_a_list_meant_as_a_value_is_told_how_to_be_passed(methods):
    with pytest.raises(TypeError, match=r"entry 0 of the batch.*write messages=\[\.\.\.\]"):
        prepare(methods["chat"], [{"role": "user", "text": "Hi"}])


def test_errors_say_where(methods):
    with pytest.raises(TypeError, match=r"predict\(\): missing a required argument: 'prompt'"):
        prepare(methods["predict"])
    with pytest.raises(TypeError, match=r"predict\(\): got an unexpected keyword argument 'temperature'"):
        prepare(methods["predict"], "a", temperature=1)
    with pytest.raises(InvalidInput) as one:
        prepare(methods["predict"], 3)
    assert one.value.path == "prompt"
    with pytest.raises(InvalidInput) as two:
        prepare(methods["predict"], [{"prompt": "a"}, {"prompt": 3}])
    assert two.value.path == "[1].prompt"


def test_timeout_is_ours_unless_it_is_the_methods(methods):
    call = prepare(methods["predict"], "a", timeout=2.5)
    assert call.timeout == 2.5
    assert list(sent(call)[0]) == ["prompt"]
    assert prepare(methods["predict"], "a", timeout=float("inf")).timeout is None
    call = methods["slow"].call((), {"timeout": 2.5}, timeout=9.0)
    assert call.timeout == 9.0
    assert sent(call)[0]["timeout"].float_value == 2.5


def test_a_stream_opens_with_everything_but_its_items(methods):
    call = prepare(methods["track"], iter([Image(bytes=b"1")]), scale=3)
    [opening] = sent(call)
    assert list(opening) == ["scale"]
    [item] = pb.PostModelOutputsRequest.FromString(methods["track"].item(next(iter(call.items)))).inputs
    assert item.data.parts[0].data.image.base64 == b"1"
    assert item.data.metadata["_method_name"] == "track"


def test_what_is_no_stream_is_refused_or_wrapped(methods):
    for wrong in ("text", b"bytes", {"a": 1}):
        with pytest.raises(TypeError, match="is streamed"):
            prepare(methods["track"], wrong)
    picture = Image(bytes=b"1")
    assert prepare(methods["track"], frames=picture).items == [picture]
    assert list(prepare(methods["track"], [picture, picture]).items) == [picture, picture]


def answer(calls: MethodCalls, *texts: str) -> bytes:
    codec = CallCodec(calls.signature)
    return reply.success([codec.encode_output(text) for text in texts])


def test_a_single_result(methods):
    calls = methods["predict"]
    assert calls.result(prepare(calls, "a"), answer(calls, "A")) == "A"


def test_a_result_of_another_type_is_not_the_callers_fault(methods):
    calls = methods["predict"]
    number = CallCodec(methods["slow"].signature).encode_output(1.5)
    with pytest.raises(InternalError, match="cannot be read"):
        calls.result(prepare(calls, "a"), reply.success([number]))
    with pytest.raises(InternalError, match="no output"):
        calls.result(prepare(calls, "a"), reply.success([]))


def test_a_failed_entry_is_an_exception_in_its_place(methods):
    calls = methods["predict"]
    call = prepare(calls, [{"prompt": "a"}, {"prompt": "b"}])
    assert calls.result(call, answer(calls, "A", "B")) == ["A", "B"]
    good = CallCodec(calls.signature).encode_output("A")
    bad = reply.failed_output(21313, "ValueError: b", "", kind="model_error", path="")
    first, second = calls.result(call, reply.failure(10010, "mixed", "", outputs=[good, bad]))
    assert first == "A"
    assert isinstance(second, ModelError)
    with pytest.raises(Overloaded):
        calls.result(call, reply.failure(21354, "busy", ""))


def test_a_batch_of_one_fails_in_its_place_too(methods):
    calls = methods["predict"]
    error = ModelError("x")
    assert calls.failed(prepare(calls, [{"prompt": "a"}]), error) == [error]
    with pytest.raises(ModelError):
        calls.failed(prepare(calls, "a"), error)
    with pytest.raises(Overloaded):
        calls.failed(prepare(calls, [{"prompt": "a"}]), Overloaded("busy"))


def test_an_entry_whose_stream_is_over_says_so(methods):
    calls = methods["generate"]
    call = prepare(calls, [{"prompt": "a"}, {"prompt": "b"}])
    some = CallCodec(calls.signature).encode_output("A")
    assert calls.result(call, reply.success([some, reply.EMPTY_OUTPUT])) == ["A", ENDED]


def test_an_output_that_is_no_message(methods):
    call = prepare(methods["predict"], [{"prompt": "x"}])
    with pytest.raises(InternalError, match="not a valid message"):
        methods["predict"].result(call, reply.success([b"\xff"]))
