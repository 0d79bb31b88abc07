"""Every shape of a method, as each kind of function, through both of our clients and, where it exists there, Clarifai's
service: no items, empty results, an error at any item, and an early end by either side."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest

from runner.client import AsyncModel, Model
from runner.errors import CallError, Cancelled, ModelError
from runner.wire.pb import inference_pb2 as pb

pytestmark = pytest.mark.real

UNARY = ("unary_plain", "unary_async")
SERVED = ("served_plain", "served_generator", "served_async")
COLLECTED = ("collected_plain", "collected_async")
BIDI = ("bidi_plain", "bidi_generator", "bidi_async")

SUCCESS = 10000
NOT_IMPLEMENTED = 10040
MODEL_PREDICTION_FAILED = 21313


class Heard(NamedTuple):
    """What a caller got: the items, and how it ended; None: well."""

    items: list[str]
    error: str | None


class Broken(Exception):
    """What the caller's own iterator raises."""


class Plain:
    """Our plain client."""

    def __init__(self, base_url: str) -> None:
        self._model = Model(base_url=base_url, timeout=20)

    def call(self, method: str, **arguments: Any) -> Heard:
        return _heard(lambda: getattr(self._model, method)(**arguments))

    def leave_after(self, items: int, method: str, **arguments: Any) -> list[str]:
        with getattr(self._model, method)(**arguments) as answers:
            return [next(answers) for _ in range(items)]

    def times(self, method: str, **arguments: Any) -> tuple[dict[str, float], dict[str, float]]:
        called = self._model.method(method)
        if not called.signature.cardinality.streams_output:
            return {}, called.timed(**arguments)[1]
        stream = called(**arguments)
        next(stream)
        before = stream.times
        for _ in stream:
            pass
        return before, stream.times

    def close(self) -> None:
        self._model.close()


class Asynchronous:
    """Our asyncio client, on a loop of its own."""

    def __init__(self, base_url: str) -> None:
        self._runner = asyncio.Runner()
        self._model = self._runner.run(self._connect(base_url))

    @staticmethod
    async def _connect(base_url: str) -> AsyncModel:
        return AsyncModel(base_url=base_url, timeout=20)

    def call(self, method: str, **arguments: Any) -> Heard:
        async def run() -> Heard:
            items: list[str] = []
            call = getattr(self._model, method)(**_on_loop(arguments))
            try:
                if method in SERVED or method in BIDI:
                    async for item in call:
                        items.append(item)
                else:
                    result = await call
                    items += result if isinstance(result, list) else [result]
            except (CallError, Broken) as exc:
                return Heard(items, _told(exc))
            return Heard(items, None)

        return self._runner.run(run())

    def leave_after(self, items: int, method: str, **arguments: Any) -> list[str]:
        async def run() -> list[str]:
            async with getattr(self._model, method)(**_on_loop(arguments)) as answers:
                return [await anext(answers) for _ in range(items)]

        return self._runner.run(run())

    def times(self, method: str, **arguments: Any) -> tuple[dict[str, float], dict[str, float]]:
        async def run() -> tuple[dict[str, float], dict[str, float]]:
            called = self._model.method(method)
            if method not in SERVED and method not in BIDI:
                return {}, (await called.timed(**arguments))[1]
            stream = await called(**arguments)
            await anext(stream)
            before = stream.times
            async for _ in stream:
                pass
            return before, stream.times

        return self._runner.run(run())

    def close(self) -> None:
        self._runner.run(self._model.aclose())
        self._runner.close()


class Clarifai:
    """Plain stubs of Clarifai's service, which send bytes. Arguments beside a stream come with its first message."""

    def __init__(self, base_url: str) -> None:
        self._channel = grpc.insecure_channel(base_url.removeprefix("http://"))

    def call(self, method: str, **arguments: Any) -> Heard:
        items: list[str] = []
        for reply in self._replies(method, arguments):
            if reply.status.code == MODEL_PREDICTION_FAILED:
                return Heard(items, reply.status.description)
            assert reply.status.code == SUCCESS, reply
            items.append(reply.outputs[0].data.parts[0].data.string_value)
        return Heard(items, None)

    def leave_after(self, items: int, method: str, **arguments: Any) -> list[str]:
        replies = self._replies(method, arguments)
        heard = [next(replies).outputs[0].data.parts[0].data.string_value for _ in range(items)]
        replies.close()
        return heard

    def close(self) -> None:
        self._channel.close()

    def _replies(self, method: str, arguments: dict[str, Any]) -> Iterator[pb.MultiOutputResponse]:
        prefix = "/clarifai.api.V2/"
        if method in BIDI:
            call = self._channel.stream_stream(prefix + "StreamModelOutputs")(_messages(method, arguments), timeout=20)
        elif method in SERVED:
            call = self._channel.unary_stream(prefix + "GenerateModelOutputs")(_message(method, arguments), timeout=20)
        else:
            reply = self._channel.unary_unary(prefix + "PostModelOutputs")(_message(method, arguments), timeout=20)
            yield pb.MultiOutputResponse.FromString(reply)
            return
        try:
            for reply in call:
                yield pb.MultiOutputResponse.FromString(reply)
        finally:
            call.cancel()


def _message(method: str, arguments: dict[str, Any]) -> bytes:
    data = pb.Data()
    data.metadata["_method_name"] = method
    for name, value in arguments.items():
        field = {str: "string_value", int: "int_value", bool: "bool_value"}[type(value)]
        data.parts.add(id=name).data.CopyFrom(pb.Data(**{field: value}))
    return pb.PostModelOutputsRequest(inputs=[pb.Input(data=data)]).SerializeToString()


def _messages(method: str, arguments: dict[str, Any]) -> Iterator[bytes]:
    words = iter(arguments.pop("words"))
    if (first := next(words, None)) is None:  # then there is only the message that names the method
        yield _message(method, arguments)
        return
    yield _message(method, {"words": first, **arguments})
    for word in words:
        yield _message(method, {"words": word})


def _heard(call: Any) -> Heard:
    items: list[str] = []
    try:
        result = call()
        if isinstance(result, Iterator):
            items.extend(result)
        else:
            items += result if isinstance(result, list) else [result]
    except (CallError, Broken) as exc:
        return Heard(items, _told(exc))
    return Heard(items, None)


def _told(exc: Exception) -> str:
    assert isinstance(exc, ModelError | Broken), repr(exc)
    return str(exc)


def _on_loop(arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace an iterator that blocks by one that waits."""
    if isinstance(words := arguments.get("words"), Words):
        return arguments | {"words": words.without_blocking()}
    return arguments


class Words:
    """A caller's iterator that yields some words and then waits until the test ends it."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        self._end: queue.Queue[None] = queue.Queue()

    def __iter__(self) -> Iterator[str]:
        yield from self._words
        self._end.get(timeout=20)

    async def without_blocking(self) -> AsyncIterator[str]:
        for word in self._words:
            yield word
        await asyncio.Event().wait()

    def end(self) -> None:
        self._end.put(None)


@pytest.fixture(scope="module")
def base_url(serve) -> str:
    return serve("shapes").base_url


@pytest.fixture(scope="module", params=[Plain, Asynchronous, Clarifai])
def client(request, base_url) -> Iterator[Any]:
    client = request.param(base_url)
    yield client
    client.close()


@pytest.fixture
def all_over(base_url) -> Iterator[None]:
    """Wait, after a test, until nothing of it is under way in the worker: each `finally` has run."""
    yield
    with Model(base_url=base_url, timeout=20) as model:
        assert model.wait_under_way(0)


def failing(place: int) -> str:
    return f"ValueError: no item {place}"


def skip_if_unknown(client: Any, method: str) -> None:
    if method in COLLECTED and isinstance(client, Clarifai):
        pytest.skip("Clarifai's service has no such calls; see test_client_streams_are_unknown_to_clarifai")


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", UNARY)
def test_one_in_one_out(client, method):
    assert client.call(method, word="a") == Heard(["A"], None)
    assert client.call(method, word="") == Heard([""], None)
    assert client.call(method, word="a", fail=True) == Heard([], failing(0))


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", SERVED)
def test_one_in_many_out(client, method):
    assert client.call(method, word="a", count=3) == Heard(["A"] * 3, None)
    assert client.call(method, word="a", count=0) == Heard([], None)
    assert client.call(method, word="", count=2) == Heard(["", ""], None)
    for place in (0, 1, 2):  # the last one after every item was sent
        assert client.call(method, word="a", count=2, fail_at=place) == Heard(["A"] * place, failing(place))
    assert client.leave_after(2, method, word="a", count=10**9) == ["A", "A"]


@pytest.mark.parametrize("method", [*UNARY, *SERVED, *COLLECTED, *BIDI])
@pytest.mark.parametrize("transport", ["grpcio", "native"])
@pytest.mark.parametrize("kind", [Plain, Asynchronous])
def test_where_the_time_went(serve, kind, transport, method):
    client = kind(serve("shapes", "--transport", transport).base_url)
    arguments = {"word": "a"} if method in (*UNARY, *SERVED) else {"words": ["a", "b"]}
    if method in SERVED:
        arguments["count"] = 2
    before, times = client.times(method, **arguments)
    client.close()
    assert before == {}  # not before the end of the stream was read
    assert list(times) == ["queue", "wait", "decode", "run", "encode", "batch"]
    assert times["run"] > 0
    assert all(value >= 0 for value in times.values())


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", [*COLLECTED, *BIDI])
def test_many_in(client, method):
    skip_if_unknown(client, method)
    whole = method in COLLECTED  # one result, so nothing of it before an error
    assert client.call(method, words=["a", "b", "c"]) == Heard(["A", "B", "C"], None)
    assert client.call(method, words=[]) == Heard([], None)
    assert client.call(method, words=["", ""]) == Heard(["", ""], None)
    for place in (0, 1, 2):
        heard = [] if whole else ["A", "B"][:place]
        assert client.call(method, words=["a", "b"], fail_at=place) == Heard(heard, failing(place))


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", [*COLLECTED, *BIDI])
@pytest.mark.parametrize("how", ["stop_at", "fail_at"])
def test_the_method_ends_while_the_caller_still_has_words(client, method, how):
    skip_if_unknown(client, method)
    words = Words("abc")
    heard = client.call(method, words=words, **{how: 2})
    words.end()
    if how == "stop_at":
        assert heard == Heard(["A", "B"], None)
    else:
        assert heard == Heard([] if method in COLLECTED else ["A", "B"], failing(2))


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", [*COLLECTED, *BIDI])
def test_the_method_ends_while_the_caller_is_sending(client, method):
    skip_if_unknown(client, method)
    for _ in range(20):  # the end and the words pass each other, now here and now there
        assert client.call(method, words=["a"] * 40, stop_at=2) == Heard(["A", "A"], None)


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", BIDI)
def test_the_caller_leaves_while_the_method_waits_for_words(client, method):
    words = Words("ab")
    assert client.leave_after(2, method, words=words) == ["A", "B"]
    words.end()


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", [*COLLECTED, *BIDI])
def test_the_callers_iterator_raises(client, method):
    if isinstance(client, Clarifai):
        pytest.skip("what a stub does then is grpcio's business")

    def words() -> Iterator[str]:
        yield "a"
        raise Broken("out of words")

    items, error = client.call(method, words=words())
    assert error == "out of words"
    assert items in ([], ["A"])


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", COLLECTED)
def test_a_caller_of_a_client_stream_leaves(base_url, method):
    async def run() -> None:
        async with AsyncModel(base_url=base_url, timeout=20) as model:
            call = asyncio.create_task(getattr(model, method)(words=Words("ab").without_blocking()))
            assert await model.wait_under_way(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(run())


@pytest.mark.usefixtures("all_over")
@pytest.mark.parametrize("method", BIDI)
def test_closing_from_another_thread_ends_the_wait_for_an_answer(base_url, method):
    words = Words("a")
    with Model(base_url=base_url, timeout=20) as model:
        answers = getattr(model, method)(words=words)
        assert next(answers) == "A"
        closer = threading.Thread(target=answers.close)  # before the wait or during it: either way that ends
        closer.start()
        with pytest.raises((StopIteration, Cancelled)):
            next(answers)
        closer.join()
    words.end()


def test_client_streams_are_unknown_to_clarifai(base_url):
    """One such entry in a reply would make the official client refuse the whole model."""
    with grpc.insecure_channel(base_url.removeprefix("http://")) as channel:

        def ask(rpc: str, message: bytes) -> bytes:
            return channel.unary_unary(f"/clarifai.api.V2/{rpc}")(message, timeout=20)

        replies = {rpc: ask(rpc, b"") for rpc in ("GetModel", "GetModelVersion", "ListModelVersions", "GetModelType")}
        replies["signatures"] = ask("PostModelOutputs", _message("_GET_SIGNATURES", {"x": "y"}))
        for rpc, reply in replies.items():
            assert b"collected" not in reply, rpc
        assert b"bidi_plain" in replies["signatures"]
        for method in COLLECTED:
            message = _message(method, {"words": "a"})
            calls = [
                channel.unary_unary("/clarifai.api.V2/PostModelOutputs")(message, timeout=20),
                *channel.unary_stream("/clarifai.api.V2/GenerateModelOutputs")(message, timeout=20),
                *channel.stream_stream("/clarifai.api.V2/StreamModelOutputs")(iter([message]), timeout=20),
            ]
            said = [pb.MultiOutputResponse.FromString(reply).status for reply in calls]
            assert [status.code for status in said] == [NOT_IMPLEMENTED] * 3
            assert all("collected" not in status.description.partition("this model has")[2] for status in said)
