"""Unary calls through the service: both dialects, how methods are found, lists, refusals, and waits for the model."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import time
from dataclasses import replace

import pytest

from runner.errors import (
    Cancelled,
    DeadlineExceeded,
    ErrorKind,
    FetchFailed,
    InternalError,
    InvalidInput,
    MessageTooLarge,
    MethodNotFound,
    ModelError,
    ModelLoading,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    WorkerLost,
    call_error,
)
from runner.execution.times import Times
from runner.limits import CallerLimits
from runner.server.rpcs import CallInfo
from runner.server.status import Code
from runner.wire.pb import inference_pb2 as pb
from runner.wire.statistics import decode_statistics
from runner.workers.messages import Call, Cancel, Failed, Result
from runner.workers.pairs import unpack_pairs
from tests.engine.scripted import COLLECT, GENERATE, METHODS, PREDICT
from tests.running import on_loop, turns
from tests.server.desk import CLARIFAI, NATIVE, Reply, desk, output, request, text_of

BOTH = pytest.mark.parametrize("dialect", [CLARIFAI, NATIVE])


@BOTH
@on_loop
async def test_one_input_has_one_output(dialect):
    async with desk() as under_test:
        task = under_test.post(request("predict", "question"), dialect)
        (call,) = await under_test.worker.hears(Call)
        assert (call.method, text_of(call)) == (PREDICT, "question")
        under_test.worker.answer(call, output("answer"))
        reply = await task
        assert (reply.code, reply.texts, reply.codes) == (10000, ["answer"], [10000])
        under_test.scripted.idle()


@BOTH
@on_loop
async def test_nothing_of_a_refused_call_waits_for_the_garbage_collector(dialect):
    async with desk() as under_test:
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(MethodNotFound):
                await under_test.post(request("nonsense", "x"), dialect)
            await turns()
            assert [each for each in gc.get_objects() if type(each) is MethodNotFound] == []
        finally:
            gc.enable()


@on_loop
async def test_what_the_transport_knows_goes_with_the_call():
    async with desk() as under_test:
        info = CallInfo(time.monotonic() + 600, (("language", "de"), ("authorization", "Key k")), "r7")
        task = under_test.post(request("predict", "x"), call=info)
        (call,) = await under_test.worker.hears(Call)
        assert call.request_id == "r7"
        assert call.time_left is not None
        assert 590 < call.time_left <= 600
        assert unpack_pairs(call.metadata) == (("language", "de"),)
        under_test.worker.answer(call, output(""))
        await task


@pytest.mark.parametrize("kind", ErrorKind)
@on_loop
async def test_an_error_is_a_reply_in_one_dialect_and_raised_in_the_other(kind):
    error = call_error(kind, "told", path="text")
    async with desk() as under_test:
        replied, raised = (under_test.post(request("predict", "x"), dialect) for dialect in (CLARIFAI, NATIVE))
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.fail(call, error)
        reply = await replied
        assert reply.code not in (10000, 0)
        assert reply.description == reply.details == "text: told"
        assert reply.texts == []
        with pytest.raises(type(error)) as told:
            await raised
        assert told.value is error


@on_loop
async def test_a_models_own_words_can_be_hidden():
    async with desk(hide_model_errors=True) as under_test:
        one = under_test.post(request("predict", "x"))
        both = under_test.post(request("predict", "x", "y"))
        await under_test.worker.hears(Call, 2)
        under_test.worker.fail(under_test.worker.calls[0], ModelError("ValueError: secret"))
        under_test.worker.fail(under_test.worker.calls[1], ModelError("ValueError: secret"))
        await under_test.worker.hears(Call, 3)
        under_test.worker.answer(under_test.worker.calls[2], output("y"))
        for reply in (await one, await both):
            assert "secret" not in f"{reply!r} {reply.details}"


# Finding the method.


@on_loop
async def test_a_request_without_a_name_means_the_usual_method():
    async with desk() as under_test:
        task = under_test.post(request(None, "x"))
        (call,) = await under_test.worker.hears(Call)
        assert call.method == PREDICT
        under_test.worker.answer(call, output(""))
        await task


@BOTH
@on_loop
async def test_an_unknown_method_is_told_with_the_known_ones(dialect):
    async with desk() as under_test:
        task = under_test.post(request("predicct", "x"), dialect)
        if dialect is NATIVE:
            with pytest.raises(MethodNotFound) as told:
                await task
            text = str(told.value)
        else:
            reply = await task
            assert reply.code == Code.NOT_IMPLEMENTED
            text = reply.description
        # The Clarifai service has no word for a stream of inputs with one output.
        names = f"predict, generate, stream, {'collect, ' if dialect is NATIVE else ''}look_up, list_up, embed"
        assert text == f"there is no method 'predicct'; this model has {names}"


@on_loop
async def test_a_method_called_through_the_wrong_rpc_is_told_the_right_one():
    async with desk() as under_test:
        reply = await under_test.post(request("generate", "x"))
        assert reply.code == Code.NOT_IMPLEMENTED
        assert reply.description == (
            "'generate' is a server-stream method: call it through GenerateModelOutputs, not PostModelOutputs"
        )
        with pytest.raises(MethodNotFound, match="'collect' is a client-stream method: call it through Collect"):
            await under_test.post(request("collect", "x"), NATIVE)
        assert "no method 'collect'" in (await under_test.post(request("collect", "x"))).description
        (reply,) = [reply async for reply in under_test.generate(request("predict", "x"))]
        assert "'predict' is a unary method: call it through PostModelOutputs" in reply.description
        assert not under_test.worker.calls


@on_loop
async def test_signatures_are_answered_without_a_worker():
    async with desk() as under_test:
        reply = await under_test.post(request("_GET_SIGNATURES", "x"))
        assert reply.code == 10000
        assert '"predict"' in str(reply.message.outputs[0].data).replace("\\", "")
        assert not under_test.worker.calls


# Refusals.


@on_loop
async def test_a_refused_request_for_signatures_has_an_output_all_the_same():
    """Official clients look at it before they look at the status."""
    async with desk(keys=["right"]) as under_test:
        for method, codes in (("_GET_SIGNATURES", [Code.CREDENTIALS_INVALID]), ("predict", [])):
            reply = await under_test.post(request(method, "x"))
            assert (reply.code, reply.codes) == (Code.CREDENTIALS_INVALID, codes)
    async with desk(ready=False, max_loading_wait=0.0) as under_test:
        reply = await under_test.post(request("_GET_SIGNATURES", "x"))
        assert (reply.code, reply.codes) == (Code.MODEL_DEPLOYING, [Code.MODEL_DEPLOYING])
        with pytest.raises(ModelLoading):
            await under_test.post(request("_GET_SIGNATURES", "x"), NATIVE)


@pytest.mark.parametrize(
    ("message", "error", "code", "text"),
    [
        (b"\xff\xff", InvalidInput, Code.MODEL_INVALID_REQUEST, "not a valid message"),
        (b"", InvalidInput, Code.MODEL_INVALID_REQUEST, "the request has no inputs"),
        (request("predict", "x" * 2000), MessageTooLarge, Code.MODEL_INVALID_REQUEST, "this server takes 1000"),
        (
            pb.PostModelOutputsRequest(model_id="other", inputs=[pb.Input()]).SerializeToString(),
            ModelNotFound,
            Code.MODEL_DOES_NOT_EXIST,
            "other",
        ),
    ],
    ids=["garbage", "no inputs", "too large", "another model"],
)
@on_loop
async def test_a_request_that_cannot_be_run_reaches_no_worker(message, error, code, text):
    async with desk(strict_ids=True, max_message_bytes=1000) as under_test:
        reply = await under_test.post(message)
        assert reply.code == code
        assert text in reply.description
        with pytest.raises(error, match=text):
            await under_test.post(message, NATIVE)
        assert not under_test.worker.calls


@on_loop
async def test_every_way_in_wants_the_key():
    async with desk(keys=("k",)) as under_test:
        message = request("predict", "x")
        assert (await under_test.post(message)).code == Code.CREDENTIALS_INVALID
        (reply,) = [reply async for reply in under_test.generate(message)]
        assert reply.code == Code.CREDENTIALS_INVALID

        async def requests():
            yield message

        (reply,) = [reply async for reply in under_test.chat(requests())]
        assert reply.code == Code.CREDENTIALS_INVALID
        for refused in (
            under_test.post(message, NATIVE),
            under_test.collect(requests()),
            under_test.service.unary(NATIVE, "GetModel", b"", CallInfo()),
        ):
            with pytest.raises(Unauthenticated):
                await refused
        task = under_test.post(message, call=CallInfo(metadata=(("authorization", "Key k"),)))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.answer(call, output(""))
        assert (await task).code == 10000


@on_loop
async def test_a_key_has_bounds_of_its_own_and_a_bidi_call_waits_where_others_are_refused():
    keys = [{"key": "one", "max_calls": 1}, {"key": "two"}]
    async with desk(keys=keys) as under_test:
        message = request("predict", "x")
        one, two = (CallInfo(metadata=(("authorization", f"Bearer {key}"),)) for key in ("one", "two"))
        first = under_test.post(message, call=one)
        (call,) = await under_test.worker.hears(Call)
        refused = await under_test.post(message, call=one)
        assert refused.code == Code.MODEL_BUSY_PLEASE_RETRY
        assert "1 calls of this caller are here, and 1 may be" in refused.description
        other = under_test.post(message, call=two)
        (_, theirs) = await under_test.worker.hears(Call, 2)
        under_test.worker.answer(theirs, output("other"))
        assert (await other).code == 10000

        async def requests():
            yield request("stream", "x")

        replies = under_test.chat(requests(), call=one)
        waiting = asyncio.ensure_future(anext(replies))
        await turns()
        assert not waiting.done()
        under_test.worker.answer(call, output("first"))
        assert (await first).code == 10000
        (*_, streamed) = await under_test.worker.hears(Call, 3)
        under_test.worker.item(streamed, output("item"))
        assert (await waiting).code == 10000
        await replies.aclose()


@on_loop
async def test_a_bidi_call_beyond_its_caller_s_bounds_is_never_told_to_come_again_by_itself():
    async with desk(callers=CallerLimits(max_calls=1), max_loading_wait=0.01) as under_test:
        first = under_test.post(request("predict", "x"), call=CallInfo(peer="h"))
        await under_test.worker.hears(Call)

        async def requests():
            yield request("stream", "x")

        (reply,) = [reply async for reply in under_test.chat(requests(), call=CallInfo(peer="h"))]
        assert reply.code == Code.TRY_AGAIN
        first.cancel()


@on_loop
async def test_a_key_for_other_models_is_refused():
    async with desk(keys=[{"name": "app", "key": "k", "models": ["other"]}]) as under_test:
        call = CallInfo(metadata=(("authorization", "Key k"),))
        reply = await under_test.post(request("predict", "x"), call=call)
        assert reply.code == Code.INSUFFICIENT_SCOPES
        assert "the key 'app' is not for the model 'm'" in reply.description
        with pytest.raises(PermissionDenied):
            await under_test.post(request("predict", "x"), NATIVE, call=call)


@on_loop
async def test_overload_is_told_at_once():
    async with desk(max_queued_calls=1) as under_test:
        tasks = [under_test.post(request("predict", "x")) for _ in range(3)]
        await turns()
        assert (await under_test.post(request("predict", "x"))).code == Code.MODEL_BUSY_PLEASE_RETRY
        with pytest.raises(Overloaded):
            await under_test.post(request("predict", "x"), NATIVE)
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("debug", [False, True])
@on_loop
async def test_a_bug_of_ours_tells_nothing_of_this_machine(debug, monkeypatch, caplog):
    def broken(*args: object) -> None:
        raise RuntimeError("/etc/secrets is unreadable")

    async with desk(debug=debug) as under_test:
        monkeypatch.setattr(under_test.service._requests, "of", broken)

        async def requests():
            yield request("stream", "x")

        replies = [await under_test.post(request("predict", "x"))]
        replies += [reply async for reply in under_test.generate(request("generate", "x"))]
        replies += [reply async for reply in under_test.chat(requests())]
        told = [(reply.code, reply.description, reply.details) for reply in replies]
        for refused in (
            under_test.post(request("predict", "x"), NATIVE),
            anext(under_test.generate(request("generate", "x"), NATIVE)),
            anext(under_test.chat(requests(), NATIVE)),
            under_test.collect(requests()),
        ):
            with pytest.raises(InternalError) as caught:
                await refused
            told.append((Code.INTERNAL_UNCATEGORIZED, caught.value.message, caught.value.details))
        assert len(told) == 7
        for code, description, details in told:
            assert code == Code.INTERNAL_UNCATEGORIZED
            assert description == "internal error; the server's log has more"
            assert ("Traceback" in details) is debug
            assert ("/etc/secrets" in details) is debug
        assert caplog.text.count("RuntimeError: /etc/secrets is unreadable") == 7


@on_loop
async def test_deadlines_and_lost_workers_have_their_codes():
    async with desk() as under_test:
        soon = CallInfo(time.monotonic() + 0.02)
        assert (await under_test.post(request("predict", "x"), call=soon)).code == Code.REQUEST_TIMEOUT
        late = CallInfo(time.monotonic() - 1)
        with pytest.raises(DeadlineExceeded):
            await under_test.post(request("predict", "x"), NATIVE, late)
        task = under_test.post(request("predict", "x"))
        await under_test.worker.hears(Call, 2)
        under_test.worker.die()
        assert (await task).code == Code.RUNNER_PROCESSING_FAILED


@on_loop
async def test_cancelling_the_request_cancels_the_call():
    async with desk() as under_test:
        task = under_test.post(request("predict", "x"))
        (call,) = await under_test.worker.hears(Call)
        task.cancel()
        await turns()
        assert under_test.worker.of(Cancel) == [Cancel(call.id)]
        under_test.worker.fail(call, Cancelled("stopped"))
        under_test.scripted.idle()


# Lists.


@BOTH
@on_loop
async def test_a_list_runs_at_once_and_is_answered_in_order(dialect):
    async with desk() as under_test:
        task = under_test.post(request("predict", "a", "b", "c"), dialect)
        await turns()
        worker = under_test.worker
        assert [text_of(call) for call in worker.calls] == ["a", "b"]
        worker.answer(worker.calls[1], output("B"))
        await worker.hears(Call, 3)
        worker.answer(worker.calls[2], output("C"))
        worker.answer(worker.calls[0], output("A"))
        reply = await task
        assert (reply.code, reply.texts) == (10000, ["A", "B", "C"])
        under_test.scripted.idle()


@BOTH
@on_loop
async def test_a_failed_input_fails_in_its_place(dialect):
    async with desk() as under_test:
        task = under_test.post(request("predict", "a", "b", "c"), dialect)
        worker = under_test.worker
        await worker.hears(Call, 2)
        worker.fail(worker.calls[0], InvalidInput("bad", path="text"))
        worker.fail(worker.calls[1], FetchFailed("gone"))
        await worker.hears(Call, 3)
        worker.answer(worker.calls[2], output("C"))
        reply = await task
        assert reply.code == Code.MIXED_STATUS
        assert reply.description.startswith("2 of 3 inputs failed")
        assert reply.codes == [Code.MODEL_INVALID_REQUEST, Code.INPUT_DOWNLOAD_FAILED, 10000]
        assert reply.texts == ["", "", "C"]
        assert reply.kinds == ["invalid_input", "fetch_failed", ""]
        assert reply.paths == ["text", "", ""]


@on_loop
async def test_a_list_that_failed_of_one_cause_has_its_code():
    async with desk() as under_test:
        task = under_test.post(request("predict", "a", "b"))
        await under_test.worker.hears(Call, 2)
        under_test.worker.die()
        reply = await task
        assert reply.code == Code.RUNNER_PROCESSING_FAILED
        assert reply.codes == [Code.RUNNER_PROCESSING_FAILED] * 2


@BOTH
@on_loop
async def test_a_list_is_admitted_whole_or_not_at_all(dialect):
    async with desk(max_queued_calls=3) as under_test:
        first = under_test.post(request("predict", "a", "b", "c"), dialect)  # two run, one waits
        # In the same turn of the loop: each of these would fit, and not both.
        second, third = (under_test.post(request("predict", text, text), dialect) for text in "de")
        await turns()
        assert not second.done()
        if dialect is NATIVE:
            with pytest.raises(Overloaded):
                await third
        else:
            assert (await third).code == Code.MODEL_BUSY_PLEASE_RETRY
        worker = under_test.worker
        for number in range(5):
            await worker.hears(Call, number + 1)
            worker.answer(worker.calls[number], output(text_of(worker.calls[number])))
        assert (await first).texts == ["a", "b", "c"]
        assert (await second).texts == ["d", "d"]
        under_test.scripted.idle()


@on_loop
async def test_a_list_of_too_many_bytes_is_refused_whole():
    async with desk(max_queued_bytes=100) as under_test:
        tasks = [under_test.post(request("predict", "x")) for _ in range(3)]
        await turns()
        assert (await under_test.post(request("predict", "y" * 20, "z" * 20))).code == Code.MODEL_BUSY_PLEASE_RETRY
        assert under_test.engine.statistics().waiting_calls == 1
        for task in tasks:
            task.cancel()


@on_loop
async def test_cancelling_a_list_cancels_every_call():
    async with desk() as under_test:
        task = under_test.post(request("predict", "a", "b", "c"))
        await under_test.worker.hears(Call, 2)
        task.cancel()
        await turns()
        assert len(under_test.worker.of(Cancel)) == 2
        for call in list(under_test.worker.calls):
            under_test.worker.fail(call, Cancelled("stopped"))
        assert len(under_test.worker.calls) == 2
        under_test.scripted.idle()


# While the model is loading.


@on_loop
async def test_calls_wait_for_the_model():
    async with desk(ready=False) as under_test:
        task = under_test.post(request("predict", "x"))
        about = asyncio.ensure_future(under_test.service.unary(CLARIFAI, "GetModel", b"", CallInfo()))
        worker = await under_test.scripted.worker()
        await turns()
        assert not task.done()
        worker.ready()
        (call,) = await worker.hears(Call)
        worker.answer(call, output("answer"))
        assert (await task).texts == ["answer"]
        assert pb.SingleModelResponse.FromString(await about).model.id == "m"


@on_loop
async def test_the_wait_for_the_model_has_an_end():
    async with desk(ready=False, max_loading_wait=0.01) as under_test:
        assert (await under_test.post(request("predict", "x"))).code == Code.MODEL_DEPLOYING
        with pytest.raises(ModelLoading):
            await under_test.post(request("predict", "x"), NATIVE)
        with pytest.raises(ModelLoading):
            await under_test.service.unary(NATIVE, "GetModel", b"", CallInfo())
        (reply,) = [reply async for reply in under_test.generate(request("generate", "x"))]
        assert reply.code == Code.MODEL_DEPLOYING
        (await under_test.scripted.worker()).ready()
        task = under_test.post(request("predict", "x"))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.answer(call, output("now"))
        assert (await task).texts == ["now"]


@on_loop
async def test_only_so_many_calls_wait_for_the_model():
    async with desk(ready=False, max_loading_calls=2) as under_test:
        waiting = [under_test.post(request("predict", "x")) for _ in range(2)]
        await turns()
        assert (await under_test.post(request("predict", "x"))).code == Code.MODEL_DEPLOYING
        waiting[0].cancel()  # leaves its place to another
        await turns()
        waiting.append(under_test.post(request("predict", "x")))
        await turns()
        assert not waiting[2].done()
        for task in waiting:
            task.cancel()


@on_loop
async def test_bad_bytes_are_told_before_the_model_has_loaded():
    async with desk(ready=False) as under_test:
        assert (await under_test.post(b"\xff\xff")).code == Code.MODEL_INVALID_REQUEST


@on_loop
async def test_an_rpc_about_the_model_is_answered_or_refused():
    async with desk() as under_test:
        with pytest.raises(MethodNotFound, match="there is no RPC 'GetNothing'"):
            await under_test.service.unary(NATIVE, "GetNothing", b"", CallInfo())
        reply = await under_test.service.unary(CLARIFAI, "GetModel", b"\xff", CallInfo())
        assert pb.SingleModelResponse.FromString(reply).status.code == Code.MODEL_INVALID_REQUEST


@on_loop
async def test_a_lost_worker_is_no_reason_to_send_a_call_again():
    async with desk() as under_test:
        task = under_test.post(request("predict", "x"), NATIVE)
        await under_test.worker.hears(Call)
        under_test.worker.hang_up()
        with pytest.raises(WorkerLost):
            await task


def test_the_scripted_methods_are_the_ones_the_tests_mean():
    assert (PREDICT, GENERATE, COLLECT) == (0, 1, 3)


@on_loop
async def test_our_own_service_says_where_the_time_went():
    async with desk() as under_test:
        trailers: list[tuple[str, str]] = []
        task = under_test.post(request("predict", "x"), NATIVE, CallInfo(trailers=trailers))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.say(Result(call.id, output(""), Times(0.001, 0.002, 0.003, 0.004, 8)))
        await task
        ((key, text),) = trailers
        assert key == "runner-times"
        assert text.startswith("queue=0.")
        assert text.endswith(";wait=1.000;decode=2.000;run=3.000;encode=4.000;batch=8")


@on_loop
async def test_of_a_list_the_times_of_the_slowest_input_are_told():
    async with desk() as under_test:
        trailers: list[tuple[str, str]] = []
        task = under_test.post(request("predict", "a", "b"), NATIVE, CallInfo(trailers=trailers))
        first, second = await under_test.worker.hears(Call, 2)
        under_test.worker.say(Result(first.id, output(""), Times(0.0, 0.0, 5.0, 0.0, 0)))
        under_test.worker.say(Failed(second.id, InvalidInput("no"), Times(2.0, 4.0, 0.0, 0.0, 0)))
        await task
        ((_, text),) = trailers
        assert text.endswith(";wait=2000.000;decode=4000.000;run=0.000;encode=0.000;batch=0")


@on_loop
async def test_a_call_that_failed_tells_the_times_that_are_known():
    async with desk() as under_test:
        by_worker, in_queue, refused = ([], [], [])
        task = under_test.post(request("predict", "x"), NATIVE, CallInfo(trailers=by_worker))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.say(Failed(call.id, ModelError("no"), Times(0.001, 0.002, 0.003, 0.0, 8)))
        with pytest.raises(ModelError):
            await task
        assert by_worker[0][1].endswith(";wait=1.000;decode=2.000;run=3.000;encode=0.000;batch=8")

        running = [under_test.post(request("predict", "x"), NATIVE) for _ in range(2)]
        await under_test.worker.hears(Call, 3)
        deadline = time.monotonic() + 0.3  # not so soon that it could pass before the call is there
        waiting = under_test.post(request("predict", "x"), NATIVE, CallInfo(deadline, trailers=in_queue))
        with pytest.raises(DeadlineExceeded):
            await waiting
        ((key, text),) = in_queue
        assert key == "runner-times"
        assert re.fullmatch(r"queue=[1-9]\d*\.\d{3}", text)

        for call in under_test.worker.calls[1:]:
            under_test.worker.answer(call, output(""))
        await asyncio.gather(*running)
        with pytest.raises(DeadlineExceeded):
            await under_test.post(request("predict", "x"), NATIVE, CallInfo(0.0, trailers=refused))
        assert refused == []


@on_loop
async def test_callers_share_by_key_or_by_host():
    async with desk() as under_test:
        seen: list[str] = []
        offer = under_test.engine._traffic._dispatcher.offer

        def noting(ticket, now, **fields):
            seen.append(ticket.caller)
            return offer(ticket, now, **fields)

        under_test.engine._traffic._dispatcher.offer = noting
        task = under_test.post(request("predict", "x"), call=CallInfo(peer="ipv4:10.0.0.1"))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.answer(call, output(""))
        await task
        assert seen == ["ipv4:10.0.0.1"]


@on_loop
async def test_statistics_are_an_rpc_of_our_own_service():
    async with desk() as under_test:
        reply = decode_statistics(await under_test.service.unary(NATIVE, "GetStatistics", b"", CallInfo()))
        assert [replica.state for replica in reply.replicas] == ["ready"]
        assert Reply(await under_test.service.unary(CLARIFAI, "GetStatistics", b"", CallInfo())).code == 10040


@pytest.mark.parametrize(
    ("asked", "timeout", "most", "left"),
    [
        (None, None, None, None),
        (None, 5.0, None, 5.0),
        (3.0, 5.0, None, 3.0),
        (9.0, 5.0, 6.0, 6.0),
        (None, None, 6.0, 6.0),
    ],
)
@on_loop
async def test_a_method_gives_a_deadline_and_bounds_it(asked, timeout, most, left):
    async with desk(ready=False) as under_test:
        worker = await under_test.scripted.worker()
        worker.ready(tuple(replace(each, timeout=timeout, max_timeout=most) for each in METHODS))
        info = CallInfo(None if asked is None else time.monotonic() + asked)
        task = under_test.post(request("predict", "x"), call=info)
        (call,) = await worker.hears(Call)
        assert call.time_left == (None if left is None else pytest.approx(left, abs=0.5))
        worker.answer(call, output(""))
        await task


@on_loop
async def test_another_version_of_the_model_is_described_and_called_as_it_is():
    async with desk() as under_test:
        service, engine = under_test.service, under_test.engine
        before = await service.unary(NATIVE, "GetModel", b"", CallInfo())
        replacing = asyncio.ensure_future(engine.replace(grace=1.0))
        successor = await under_test.scripted.worker(2)
        predict, generate = METHODS[:2]
        successor.ready((generate, replace(predict, name="classify")))
        await replacing
        assert await service.unary(NATIVE, "GetModel", b"", CallInfo()) != before
        assert (
            "there is no method 'predict'; this model has generate, classify"
            in (await under_test.post(request("predict", "x"))).description
        )
        task = under_test.post(request("classify", "x"))
        (call,) = await successor.hears(Call)
        assert call.method == 1
        successor.answer(call, output("y"))
        assert (await task).texts == ["y"]
