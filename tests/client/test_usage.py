"""Callers are told the tokens that a model reports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from runner import ModelClass
from runner.client import Usage
from runner.client.usage import Tally
from runner.testing import serve


class Spender(ModelClass):
    @ModelClass.method
    def predict(self, prompt: str) -> str:
        if prompt:
            self.set_output_context(prompt_tokens=len(prompt), completion_tokens=2, cached_tokens=1)
        return prompt.upper()

    @ModelClass.method
    def generate(self, prompt: str, times: int = 2) -> Iterator[str]:
        for _ in range(times):
            self.set_output_context(completion_tokens=1)
            yield prompt

    @ModelClass.method
    def total(self, numbers: Iterator[int]) -> int:
        self.set_output_context(prompt_tokens=3)
        return sum(numbers)


@pytest.fixture(scope="module")
def model():
    with serve(Spender) as model:
        yield model


def test_of_one_result(model):
    assert model.predict.counted("abc") == ("ABC", Usage(3, 2, 1))
    assert model.predict.counted("") == ("", Usage(0, 0, 0))
    assert model.total.counted([1, 2]) == (3, Usage(3, 0, 0))


def test_of_each_input_of_a_list(model):
    results, used = model.predict.counted([{"prompt": "a"}, {"prompt": "bcd"}])
    assert results == ["A", "BCD"]
    assert used == [Usage(1, 2, 1), Usage(3, 2, 1)]


def test_of_a_stream_so_far(model):
    stream = model.generate("a", times=3)
    assert stream.usage == Usage()
    next(stream)
    assert stream.usage == Usage(completion_tokens=1)
    assert list(stream) == ["a", "a"]
    assert stream.usage == Usage(completion_tokens=3)
    both = model.generate([{"prompt": "a", "times": 1}, {"prompt": "b"}])
    assert len(list(both)) == 2
    assert both.usage == [Usage(completion_tokens=1), Usage(completion_tokens=2)]


def test_a_stream_tells_it_by_itself(model):
    with pytest.raises(TypeError, match=r"generate\(\) streams its results: read it to its end, and then its `usage`"):
        model.generate.counted("a")


def test_the_same_for_asyncio():
    async def main() -> None:
        async with serve(Spender) as model:
            assert await model.predict.counted("abc") == ("ABC", Usage(3, 2, 1))
            _, used = await model.predict.counted([{"prompt": "a"}, {"prompt": ""}])
            assert used == [Usage(1, 2, 1), Usage()]
            stream = await model.generate("a")
            assert [item async for item in stream] == ["a", "a"]
            assert stream.usage == Usage(completion_tokens=2)
            with pytest.raises(TypeError, match="its `usage`"):
                await model.generate.counted("a")

    asyncio.run(main())


def test_a_tally_without_inputs_to_tell_apart_is_one_number():
    tally = Tally(None)
    tally.of(0)(1, 2, 3)
    tally.of(0)(0, 0, 0)
    tally.of(0)(1, 0, 0)
    assert tally.told() == Usage(2, 2, 3)
