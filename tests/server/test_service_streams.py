"""Streams through the service: server-stream, lists of them, bidi, and a stream of inputs with one output."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from runner.errors import Cancelled, InvalidInput, MethodNotFound, ModelError, Overloaded
from runner.execution.times import Times
from runner.flow import STREAM_WINDOW
from runner.server.rpcs import CallInfo
from runner.server.status import Code
from runner.wire.pb import inference_pb2 as pb
from runner.workers.messages import Call, Cancel, EndInput, Failed, Item, Result
from tests.engine.scripted import COLLECT, GENERATE, STREAM
from tests.running import on_loop, turns
from tests.server.desk import NATIVE, Typing, desk, output, request, text_of


def all_of(replies) -> asyncio.Task[list]:
    async def read() -> list:
        return [reply async for reply in replies]

    return asyncio.ensure_future(read())


def item_texts(worker) -> list[str]:
    return [pb.Input.FromString(bytes(item.payload)).data.parts[0].data.string_value for item in worker.of(Item)]


@on_loop
async def test_each_item_is_a_reply():
    async with desk() as under_test:
        reading = all_of(under_test.generate(request(None, "x")))
        (call,) = await under_test.worker.hears(Call)
        assert call.method == GENERATE
        under_test.worker.item(call, output("a"), output("b"))
        under_test.worker.answer(call, b"")
        replies = await reading
        assert [(reply.code, reply.texts) for reply in replies] == [(10000, ["a"]), (10000, ["b"])]
        under_test.scripted.idle()


@on_loop
async def test_the_end_of_a_stream_says_where_the_time_went():
    async with desk() as under_test:
        typed = Typing(request("stream", "x")).done()
        told: list[list[tuple[str, str]]] = [[], []]
        generated = all_of(under_test.generate(request("generate", "x"), NATIVE, CallInfo(trailers=told[0])))
        chatted = all_of(under_test.chat(typed, NATIVE, CallInfo(trailers=told[1])))
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.item(call, output("a"))
            assert told == [[], []]
            under_test.worker.say(Result(call.id, b"", Times(0.001, 0.002, 0.003, 0.0, 0)))
        await asyncio.gather(generated, chatted)
        for key, text in (pair for pairs in told for pair in pairs):
            assert key == "runner-times"
            assert text.endswith(";wait=1.000;decode=2.000;run=3.000;encode=0.000;batch=0")
        assert list(map(len, told)) == [1, 1]


@on_loop
async def test_the_failure_of_a_stream_says_it_too():
    async with desk() as under_test:
        typed = Typing(request("stream", "x")).done()
        told: list[list[tuple[str, str]]] = [[], []]
        ends = [
            all_of(under_test.generate(request("generate", "x"), NATIVE, CallInfo(trailers=told[0]))),
            all_of(under_test.chat(typed, NATIVE, CallInfo(trailers=told[1]))),
        ]
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.say(Failed(call.id, ModelError("no"), Times(0.001, 0.002, 0.003, 0.0, 0)))
        assert [type(end) for end in await asyncio.gather(*ends, return_exceptions=True)] == [ModelError] * 2
        for ((_, text),) in told:
            assert text.endswith(";wait=1.000;decode=2.000;run=3.000;encode=0.000;batch=0")


@on_loop
async def test_of_a_list_of_streams_the_times_of_the_slowest_are_told():
    async with desk() as under_test:
        trailers: list[tuple[str, str]] = []
        replies = all_of(under_test.generate(request("generate", "x", "y"), NATIVE, CallInfo(trailers=trailers)))
        first, second = await under_test.worker.hears(Call, 2)
        under_test.worker.say(Failed(first.id, ModelError("no"), Times(0.001, 0.002, 7.0, 0.0, 0)))
        under_test.worker.say(Result(second.id, b"", Times(0.001, 0.002, 3.0, 0.0, 0)))
        await replies
        ((_, text),) = trailers
        assert text.endswith(";wait=1.000;decode=2.000;run=7000.000;encode=0.000;batch=0")


@on_loop
async def test_an_error_ends_the_stream_after_its_items():
    async with desk() as under_test:
        replied = all_of(under_test.generate(request("generate", "x")))
        raised = under_test.generate(request("generate", "x"), NATIVE)
        first = asyncio.ensure_future(anext(raised))
        for call in await under_test.worker.hears(Call, 2):
            under_test.worker.item(call, output("a"))
            under_test.worker.fail(call, ModelError("ValueError: no"))
        codes = [reply.code for reply in await replied]
        assert codes == [10000, Code.MODEL_PREDICTION_FAILED]
        assert (await first).texts == ["a"]
        with pytest.raises(ModelError):
            await anext(raised)
        under_test.scripted.idle()


@on_loop
async def test_a_reader_that_leaves_cancels_the_call():
    async with desk() as under_test:
        async with aclosing(under_test.service.server_stream(NATIVE, "", request("generate", "x"), CallInfo())) as out:
            reading = asyncio.ensure_future(anext(out))
            (call,) = await under_test.worker.hears(Call)
            under_test.worker.item(call, output("a"))
            await reading
        assert under_test.worker.of(Cancel) == [Cancel(call.id)]
        under_test.worker.fail(call, Cancelled("stopped"))
        under_test.scripted.idle()


# Lists of streams.


@on_loop
async def test_a_list_of_streams_goes_on_in_step():
    async with desk() as under_test:
        replies = under_test.generate(request("generate", "a", "b"))
        reading = asyncio.ensure_future(anext(replies))
        a, b = await under_test.worker.hears(Call, 2)
        under_test.worker.item(a, output("a1"), output("a2"))
        await turns()
        assert not reading.done()
        under_test.worker.item(b, output("b1"))
        assert (await reading).texts == ["a1", "b1"]
        under_test.worker.answer(b, b"")
        under_test.worker.item(a, output("a3"))
        under_test.worker.answer(a, b"")
        rest = await all_of(replies)
        # A finished stream has an empty output while the other goes on.
        assert [reply.texts for reply in rest] == [["a2", ""], ["a3", ""]]
        assert all(reply.code == 10000 for reply in rest)
        under_test.scripted.idle()


@on_loop
async def test_a_stream_of_a_list_fails_in_its_place_and_the_others_go_on():
    async with desk() as under_test:
        reading = all_of(under_test.generate(request("generate", "a", "b")))
        a, b = await under_test.worker.hears(Call, 2)
        under_test.worker.fail(a, InvalidInput("bad", path="text"))
        under_test.worker.item(b, output("b1"), output("b2"))
        under_test.worker.answer(b, b"")
        first, second = await reading
        assert first.code == Code.MIXED_STATUS
        assert first.codes == [Code.MODEL_INVALID_REQUEST, 10000]
        assert (first.kinds[0], first.paths[0]) == ("invalid_input", "text")
        assert first.texts == ["", "b1"]
        assert (second.code, second.texts) == (10000, ["", "b2"])
        under_test.scripted.idle()


@on_loop
async def test_a_list_of_streams_is_admitted_whole_or_not_at_all():
    async with desk(max_queued_calls=1) as under_test:
        running = all_of(under_test.generate(request("generate", "a")))
        waiting = all_of(under_test.generate(request("generate", "b", "c")))  # one of them runs
        await turns()
        (reply,) = await all_of(under_test.generate(request("generate", "d", "e")))
        assert reply.code == Code.MODEL_BUSY_PLEASE_RETRY
        with pytest.raises(Overloaded):
            await all_of(under_test.generate(request("generate", "d", "e"), NATIVE))
        worker = under_test.worker
        assert [text_of(call) for call in worker.calls] == ["a", "b"]
        for number in range(3):
            worker.answer(worker.calls[number], b"")
        assert await asyncio.gather(running, waiting) == [[], []]
        under_test.scripted.idle()


@on_loop
async def test_a_list_of_more_streams_than_ever_run_at_once_is_refused():
    """It goes on in step: the last would wait for a place, and the first for the reader, who waits for the last."""
    async with desk() as under_test:
        (reply,) = await all_of(under_test.generate(request("generate", *"abc")))
        assert reply.code == Code.MODEL_INVALID_REQUEST
        assert reply.description == "a list of 3 streams, and at most 2 run at once; send fewer"
        under_test.scripted.idle()


@on_loop
async def test_leaving_a_list_of_streams_cancels_each():
    async with desk() as under_test:
        reading = all_of(under_test.generate(request("generate", "a", "b")))
        calls = await under_test.worker.hears(Call, 2)
        reading.cancel()
        await turns()
        assert {cancel.id for cancel in under_test.worker.of(Cancel)} == {call.id for call in calls}
        for call in calls:
            under_test.worker.fail(call, Cancelled("stopped"))
        under_test.scripted.idle()


# Both sides.


@on_loop
async def test_a_conversation_answers_before_the_next_input_comes():
    async with desk() as under_test:
        typing = Typing(request("stream", "a"))
        replies = under_test.chat(typing)
        reading = asyncio.ensure_future(anext(replies))
        (call,) = await under_test.worker.hears(Call)
        assert (call.method, text_of(call)) == (STREAM, "a")
        under_test.worker.item(call, output("A"))
        assert (await reading).texts == ["A"]
        typing.write(request("stream", "b"))
        await under_test.worker.hears(Item)
        assert item_texts(under_test.worker) == ["b"]
        typing.done()
        await under_test.worker.hears(EndInput)
        under_test.worker.item(call, output("B"))
        under_test.worker.answer(call, b"")
        assert [reply.texts for reply in await all_of(replies)] == [["B"]]
        under_test.scripted.idle()


@on_loop
async def test_a_client_that_outruns_the_method_is_not_read_further():
    async with desk() as under_test:
        typing = Typing(*[request("stream", str(number)) for number in range(2 * STREAM_WINDOW)])
        reading = all_of(under_test.chat(typing))
        (call,) = await under_test.worker.hears(Call)
        await under_test.worker.hears(Item, STREAM_WINDOW)
        await turns(20)
        assert len(under_test.worker.of(Item)) == STREAM_WINDOW
        assert typing.taken == 1 + STREAM_WINDOW + 1  # the one in hand waits for credit
        under_test.worker.credit(call, 10)
        await under_test.worker.hears(Item, STREAM_WINDOW + 10)
        under_test.worker.answer(call, b"")
        await reading
        under_test.scripted.idle()


@on_loop
async def test_a_method_may_end_while_the_client_still_types():
    async with desk() as under_test:
        typing = Typing(request("stream", "a"))
        reading = all_of(under_test.chat(typing))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.answer(call, b"")
        assert await reading == []
        under_test.scripted.idle()


@on_loop
async def test_a_client_that_leaves_in_the_middle_cancels_the_call():
    async with desk() as under_test:
        reading = all_of(under_test.chat(Typing(request("stream", "a"))))
        (call,) = await under_test.worker.hears(Call)
        reading.cancel()
        await turns()
        assert under_test.worker.of(Cancel) == [Cancel(call.id)]
        under_test.worker.fail(call, Cancelled("stopped"))
        under_test.scripted.idle()


@pytest.mark.parametrize(
    ("later", "text"),
    [
        (b"\xff\xff", "not a valid message"),
        (request("stream", "a", "b"), "one input, and this one has 2"),
        (request("stream"), "one input, and this one has 0"),
        (request("stream", "x" * 3000), "this server takes 1000"),
    ],
    ids=["garbage", "two inputs", "none", "too large"],
)
@on_loop
async def test_a_bad_later_message_ends_the_call_with_its_fault(later, text):
    async with desk(max_message_bytes=1000) as under_test:
        reading = all_of(under_test.chat(Typing(request("stream", "a"), later)))
        (call,) = await under_test.worker.hears(Call)
        (reply,) = await reading
        assert reply.code == Code.MODEL_INVALID_REQUEST
        assert text in reply.description
        assert under_test.worker.of(Cancel) == [Cancel(call.id)]
        under_test.worker.fail(call, Cancelled("stopped"))
        under_test.scripted.idle()


@on_loop
async def test_a_stream_of_requests_has_to_begin():
    async with desk() as under_test:
        (reply,) = await all_of(under_test.chat(Typing().done()))
        assert "ended before its first message" in reply.description
        (reply,) = await all_of(under_test.chat(Typing(request("stream", "a", "b"))))
        assert "one input, and this one has 2" in reply.description
        (reply,) = await all_of(under_test.chat(Typing(request("predict", "a"))))
        assert reply.code == Code.NOT_IMPLEMENTED
        assert not under_test.worker.calls


@on_loop
async def test_overload_on_a_stream_of_requests_has_no_code_that_clients_retry():
    async with desk(max_queued_calls=1, max_coroutines=1, max_loading_wait=0.01) as under_test:
        others = [all_of(under_test.chat(Typing(request("stream", "a")))) for _ in range(2)]
        await turns(20)
        (reply,) = await all_of(under_test.chat(Typing(request("stream", "b"))))
        assert reply.code == Code.TRY_AGAIN
        assert under_test.engine.statistics().waiting_calls == 1
        for other in others:
            other.cancel()


@on_loop
async def test_a_conversation_waits_for_its_turn():
    async with desk(max_queued_calls=1, max_coroutines=1) as under_test:
        typings = [Typing(request("stream", text)) for text in "abc"]
        reading = [all_of(under_test.chat(typing)) for typing in typings]
        await turns(20)
        for number in range(3):
            await under_test.worker.hears(Call, number + 1)
            under_test.worker.answer(under_test.worker.calls[number], b"")
        assert await asyncio.gather(*reading) == [[], [], []]
        assert [text_of(call) for call in under_test.worker.calls] == ["a", "b", "c"]
        under_test.scripted.idle()


@on_loop
async def test_loading_on_a_stream_of_requests_has_no_code_that_clients_retry():
    async with desk(ready=False, max_loading_wait=0.01) as under_test:
        (reply,) = await all_of(under_test.chat(Typing(request("stream", "a"))))
        assert reply.code == Code.TRY_AGAIN


@on_loop
async def test_a_broken_transport_ends_the_call_and_is_logged(caplog):
    async with desk() as under_test:
        typing = Typing(request("stream", "a"), ConnectionResetError("reset"))
        reading = all_of(under_test.chat(typing))
        (call,) = await under_test.worker.hears(Call)
        (reply,) = await reading
        assert reply.code == Code.INTERNAL_UNCATEGORIZED
        assert "reset" not in reply.description
        assert "ConnectionResetError" in caplog.text
        under_test.worker.fail(call, Cancelled("stopped"))


# One output of many inputs.


@on_loop
async def test_many_inputs_have_one_output():
    async with desk() as under_test:
        task = under_test.collect(Typing(request(None, "a"), request(None, "b")).done())
        await under_test.worker.hears(EndInput)
        (call,) = under_test.worker.calls
        assert call.method == COLLECT
        assert item_texts(under_test.worker) == ["b"]
        under_test.worker.answer(call, output("ab"))
        assert (await task).texts == ["ab"]
        under_test.scripted.idle()


@on_loop
async def test_a_stream_of_inputs_fails_as_its_dialect_does():
    async with desk() as under_test:
        task = under_test.collect(Typing(request("collect", "a")))
        (call,) = await under_test.worker.hears(Call)
        under_test.worker.fail(call, ModelError("ValueError: no"))
        with pytest.raises(ModelError):
            await task
        with pytest.raises(MethodNotFound):
            await under_test.collect(Typing(request("stream", "a")))
        under_test.scripted.idle()
