from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from runner.client import AsyncModel, Model
from runner.errors import DeadlineExceeded, InvalidInput, MethodNotFound, ModelError
from runner.testing import serve
from tests.client.served import Served
from tests.running import run_on_fresh_loop


@pytest.fixture(params=["memory", "grpc"])
def run(request, server: Model) -> Callable[[Callable[[AsyncModel], Coroutine]], None]:
    """Runs a test's body with a client on a fresh loop."""

    @asynccontextmanager
    async def connected():
        if request.param == "grpc":
            async with AsyncModel(base_url=str(server._settings.address)) as model:
                yield model
        else:
            async with serve(Served) as model:
                yield model

    def run(body: Callable[[AsyncModel], Coroutine]) -> None:
        async def main() -> None:
            async with connected() as model:
                await body(model)

        run_on_fresh_loop(main())

    return run


def test_the_surface_is_that_of_the_plain_client(run):
    async def body(model: AsyncModel) -> None:
        assert (await model.available_methods())[:2] == ["predict", "negate"]
        assert await model.method_signature("total") == "def total(items: Iterator[int]) -> int:"
        assert "from runner.client import Model" in await model.generate_client_script()
        assert list(inspect.signature(model.predict).parameters) == ["prompt", "n"]
        assert model.predict.__doc__ == "Greet `prompt`."
        assert not hasattr(model, "nope")
        with pytest.raises(MethodNotFound):
            await model.method("nope")("x")

    run(body)


def test_unary_calls_run_together(run):
    async def body(model: AsyncModel) -> None:
        assert await model.predict("Ada") == "Hello Ada"
        calls = [asyncio.create_task(model.predict(str(number))) for number in range(8)]
        assert await asyncio.gather(*calls, model.sleep(0.0)) == [*(f"Hello {number}" for number in range(8)), 0.0]
        first, second = await model.predict([{"prompt": "a"}, {"prompt": "boom"}])
        assert first == "Hello a"
        assert isinstance(second, ModelError)
        [only] = await model.predict([{"prompt": "boom"}])
        assert isinstance(only, ModelError)

    run(body)


def test_streams_are_read_with_async_for(run):
    async def body(model: AsyncModel) -> None:
        assert [item async for item in model.generate("a")] == ["a0", "a1", "a2"]
        assert [item async for item in await model.generate("a")] == ["a0", "a1", "a2"]
        first, [only] = [item async for item in model.generate([{"prompt": "boom"}])]
        assert first == ["boom0"]
        assert isinstance(only, ModelError)
        async with model.tick(0.001) as ticks:
            assert await anext(ticks) == 0.001
        assert [item async for item in ticks] == []
        with pytest.raises(TypeError, match="returns one result"):
            async for _ in model.predict("x"):
                pass

    run(body)


def test_bidi_is_a_conversation(run):
    async def body(model: AsyncModel) -> None:
        said: asyncio.Queue[str | None] = asyncio.Queue()

        async def words():
            while (word := await said.get()) is not None:
                yield word

        answers = aiter(model.stream(words(), suffix="!"))
        for word in ("one", "two", "three"):
            said.put_nowait(word)
            assert await anext(answers) == f"{word}!"
        said.put_nowait(None)
        assert [item async for item in answers] == []
        assert [item async for item in model.stream(["a", "b"])] == ["a", "b"]
        assert [item async for item in model.stream([])] == []

    run(body)


def test_client_stream(run):
    async def body(model: AsyncModel) -> None:
        async def numbers():
            for number in range(10):
                yield number

        assert await model.total(numbers()) == 45
        assert await model.total([]) == 0

    run(body)


def test_an_error_of_the_callers_own_iterator_comes_back(run):
    async def body(model: AsyncModel) -> None:
        async def items():
            yield 1
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await model.total(items())
        with pytest.raises(KeyError, match="mine"):
            async for _ in model.first(item async for item in items() if item > 1):
                pass
        with pytest.raises(InvalidInput, match="items"):
            await model.total([1, "two"])

    run(body)


def test_an_error_says_where_the_time_went(run):
    async def body(model: AsyncModel) -> None:
        with pytest.raises(ModelError) as failed:
            await model.predict.timed("boom")
        assert failed.value.times["run"] > 0
        stream = await model.generate("boom")
        with pytest.raises(ModelError):
            [item async for item in stream]
        assert stream.times["run"] > 0

    run(body)


@pytest.mark.parametrize("method", ["predict", "generate"])
def test_what_failed_is_let_go_of_at_once(server: Model, method: str):
    """As of the plain client."""

    async def call(model: AsyncModel) -> None:
        result = model.method(method)("boom")
        [item async for item in result] if method == "generate" else await result

    async def main() -> None:
        async with AsyncModel(base_url=str(server._settings.address)) as model:
            with pytest.raises(ModelError) as told:
                await call(model)
            error = weakref.ref(told.value)
            del told
            assert error() is None

    gc.collect()
    gc.disable()
    try:
        run_on_fresh_loop(main())
    finally:
        gc.enable()


def test_time_is_up_and_cancelling_cancels(run):
    async def body(model: AsyncModel) -> None:
        with pytest.raises(DeadlineExceeded):
            await model.sleep(30.0, timeout=0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await model.sleep(30.0)
        task = asyncio.create_task(anext(model.stream(asyncio_never())))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(body)


async def asyncio_never():
    await asyncio.get_running_loop().create_future()
    yield ""


def test_a_method_may_end_before_its_input_does(run):
    async def body(model: AsyncModel) -> None:
        async def endless():
            yield 7
            await asyncio.get_running_loop().create_future()

        assert [item async for item in model.first(endless())] == [7]

    run(body)


def test_a_loop_that_is_left_leaves_nothing_behind(run):
    async def body(model: AsyncModel) -> None:
        async for _ in model.tick(0.001):
            break
        async for _ in model.stream(iter("abc"), suffix="!"):
            break
        for _ in range(5):
            await asyncio.sleep(0)
        left = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}
        assert not [name for name in left if "request" in name]

    run(body)


def test_signatures_are_asked_for_with_the_first_call(server: Model):
    async def main() -> None:
        model = AsyncModel(base_url=str(server._settings.address))
        results = await asyncio.gather(*(model.predict(str(number)) for number in range(4)))
        assert results == [f"Hello {number}" for number in range(4)]
        await model.aclose()

    run_on_fresh_loop(main())
